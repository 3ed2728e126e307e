//! What a run leaves behind: a table for people, a plot, and all figures for tools. Written after every round, so that
//! a run that is broken off is not lost. What was skipped and what failed is always in it.

mod json;
mod markdown;
mod svg;

use std::fs;
use std::path::Path;

use crate::BoxError;
use crate::environment::Environment;
use crate::lineup::Peer;
use crate::rounds::Measurement;
use crate::running::Parts;
use crate::stats::{self, Ratio, Spread};

/// Everything there is to say about a run.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) environment: Environment,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) connections: Vec<u32>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) measurements: Vec<Measurement>,
}

/// What is known of a peer beside its measurements.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) peer: Peer,
    /// Of the broker; `None` without one, and when skipped.
    pub(crate) server_version: Option<String>,
    pub(crate) client_crates: Vec<String>,
    /// The idle share of a core, or why the peer was skipped.
    pub(crate) idle: Result<Parts, String>,
}

/// All rounds of one peer at one number of connections.
pub(crate) struct Summary {
    pub(crate) throughput: Spread,
    pub(crate) cpu_micros: Option<Parts>,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// Requests, over all rounds.
    pub(crate) failed: u64,
    /// Rounds without any result.
    pub(crate) broken: usize,
}

impl Results {
    /// The tables, for people.
    pub(crate) fn tables(&self) -> String {
        markdown::render(self)
    }

    /// Writes all files into `directory`.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), BoxError> {
        fs::write(directory.join("compare.md"), self.tables())?;
        fs::write(directory.join("compare.svg"), svg::render(self))?;
        let json = serde_json::to_string_pretty(&json::render(self))?;
        fs::write(directory.join("compare.json"), json + "\n")?;
        Ok(())
    }

    /// The ratios between those who are compared.
    pub(crate) fn ratios(&self) -> Vec<Ratio> {
        let peers: Vec<Peer> = self.entries.iter().map(|entry| entry.peer).collect();
        stats::ratios(&peers, &self.measurements)
    }

    /// The medians of a peer at so many connections; `None` when nothing was measured.
    pub(crate) fn summary(&self, peer: Peer, connections: u32) -> Option<Summary> {
        let mine = |measurement: &&Measurement| (measurement.peer, measurement.connections) == (peer, connections);
        let mine: Vec<&Measurement> = self.measurements.iter().filter(mine).collect();
        let median = |value: &dyn Fn(&Measurement) -> Option<f64>| {
            Spread::of(mine.iter().filter_map(|measurement| value(measurement))).map(|spread| spread.median)
        };
        let cpu_micros = median(&|measurement| Some(measurement.cpu_micros()?.front)).map(|front| Parts {
            front,
            worker: median(&|measurement| measurement.cpu_micros()?.worker),
            broker: median(&|measurement| measurement.cpu_micros()?.broker),
        });
        Some(Summary {
            throughput: Spread::of(mine.iter().filter_map(|measurement| measurement.throughput()))?,
            cpu_micros,
            p50: median(&Measurement::p50),
            p99: median(&Measurement::p99),
            failed: mine.iter().filter_map(|measurement| measurement.failed()).sum(),
            broken: mine.iter().filter(|measurement| measurement.outcome.is_err()).count(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rounds::tests::measured;

    /// Two rounds of two peers; of these one failed once. A third was skipped.
    pub(crate) fn results() -> Results {
        let idle = Parts {
            front: 0.0,
            worker: Some(0.01),
            broker: None,
        };
        let entry = |peer, server_version: Option<&str>, idle| Entry {
            peer,
            server_version: server_version.map(str::to_owned),
            client_crates: vec!["client 1.2.3".to_owned()],
            idle,
        };
        let mut broken = measured(2, Peer::Direct, 64, 0.0);
        broken.outcome = Err("front ended".to_owned());
        Results {
            environment: Environment {
                started: "2026-01-02T03:04:05Z".to_owned(),
                roundtrip: "abc1234".to_owned(),
                processor: "Processor <1>".to_owned(),
                cores: 2,
                kernel: "6.1".to_owned(),
                file_system: "ext4".to_owned(),
            },
            rounds: 2,
            seconds: 3,
            connections: vec![64],
            entries: vec![
                entry(Peer::Direct, None, Ok(idle)),
                entry(Peer::Rabbitmq, None, Err("rabbitmq-server is not installed".to_owned())),
                entry(Peer::RoundtripRedis, Some("7.0.15"), Ok(idle)),
            ],
            measurements: vec![
                measured(1, Peer::Direct, 64, 1000.0),
                measured(1, Peer::RoundtripRedis, 64, 1500.0),
                broken,
                measured(2, Peer::RoundtripRedis, 64, 1700.0),
            ],
        }
    }

    #[test]
    fn a_broken_round_is_counted_and_spoils_no_median() {
        let results = results();
        let direct = results.summary(Peer::Direct, 64);
        assert!(direct.is_some_and(|summary| summary.broken == 1 && summary.throughput.median == 1000.0));
        let roundtrip = results.summary(Peer::RoundtripRedis, 64);
        assert!(roundtrip.is_some_and(|summary| summary.broken == 0 && summary.throughput.median == 1600.0));
        assert!(results.summary(Peer::Rabbitmq, 64).is_none());
    }
}
