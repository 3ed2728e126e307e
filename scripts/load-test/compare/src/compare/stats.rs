//! What several rounds say together. Ratios are formed within a round, where both had the same machine, and only then
//! summed up: a slow minute slows both.

use serde::Serialize;

use crate::lineup::Peer;
use crate::rounds::Measurement;

/// The median of some values, and how far they reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    /// How many values there are.
    pub(crate) count: usize,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (count, middle) = (values.len(), values.len() / 2);
        let median = match count % 2 {
            1 => values[middle],
            _ => (values.get(middle.checked_sub(1)?)? + values[middle]) / 2.0,
        };
        Some(Self {
            min: *values.first()?,
            median,
            max: *values.last()?,
            count,
        })
    }
}

/// What is compared in a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Quantity {
    Throughput,
    CpuPerRequest,
    P50,
}

impl Quantity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::CpuPerRequest => "CPU per request",
            Self::P50 => "p50",
        }
    }

    fn of(self, measurement: &Measurement) -> Option<f64> {
        match self {
            Self::Throughput => measurement.throughput(),
            Self::CpuPerRequest => measurement.cpu_micros().map(|parts| parts.sum()),
            Self::P50 => measurement.p50(),
        }
    }
}

/// One of Roundtrip's ways divided by something else, round by round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Ratio {
    pub(crate) quantity: Quantity,
    pub(crate) connections: u32,
    pub(crate) ours: Peer,
    pub(crate) theirs: Peer,
    /// `None` when no round has both.
    pub(crate) spread: Option<Spread>,
}

impl Ratio {
    fn new(quantity: Quantity, connections: u32, ours: Peer, theirs: Peer, measurements: &[Measurement]) -> Self {
        let value = |peer: Peer, round: u32| {
            let found = measurements.iter().find(|measurement| {
                (measurement.round, measurement.peer, measurement.connections) == (round, peer, connections)
            });
            found.and_then(|measurement| quantity.of(measurement))
        };
        let rounds = 1..=measurements
            .iter()
            .map(|measurement| measurement.round)
            .max()
            .unwrap_or(0);
        let ratios = rounds.filter_map(|round| Some(value(ours, round)? / value(theirs, round)?));
        Self {
            quantity,
            connections,
            ours,
            theirs,
            spread: Spread::of(ratios),
        }
    }
}

/// The ratios that are asked about Roundtrip, as far as `peers` are compared.
pub(crate) fn ratios(peers: &[Peer], measurements: &[Measurement]) -> Vec<Ratio> {
    use Peer::{Direct, Jetstream, Nats, Rabbitmq, RoundtripAof, RoundtripAofAlways, RoundtripMemory, RoundtripRedis};
    let ratio = |quantity, connections, ours, theirs| Ratio::new(quantity, connections, ours, theirs, measurements);
    let mut ratios = Vec::new();
    for ours in [RoundtripRedis, RoundtripAof, RoundtripAofAlways] {
        for theirs in [Nats, Jetstream, Rabbitmq, Direct] {
            ratios.push(ratio(Quantity::Throughput, 64, ours, theirs));
        }
    }
    ratios.push(ratio(Quantity::Throughput, 64, RoundtripMemory, RoundtripRedis));
    for theirs in [Nats, Jetstream, Rabbitmq, Direct] {
        ratios.push(ratio(Quantity::CpuPerRequest, 64, RoundtripRedis, theirs));
    }
    ratios.push(ratio(Quantity::P50, 1, RoundtripRedis, Nats));
    ratios.retain(|ratio| peers.contains(&ratio.ours) && peers.contains(&ratio.theirs));
    ratios
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rounds::tests::measured;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[f64::NAN]), None);
        let odd = of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.min, odd.median, odd.max, odd.count), (1.0, 2.0, 3.0, 3));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(of(&[7.0]).unwrap().median, 7.0);
    }

    #[test]
    fn a_ratio_pairs_what_was_measured_in_the_same_round() {
        // The second round's machine is half as fast for both: the ratio does not move.
        let measurements = [
            measured(1, Peer::Nats, 64, 100.0),
            measured(1, Peer::RoundtripRedis, 64, 120.0),
            measured(2, Peer::Nats, 64, 50.0),
            measured(2, Peer::RoundtripRedis, 64, 60.0),
            measured(3, Peer::Nats, 64, 100.0),
            measured(3, Peer::RoundtripRedis, 1, 1.0),
        ];
        let ratio = Ratio::new(
            Quantity::Throughput,
            64,
            Peer::RoundtripRedis,
            Peer::Nats,
            &measurements,
        );
        let spread = ratio.spread.unwrap();
        assert_eq!(
            (spread.min, spread.median, spread.max, spread.count),
            (1.2, 1.2, 1.2, 2)
        );
    }

    #[test]
    fn without_a_common_round_there_is_no_ratio() {
        let measurements = [measured(1, Peer::Nats, 64, 100.0)];
        let ratios = ratios(&[Peer::Nats, Peer::RoundtripRedis], &measurements);
        let quantities: Vec<Quantity> = ratios.iter().map(|ratio| ratio.quantity).collect();
        assert_eq!(
            quantities,
            [Quantity::Throughput, Quantity::CpuPerRequest, Quantity::P50]
        );
        assert!(ratios.iter().all(|ratio| ratio.spread.is_none()));
    }
}
