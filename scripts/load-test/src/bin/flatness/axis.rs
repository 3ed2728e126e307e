//! The axes: what is varied, what it is measured by, and how.

mod backlog;
mod body;
mod in_flight;
mod replicas;

use std::time::Duration;

use crate::cluster::Programs;
use crate::results::{Cost, Table};

/// Load before anything is measured: connections warm, batches of the size they will have.
const WARM_UP: Duration = Duration::from_secs(1);

/// Connections where their number is not what is varied.
const CONNECTIONS: usize = 64;

/// What is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Replicas,
    Backlog,
    InFlight,
    Body,
}

/// A point's figures, one for each cost of its axis.
type Figures = Vec<Option<f64>>;

impl Axis {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Replicas => "replicas",
            Self::Backlog => "backlog",
            Self::InFlight => "in-flight",
            Self::Body => "body",
        }
    }

    /// The table of this axis, without rounds.
    pub(crate) fn table(self) -> Table {
        let (heading, note, costs, points): (_, _, _, &[usize]) = match self {
            Self::Replicas => (
                replicas::HEADING,
                replicas::NOTE,
                &replicas::COSTS[..],
                &replicas::POINTS,
            ),
            Self::Backlog => (backlog::HEADING, backlog::NOTE, &backlog::COSTS[..], &backlog::POINTS),
            Self::InFlight => (
                in_flight::HEADING,
                in_flight::NOTE,
                &in_flight::COSTS[..],
                &in_flight::POINTS,
            ),
            Self::Body => (body::HEADING, body::NOTE, &body::COSTS[..], &body::POINTS),
        };
        Table {
            axis: self.name(),
            heading,
            note,
            points: points.iter().map(|point| grouped(*point)).collect(),
            costs,
            rounds: Vec::new(),
        }
    }

    /// Measures the point at `index`, under load for `length`.
    pub(crate) async fn measure(self, index: usize, programs: &Programs, length: Duration) -> Result<Figures, String> {
        match self {
            Self::Replicas => replicas::measure(replicas::POINTS[index], programs, length).await,
            // A backlog is drained to its end, however long it takes.
            Self::Backlog => backlog::measure(backlog::POINTS[index], programs).await,
            Self::InFlight => in_flight::measure(in_flight::POINTS[index], programs, length).await,
            Self::Body => body::measure(body::POINTS[index], programs, length).await,
        }
    }
}

const fn compared(name: &'static str) -> Cost {
    Cost { name, compared: true }
}

const fn plain(name: &'static str) -> Cost {
    Cost { name, compared: false }
}

/// A number with commas between its thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        let numbers = [0, 999, 1000, 1_048_576].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,048,576"]);
    }
}
