//! What was measured along an axis, and how it compares with the axis' first point. Ratios are taken within a round,
//! then their median: rounds differ more than the points of one.

use std::fmt;

use serde::Serialize;

/// Cost is flat when it grows by no more than this.
const TARGET: f64 = 1.1;

/// A figure that each point has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cost {
    /// What it is, with its unit.
    pub(crate) name: &'static str,
    /// Whether it is compared with the first point's.
    pub(crate) compared: bool,
}

/// An axis' figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Table {
    /// The axis.
    pub(crate) axis: &'static str,
    /// What stands above the points.
    pub(crate) heading: &'static str,
    /// How it was measured.
    pub(crate) note: &'static str,
    /// What was varied.
    pub(crate) points: Vec<String>,
    /// What was measured.
    pub(crate) costs: &'static [Cost],
    /// By round, point and cost; none where a point could not be measured, or a figure would be noise.
    pub(crate) rounds: Vec<Vec<Vec<Option<f64>>>>,
}

/// Median, smallest and largest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max, middle) = (*values.first()?, *values.last()?, values.len() / 2);
        let median = match values.len().is_multiple_of(2) {
            true => f64::midpoint(values[middle - 1], values[middle]),
            false => values[middle],
        };
        Some(Self { median, min, max })
    }
}

impl Table {
    fn value(&self, point: usize, cost: usize) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round[point][cost]))
    }

    fn ratio(&self, point: usize, cost: usize) -> Option<Spread> {
        let of_round = |round: &Vec<Vec<Option<f64>>>| Some(round[point][cost]? / round[0][cost]?);
        Spread::of(self.rounds.iter().filter_map(of_round))
    }
}

/// As Markdown.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rounds.len();
        writeln!(f, "\n### {}\n\n{}", self.axis, self.note)?;
        writeln!(
            f,
            "Medians of {rounds} interleaved round(s), with the smallest and largest.\n"
        )?;
        write!(f, "| {} |", self.heading)?;
        for cost in self.costs {
            write!(f, " {} |{}", cost.name, if cost.compared { " × first |" } else { "" })?;
        }
        write!(f, "\n|---:|")?;
        for cost in self.costs {
            write!(f, "---:|{}", if cost.compared { "---:|" } else { "" })?;
        }
        writeln!(f)?;
        for (point, label) in self.points.iter().enumerate() {
            write!(f, "| {label} |")?;
            for (index, cost) in self.costs.iter().enumerate() {
                write!(f, " {} |", value_cell(self.value(point, index)))?;
                if cost.compared {
                    write!(f, " {} |", ratio_cell(self.ratio(point, index)))?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn value_cell(value: Option<Spread>) -> String {
    let Some(Spread { median, .. }) = value else {
        return "–".to_owned();
    };
    match median.abs() {
        large if large >= 1000.0 => format!("{median:.0}"),
        medium if medium >= 10.0 => format!("{median:.1}"),
        _ => format!("{median:.2}"),
    }
}

fn ratio_cell(ratio: Option<Spread>) -> String {
    let Some(Spread { median, min, max }) = ratio else {
        return "–".to_owned();
    };
    let middle = match median > TARGET {
        true => format!("**{median:.2}**"),
        false => format!("{median:.2}"),
    };
    format!("{middle} ({min:.2}–{max:.2})")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            axis: "replicas",
            heading: "replicas",
            note: "A note.",
            points: vec!["1".to_owned(), "8".to_owned()],
            costs: &[
                Cost {
                    name: "CPU µs",
                    compared: true,
                },
                Cost {
                    name: "req/s",
                    compared: false,
                },
            ],
            rounds: vec![
                vec![vec![Some(10.0), Some(2000.0)], vec![Some(12.0), None]],
                vec![vec![Some(20.0), Some(1000.0)], vec![Some(20.0), None]],
                vec![vec![Some(10.0), Some(3000.0)], vec![Some(15.0), None]],
            ],
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ratio = table().ratio(1, 0).unwrap();
        let expected = Spread {
            median: 1.2,
            min: 1.0,
            max: 1.5,
        };
        assert_eq!(ratio, expected);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter()).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([].into_iter()), None);
    }

    #[test]
    fn what_grows_beyond_the_target_is_bold_and_what_is_missing_is_a_dash() {
        let markdown = table().to_string();
        assert!(
            markdown.contains("| replicas | CPU µs | × first | req/s |\n|---:|---:|---:|---:|\n"),
            "{markdown}"
        );
        assert!(
            markdown.contains("| 1 | 10.0 | 1.00 (1.00–1.00) | 2000 |\n"),
            "{markdown}"
        );
        assert!(
            markdown.contains("| 8 | 15.0 | **1.20** (1.00–1.50) | – |\n"),
            "{markdown}"
        );
    }
}
