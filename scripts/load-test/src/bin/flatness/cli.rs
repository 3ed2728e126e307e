//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::axis::Axis;

/// Measures how the cost of a request grows with replicas, backlog, requests in flight and the size of bodies.
///
/// Starts redis-server, ingress-service and proxy-service itself, and ends them. All axes take some minutes.
/// Exit status: 0 when everything was measured, 2 for a bad option or when something could not be.
#[derive(Debug, Clone, Parser)]
#[command(name = "flatness", version)]
pub(crate) struct Cli {
    /// What is varied
    #[arg(long, value_enum, default_value = "all")]
    axis: AxisName,

    /// How often each point is measured, points taking turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,

    /// How long a point is under measured load, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,

    /// Where the release binaries ingress-service and proxy-service are [default: build them]
    #[arg(long, value_name = "DIR")]
    pub(crate) services: Option<PathBuf>,

    /// Write every round's figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the tables, which go to standard output as well
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AxisName {
    Replicas,
    Backlog,
    InFlight,
    Body,
    All,
}

impl Cli {
    /// The axes to measure, in order.
    pub(crate) fn axes(&self) -> Vec<Axis> {
        match self.axis {
            AxisName::Replicas => vec![Axis::Replicas],
            AxisName::Backlog => vec![Axis::Backlog],
            AxisName::InFlight => vec![Axis::InFlight],
            AxisName::Body => vec![Axis::Body],
            AxisName::All => vec![Axis::Replicas, Axis::Backlog, Axis::InFlight, Axis::Body],
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case(&[], 4)]
    #[case(&["--axis", "in-flight"], 1)]
    fn all_axes_are_measured_unless_one_is_named(#[case] arguments: &[&str], #[case] count: usize) {
        let cli = Cli::try_parse_from([&["flatness"], arguments].concat()).unwrap();
        assert_eq!(cli.axes().len(), count);
    }

    #[rstest]
    #[case("--axis", "size", "replicas, backlog, in-flight, body, all")]
    #[case("--rounds", "0", "1..=20")]
    #[case("--seconds", "61", "1..=60")]
    fn a_bad_value_is_refused_by_flag(#[case] flag: &str, #[case] value: &str, #[case] accepted: &str) {
        let error = Cli::try_parse_from(["flatness", flag, value]).unwrap_err().to_string();
        assert!(error.contains(flag) && error.contains(accepted), "{error}");
    }
}
