//! The program from outside: its reports, its exit status and its words, against services good and bad.
#![allow(clippy::unwrap_used)]

mod service;
mod timing;

use std::net::TcpListener;
use std::process::{Command, Output};

use load_test::health;
use rstest::rstest;
use serde_json::Value;

use service::{Manner, Service};

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load-test"));
    command.args(["--url", url, "--json", "-"]).args(arguments);
    command
}

fn run(manner: Manner, arguments: &[&str]) -> (Output, Value) {
    let service = Service::start(manner);
    let output = command(&service.url(), arguments).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, json)
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_json_has_exactly_the_shape_other_tools_rely_on() {
    let (output, json) = run(Manner::Right, &["--count", "500", "--connections", "4"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut expected = [
        "version",
        "mode",
        "url",
        "connections",
        "rate",
        "duration_seconds",
        "requests",
        "succeeded",
        "failed",
        "success_rate",
        "throughput_per_second",
        "latency_ms",
        "errors",
        "seconds",
    ];
    expected.sort_unstable();
    assert_eq!(names(&json), expected);
    assert_eq!(
        names(&json["latency_ms"]),
        ["max", "mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9"]
    );
    assert_eq!(
        names(&json["seconds"][0]),
        ["failed", "p50_ms", "p99_ms", "requests", "second"]
    );
    assert_eq!(
        (&json["mode"], &json["connections"], &json["rate"]),
        (&"concurrent".into(), &4.into(), &Value::Null)
    );
    assert_eq!(
        (&json["requests"], &json["succeeded"], &json["failed"]),
        (&500.into(), &500.into(), &0.into())
    );
    assert_eq!((&json["success_rate"], names(&json["errors"])), (&1.0.into(), vec![]));
    let in_seconds: u64 = json["seconds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["requests"].as_u64().unwrap())
        .sum();
    assert_eq!(in_seconds, 500);
    let latency = &json["latency_ms"];
    let ascending: Vec<_> = ["min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"]
        .iter()
        .map(|name| latency[name].as_f64().unwrap())
        .collect();
    assert!(ascending.is_sorted() && ascending[0] > 0.0, "{ascending:?}");
}

#[rstest]
#[case(Manner::WrongCity, "wrong_answer", "Atlantis")]
#[case(Manner::Incomplete, "unreadable", "humidity")]
#[case(Manner::Status(503), "status_503", "Not now")]
#[case(Manner::Status(504), "status_504", "504")]
#[case(Manner::Status(422), "status_other", "422")]
#[case(Manner::HalfAnAnswer, "reset", "within the answer")]
#[case(Manner::Silent, "timeout", "no answer in time")]
fn every_way_to_fail_is_counted_as_what_it_is(#[case] manner: Manner, #[case] kind: &str, #[case] detail: &str) {
    // Only who never answers is out of time, however busy the machine is.
    let timeout = if kind == "timeout" { "500ms" } else { "60s" };
    // Sequential, so that every answer is checked in full.
    let arguments = [
        "sequential",
        "--count",
        "3",
        "--timeout",
        timeout,
        "--min-success",
        "0.5",
    ];
    let (output, json) = run(manner, &arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(json["errors"].as_object().unwrap().len(), 1, "{json}");
    assert_eq!(
        (&json["errors"][kind], &json["succeeded"]),
        (&3.into(), &0.into()),
        "{json}"
    );
    let words = words(&output);
    assert!(
        words.contains(detail) && words.contains("--min-success 0.5 missed by 0.5000"),
        "{words}"
    );
}

#[test]
fn under_load_too_an_answer_for_another_city_is_no_success() {
    let (output, json) = run(Manner::WrongCity, &["--count", "200", "--connections", "8"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        words(&output).contains("nothing succeeded: all 200 requests failed"),
        "{output:?}"
    );
    assert_eq!(
        (&json["errors"]["wrong_answer"], &json["succeeded"]),
        (&200.into(), &0.into())
    );
    assert_eq!(json["latency_ms"]["p99"], Value::Null);
}

#[test]
fn a_server_that_closes_after_each_answer_loses_no_request() {
    let (_, json) = run(
        Manner::RightOnce,
        &["--count", "100", "--connections", "4", "--min-success", "1"],
    );
    assert_eq!(
        (&json["succeeded"], &json["failed"]),
        (&100.into(), &0.into()),
        "{json}"
    );
}

#[test]
fn a_sequential_run_shows_a_row_for_each_request() {
    let service = Service::start(Manner::Right);
    let binary = env!("CARGO_BIN_EXE_load-test");
    let output = Command::new(binary)
        .args(["sequential", "--url", &service.url()])
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<_> = table.lines().skip(1).take(15).collect();
    for (number, city) in [(1, "New York"), (3, "Tokyo"), (15, "Seoul")] {
        let row = rows[number - 1];
        let start = format!("{number:>5}  {city}");
        assert!(
            row.starts_with(&start) && row.contains("Snowy") && row.contains("-3.0"),
            "{row}"
        );
        assert!(row.ends_with(&format!("  {}", number - 1)), "the request id ends {row}");
    }
    assert!(table.contains("requests    15 in"), "{table}");
}

#[test]
fn the_report_is_one_file_that_needs_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    let list = directory.path().join("cities.txt");
    std::fs::write(&list, "Oslo;Frogner\n").unwrap();
    let arguments = [
        "--count",
        "50",
        "--html",
        file.to_str().unwrap(),
        "--city-list",
        list.to_str().unwrap(),
    ];
    let (output, _) = run(Manner::Status(503), &arguments);
    assert!(
        words(&output).contains(&format!("report: {}", file.display())),
        "{output:?}"
    );
    let html = std::fs::read_to_string(&file).unwrap();
    for part in [
        "<svg",
        "99 %",
        "status_503",
        "--city-list",
        "@media print",
        "How it was run",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    for resource in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!html.contains(resource), "{resource} in {html}");
    }
    assert!(
        html.contains("{&quot;title&quot;:"),
        "a server's words are escaped: {html}"
    );
}

#[test]
fn where_nothing_listens_it_says_how_to_start_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = command(&url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("nothing answers at {url} — start it with: cargo run --release");
    assert!(words(&output).contains(&expected), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn where_something_else_answers_it_asks_whether_that_is_an_ingress() {
    let service = Service::start(Manner::NoIngress);
    let output = command(&service.url(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("/WeatherForecast/city is 404: is this an ingress-service?"),
        "{output:?}"
    );
}

#[test]
fn a_service_without_calls_is_ready_and_nobody_is_not() {
    let service = Service::start(Manner::NoIngress);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asking = tokio::runtime::Runtime::new().unwrap();
    let asked = [service.address, nobody].map(|address| asking.block_on(health::is_ready(address)));
    assert_eq!(asked, [true, false]);
}

#[rstest]
#[case(&["--city-list", "/nowhere/cities"], "--city-list", "could not read")]
#[case(&["--count", "0"], "--count", "1..")]
#[case(&["open"], "--rate", "above zero")]
#[case(&["--html", "/nowhere/report.html"], "--html", "could not write")]
fn a_bad_option_ends_it_before_any_load(#[case] arguments: &[&str], #[case] flag: &str, #[case] accepted: &str) {
    let output = command("http://127.0.0.1:9", arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = words(&output);
    assert!(words.contains(flag) && words.contains(accepted), "{words}");
}
