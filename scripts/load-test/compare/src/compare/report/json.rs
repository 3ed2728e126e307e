//! All figures, for tools: every round as it was measured, with the load test's whole report.

use serde_json::{Value, json};

use super::{Entry, Results};
use crate::rounds::Measurement;

pub(super) fn render(results: &Results) -> Value {
    json!({
        "environment": results.environment,
        "rounds": results.rounds,
        "seconds": results.seconds,
        "connections": results.connections,
        "peers": results.entries.iter().map(peer).collect::<Vec<_>>(),
        "ratios": results.ratios(),
        "measurements": results.measurements.iter().map(measurement).collect::<Vec<_>>(),
    })
}

fn peer(entry: &Entry) -> Value {
    json!({
        "peer": entry.peer,
        "durable": entry.peer.durable(),
        "server_version": entry.server_version,
        "client_crates": entry.client_crates,
        "idle_cores": entry.idle.as_ref().ok(),
        "skipped": entry.idle.as_ref().err(),
    })
}

fn measurement(measurement: &Measurement) -> Value {
    let measured = measurement.outcome.as_ref().ok();
    json!({
        "round": measurement.round,
        "peer": measurement.peer,
        "connections": measurement.connections,
        "cpu_us_per_request": measurement.cpu_micros(),
        "load": measured.map(|measured| &measured.load.json),
        "error": measurement.outcome.as_ref().err(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn every_round_and_every_peer_is_there() {
        let json = render(&results());
        assert_eq!(json["measurements"].as_array().map(Vec::len), Some(4));
        assert_eq!(json["measurements"][2]["error"], "front ended");
        assert_eq!(json["measurements"][0]["cpu_us_per_request"]["front"], 10.0);
        assert_eq!(json["peers"][1]["skipped"], "rabbitmq-server is not installed");
        assert_eq!(json["peers"][2]["server_version"], "7.0.15");
    }
}
