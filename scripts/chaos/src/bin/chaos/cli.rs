//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::scenario::{ALL, Profile, Scenario};

/// Breaks Roundtrip on purpose, under load, and checks that nothing is lost, doubled, swapped or leaked.
///
/// Starts redis-server, ingress-service and its own worker itself, and ends them. Exit status: 0 when everything was as
/// expected, 1 when something was not, 2 for a bad option or when it could not be found out.
#[derive(Debug, Clone, Parser)]
#[command(name = "chaos", version)]
pub(crate) struct Cli {
    /// How thorough
    #[arg(long, value_enum, default_value = "ci")]
    pub(crate) profile: Profile,

    /// A scenario to run; may be repeated [default: all]
    #[arg(long = "scenario", value_name = "NAME", value_parser = scenario)]
    scenarios: Vec<Scenario>,

    /// Where every random choice comes from [default: another one each time]
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// Name all scenarios, and end
    #[arg(long)]
    pub(crate) list: bool,

    /// Write verdicts, faults and every call as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Where the release binaries ingress-service and chaos-worker are [default: build them]
    #[arg(long, value_name = "DIR")]
    pub(crate) services: Option<PathBuf>,
}

impl Cli {
    /// The scenarios to run, in the order of the table.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        let named = |scenario: &&Scenario| self.scenarios.iter().any(|named| named.id == scenario.id);
        ALL.iter()
            .filter(|scenario| self.scenarios.is_empty() || named(scenario))
            .copied()
            .collect()
    }
}

fn scenario(name: &str) -> Result<Scenario, String> {
    let found = ALL.iter().find(|scenario| scenario.id == name).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.id).collect();
        format!("accepted are {}", names.join(", "))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_scenarios_run_unless_some_are_named() {
        let count = |arguments: &[&str]| Cli::try_parse_from(arguments).unwrap().scenarios().len();
        assert_eq!(count(&["chaos"]), ALL.len());
        assert_eq!(count(&["chaos", "--scenario", "poison", "--scenario", "overload"]), 2);
    }

    #[test]
    fn an_unknown_scenario_is_refused_with_those_there_are() {
        let error = Cli::try_parse_from(["chaos", "--scenario", "x"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("kill-worker") && error.contains("rolling-restart"),
            "{error}"
        );
    }
}
