//! When things happen: stalls, timeouts, and the end of a run by Ctrl-C.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::service::{Manner, Service};
use crate::{command, run, words};

#[test]
fn a_slow_tail_misses_its_threshold_by_so_much() {
    let manner = Manner::StallOnce(0, Duration::from_millis(120));
    let (output, _) = run(manner, &["--count", "20", "--connections", "1", "--max-p99", "50ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("--max-p99 50ms missed by"), "{output:?}");
}

#[test]
fn open_counts_from_when_a_request_was_due_so_that_a_stall_is_not_hidden() {
    let stall = Duration::from_millis(500);
    let arguments = ["open", "--rate", "200", "--duration", "2s", "--connections", "4"];
    let (output, json) = run(Manner::StallOnce(100, stall), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        (&json["requests"], &json["failed"], &json["rate"]),
        (&400.into(), &0.into(), &200.0.into())
    );
    let latency = |name: &str| json["latency_ms"][name].as_f64().unwrap();
    // A hundred of the four hundred were due during the stall, one every 5 ms, and waited for what was left of it.
    // Counted from when they were sent, only the four on the connections would have.
    assert!(latency("max") >= 500.0, "{json}");
    assert!(latency("p99") >= 450.0, "{json}");
    assert!(latency("p90") >= 250.0, "{json}");
}

#[test]
fn what_never_got_a_connection_in_time_is_a_timeout_as_well() {
    let arguments = [
        "open",
        "--rate",
        "100",
        "--count",
        "30",
        "--connections",
        "1",
        "--timeout",
        "100ms",
    ];
    let (_, json) = run(Manner::Silent, &arguments);
    assert_eq!(
        (&json["requests"], &json["errors"]["timeout"]),
        (&30.into(), &30.into()),
        "{json}"
    );
    assert!(json["latency_ms"]["min"].as_f64().unwrap() >= 99.0, "{json}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_run_with_its_summary() {
    let service = Service::start(Manner::Right);
    let arguments = ["--connections", "2", "--duration", "1h"];
    let mut child = command(&service.url(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_progress(&mut child);
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["succeeded"].as_u64().unwrap() > 0 && json["failed"] == 0, "{json}");
    assert!(words(&output).contains("were due and not awaited"), "{output:?}");
}

/// Waits for the first line of progress: by then the run has begun.
#[cfg(unix)]
fn wait_for_progress(child: &mut Child) {
    use std::io::Read;
    let stderr = child.stderr.as_mut().unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        stderr.read_exact(&mut byte).unwrap();
    }
}
