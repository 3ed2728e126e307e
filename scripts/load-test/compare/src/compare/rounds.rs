//! The measurements, interleaved: in every round every peer takes its turn, so that what the machine does meanwhile
//! meets them all. All peers stay up throughout: a start would disturb more than servers that idle.

use std::time::Duration;

use tokio::time::sleep;

use crate::BoxError;
use crate::lineup::Peer;
use crate::load::{Load, LoadTest};
use crate::running::{Parts, Running};

/// Acknowledgements and trims that trail the last answer belong to the measurement.
const SETTLE_TIME: Duration = Duration::from_millis(200);
const WARM_UP_SECONDS: u64 = 1;

/// One turn of one peer.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    pub(crate) round: u32,
    pub(crate) peer: Peer,
    pub(crate) connections: u32,
    /// Or why there is nothing.
    pub(crate) outcome: Result<Measured, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) load: Load,
    /// CPU time a successful request took, in µs; `None` when none succeeded.
    pub(crate) cpu_micros: Option<Parts>,
}

impl Measurement {
    pub(crate) fn throughput(&self) -> Option<f64> {
        let measured = self.outcome.as_ref().ok()?;
        Some(measured.load.figures.throughput_per_second)
    }

    pub(crate) fn cpu_micros(&self) -> Option<Parts> {
        self.outcome.as_ref().ok()?.cpu_micros
    }

    pub(crate) fn p50(&self) -> Option<f64> {
        self.outcome.as_ref().ok()?.load.figures.latency_ms.p50
    }

    pub(crate) fn p99(&self) -> Option<f64> {
        self.outcome.as_ref().ok()?.load.figures.latency_ms.p99
    }

    /// Requests that failed; `None` when the whole measurement did.
    pub(crate) fn failed(&self) -> Option<u64> {
        self.outcome.as_ref().ok().map(|measured| measured.load.figures.failed)
    }
}

/// A first load that is not measured: connections are made, caches and just-in-time compilers warm.
pub(crate) async fn warm_up(running: &Running, load: &LoadTest, connections: u32) -> Result<(), BoxError> {
    load.run(&running.url, connections, WARM_UP_SECONDS).await.map(drop)
}

/// The share of one core that each part of each peer takes when nobody asks, over `time`.
pub(crate) async fn idle(lineup: &[Running], time: Duration) -> Vec<Parts> {
    let before: Vec<Parts> = lineup.iter().map(Running::cpu_seconds).collect();
    sleep(time).await;
    let share = |after, before| (after - before) / time.as_secs_f64();
    let parts = lineup.iter().zip(&before);
    parts
        .map(|(running, before)| running.cpu_seconds().zip(before, share))
        .collect()
}

/// One turn.
pub(crate) async fn measure(
    round: u32,
    running: &mut Running,
    load: &LoadTest,
    connections: u32,
    seconds: u64,
) -> Measurement {
    let outcome = try_measure(running, load, connections, seconds).await;
    Measurement {
        round,
        peer: running.peer,
        connections,
        outcome: outcome.map_err(|error| error.to_string()),
    }
}

async fn try_measure(
    running: &mut Running,
    load: &LoadTest,
    connections: u32,
    seconds: u64,
) -> Result<Measured, BoxError> {
    running.check()?;
    let before = running.cpu_seconds();
    let load = load.run(&running.url, connections, seconds).await?;
    sleep(SETTLE_TIME).await;
    let after = running.cpu_seconds();
    running.check()?;
    let requests = load.figures.succeeded;
    let micros = after.zip(&before, |after, before| (after - before) * 1e6 / requests as f64);
    Ok(Measured {
        load,
        cpu_micros: (requests > 0).then_some(micros),
    })
}

/// The order of a round: each round begins with another peer, so that none always follows the same one's turn.
pub(crate) fn order(round: u32, peers: usize) -> impl Iterator<Item = usize> {
    let first = (round as usize).saturating_sub(1);
    (0..peers).map(move |index| (first + index) % peers)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::load::{Figures, Latency};

    /// A measurement of so many requests a second.
    pub(crate) fn measured(round: u32, peer: Peer, connections: u32, throughput: f64) -> Measurement {
        let figures = Figures {
            version: "0.1.0".to_owned(),
            succeeded: 1000,
            failed: 0,
            throughput_per_second: throughput,
            latency_ms: Latency {
                p50: Some(1.5),
                p99: Some(4.0),
            },
        };
        let cpu_micros = Some(Parts {
            front: 10.0,
            worker: Some(5.0),
            broker: None,
        });
        let load = Load {
            json: serde_json::Value::Null,
            figures,
        };
        Measurement {
            round,
            peer,
            connections,
            outcome: Ok(Measured { load, cpu_micros }),
        }
    }

    #[test]
    fn every_round_has_every_peer_once_and_begins_with_another() {
        let orders: Vec<Vec<usize>> = (1..=4).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
