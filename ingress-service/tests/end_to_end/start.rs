//! Starting: what is wrong is said in words that lead to the remedy, and what works says how to use it.

use std::net::TcpListener;
use std::process::Output;

use serde_json::Value;
use testbed::{Signal, free_port, until};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client;
use crate::harness::{PATIENCE, Plan, embedded, ingress, proxy};

/// Runs a program that is expected to end by itself.
async fn run(plan: &Plan, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, plan.command().args(arguments).output()).await;
    let Output { status, stdout, stderr } = output.expect("the program did not end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_variable_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for plan in [embedded(), proxy("redis://127.0.0.1:1")] {
        let (code, _, stderr) = run(&plan.with("LISTEN_ADDR", &address), &[]).await;
        assert_eq!(code, Some(1), "{stderr}");
        for part in [&address, "LISTEN_ADDR", "in use"] {
            assert!(stderr.contains(part), "{part:?} is missing in:\n{stderr}");
        }
    }
}

#[tokio::test]
async fn a_broker_url_that_is_none_is_refused_with_what_is_accepted() {
    for url in ["", "localhost:6379", "http://localhost", "redis://", "redis://h:99999"] {
        for plan in [ingress(url), proxy(url)] {
            let (code, _, stderr) = run(&plan, &[]).await;
            assert_eq!(code, Some(2), "{url:?}: {stderr}");
            for part in ["BROKER_URL", "redis://[user:pass@]host[:port][/db]"] {
                assert!(stderr.contains(part), "{url:?}: {part:?} is missing in:\n{stderr}");
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_in_memory_is_refused_with_the_reason() {
    let (code, _, stderr) = run(&proxy("memory://"), &[]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("memory:// lives inside one process"), "{stderr}");
    assert!(stderr.contains("redis://"), "{stderr}");
}

#[tokio::test]
async fn a_password_is_not_shown_when_its_url_is_refused() {
    for plan in [
        ingress("redis://me:hunter2@localhost/x"),
        proxy("redis://me:hunter2@localhost/x"),
    ] {
        let (code, stdout, stderr) = run(&plan, &[]).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stderr}");
    }
}

#[tokio::test]
async fn a_token_that_is_none_is_refused_by_name_and_not_shown() {
    for token in ["hunter2", "hunter2 with blanks in it"] {
        let plan = proxy("redis://127.0.0.1:1").with("ADMIN_TOKEN", token);
        let (code, stdout, stderr) = run(&plan, &[]).await;
        assert_eq!(code, Some(2), "{stderr}");
        for part in ["ADMIN_TOKEN", "16 to 1024 characters of visible ASCII"] {
            assert!(stderr.contains(part), "{part:?} is missing in:\n{stderr}");
        }
        assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stderr}");
    }
}

#[tokio::test]
async fn a_log_filter_that_is_none_is_refused_with_a_word_about_it() {
    for plan in [embedded(), proxy("redis://127.0.0.1:1")] {
        for filter in ["roundtrip=loud", "loud", "info,verbose", "42"] {
            let (code, _, stderr) = run(&plan.clone().with("RUST_LOG", filter), &[]).await;
            assert_eq!(code, Some(2), "{filter}: {stderr}");
            assert!(
                stderr.contains("RUST_LOG") && stderr.contains("debug or trace"),
                "{stderr:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_value_that_is_none_is_refused_by_the_name_under_which_it_was_given() {
    for plan in [embedded(), proxy("redis://127.0.0.1:1")] {
        for (variable, value, accepted) in [
            ("TERMINALS", "lots", "a whole number from 1 to 65536 is expected"),
            (
                "TOKIO_WORKER_THREADS",
                "abc",
                "a whole number from 1 to 1024 is expected",
            ),
            ("LOG_FORMAT", "xml", "pretty, json is expected"),
            ("LISTEN_ADDR", "5009", "such as 127.0.0.1:5009"),
        ] {
            let (code, _, stderr) = run(&plan.clone().with(variable, value), &[]).await;
            assert_eq!(code, Some(2), "{stderr}");
            let first = stderr.lines().next().unwrap_or_default();
            let expected = format!("error: {variable}: {value:?} is not accepted: ");
            assert!(first.starts_with(&expected) && first.contains(accepted), "{first}");
            let flag = format!("--{}", variable.to_lowercase().replace('_', "-"));
            let (_, _, stderr) = run(&plan, &[&flag, value]).await;
            let expected = format!("error: {flag}: {value:?} is not accepted: ");
            assert!(stderr.starts_with(&expected), "{stderr}");
        }
    }
}

#[tokio::test]
async fn a_variable_that_is_nearly_ours_is_warned_of_and_an_empty_one_is_not_set() {
    let plan = embedded().with("MAX_INFLIGHT", "7").with("MAX_QUEUE_AGE", "");
    let ingress = plan.start().await;
    until("it is warned", async || ingress.stderr().contains("MAX_INFLIGHT")).await;
    assert!(ingress.stderr().contains("MAX_IN_FLIGHT is"), "{}", ingress.stderr());
    let proxy = proxy("redis://127.0.0.1:1").with("ADMIN_TOKEN", "").start().await;
    let answer = client::get(&format!("{}/admin/dead-letters", proxy.url)).await;
    answer.assert_problem(404, "/problems/route-not-found");
}

#[tokio::test]
async fn a_health_check_explains_itself() {
    for plan in [embedded(), proxy("redis://127.0.0.1:1")] {
        let (code, stdout, stderr) = run(&plan, &["healthcheck", "--help"]).await;
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains("/readyz") && stdout.len() < 1000, "{stdout}");
    }
}

#[tokio::test]
async fn a_name_of_this_machine_is_an_address_to_listen_on() {
    let port = free_port();
    let plan = embedded().with("LISTEN_ADDR", &format!("localhost:{port}"));
    let _ingress = plan.start().await;
    assert_eq!(client::get(&format!("http://127.0.0.1:{port}/livez")).await.status, 200);
}

#[tokio::test]
async fn a_password_is_never_logged() {
    let url = format!("redis://user:hunter2@127.0.0.1:{}", free_port());
    for plan in [ingress(&url), proxy(&url)] {
        let mut service = plan.with("RUST_LOG", "trace").start().await;
        // The proxy has no such route; the ingress misses its broker.
        client::call(&service.url).await;
        until("Redis was missed", async || service.stderr().contains("could not ")).await;
        service.signal(Signal::TERM);
        assert!(service.ended().await.success());
        let log = service.stderr() + &service.stdout();
        assert!(log.contains("127.0.0.1"), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[tokio::test]
async fn an_embedded_start_says_how_to_use_it_and_the_printed_call_works() {
    let ingress = embedded().start().await;
    until("the greeting is there", async || ingress.stdout().contains("Stop")).await;
    let greeting = ingress.stdout();
    let port = ingress.url.rsplit(':').next().unwrap();
    assert!(
        greeting.contains(&format!("http://localhost:{port}/swagger")),
        "{greeting}"
    );
    let (_, command) = greeting.split_once("curl ").expect("a curl line is printed");
    let command = format!("curl {}", command.lines().next().unwrap());
    if Command::new("curl").arg("--version").output().await.is_err() {
        println!("skipped: curl is not installed, so {command:?} was not run");
        return;
    }
    let shell = Command::new("sh").args(["-c", &command]).env("NO_PROXY", "*").output();
    let output = timeout(PATIENCE, shell).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    let body: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&body["city"], &body["location"]),
        (&"New York".into(), &"Downtown".into()),
        "{body}"
    );
}

#[tokio::test]
async fn help_shows_no_value_that_may_hold_a_secret() {
    let secrets = [
        ("BROKER_URL", "redis://me:hunter2@localhost"),
        (
            "OPEN_METEO_GEOCODING_URL",
            "https://me:hunter2@localhost/?apikey=hunter2",
        ),
        ("OPEN_METEO_FORECAST_URL", "https://localhost/?apikey=hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost/?key=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2"),
        ("ADMIN_TOKEN", "hunter2-hunter2-hunter2"),
    ];
    for plan in [embedded(), proxy("redis://127.0.0.1:1")] {
        let plan = secrets.iter().fold(plan, |plan, (name, value)| plan.with(name, value));
        for flag in ["--help", "-h"] {
            let (code, stdout, stderr) = run(&plan, &[flag]).await;
            assert_eq!(code, Some(0), "{stderr}");
            assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stdout}");
        }
    }
}

#[tokio::test]
async fn a_refused_url_is_not_shown_with_its_key() {
    for name in [
        "OPEN_METEO_GEOCODING_URL",
        "OPEN_METEO_FORECAST_URL",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        for url in [
            "ftp://localhost/?apikey=hunter2",
            "localhost?apikey=hunter2",
            "ftp://me@x/?apikey=hunter2@y",
        ] {
            for plan in [embedded(), proxy("redis://127.0.0.1:1")] {
                let (code, stdout, stderr) = run(&plan.with(name, url), &[]).await;
                assert_eq!(code, Some(2), "{stderr}");
                assert!(stderr.contains(name) && stderr.contains("http"), "{stderr}");
                assert!(
                    !format!("{stdout}{stderr}").contains("hunter2"),
                    "{name}={url}: {stderr}"
                );
            }
        }
    }
}

#[tokio::test]
async fn in_json_every_line_of_the_log_is_an_object() {
    // Without a Redis, so that there is something to log.
    let url = format!("redis://127.0.0.1:{}", free_port());
    for plan in [ingress(&url), proxy(&url)] {
        let mut service = plan.with("LOG_FORMAT", "json").with("RUST_LOG", "debug").start().await;
        until("Redis was missed", async || service.stderr().contains("could not ")).await;
        service.signal(Signal::TERM);
        assert!(service.ended().await.success());
        let log = service.stderr();
        assert!(log.lines().count() >= 3, "{log}");
        for line in log.lines() {
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for member in ["timestamp", "level", "message"] {
                assert!(entry[member].is_string(), "{member} is missing in {line}");
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_flag_is_refused() {
    for plan in [embedded(), proxy("redis://127.0.0.1:1")] {
        let (code, _, stderr) = run(&plan, &["--brew-coffee"]).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("--brew-coffee"), "{stderr}");
    }
}

#[tokio::test]
async fn a_program_asks_another_whether_it_is_ready() {
    let plan = embedded();
    let check = || {
        let mut command = plan.command();
        command.arg("healthcheck");
        async move { command.output().await.unwrap() }
    };
    let before = check().await;
    assert_eq!(before.status.code(), Some(1));
    let said = String::from_utf8_lossy(&before.stderr).into_owned();
    assert!(said.contains("/readyz") && said.lines().count() == 1, "{said}");
    let _service = plan.start().await;
    let after = check().await;
    assert_eq!((after.status.code(), after.stderr.as_slice()), (Some(0), &b""[..]));
}
