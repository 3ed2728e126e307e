//! The command line: every bad value is refused by flag, with what is accepted.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use load_test::cities::Cities;
use load_test::plan::{Limits, MAX_TIMEOUT, Mode};
use load_test::report::Thresholds;
use load_test::target::Target;

/// Requests of a sequential run without limits: each of the fifteen cities once.
const SEQUENTIAL_COUNT: u64 = 15;
/// Time of any other run without limits.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const DEFAULT_CONNECTIONS: NonZero<usize> = NonZero::new(64).expect("64 is not zero");

/// Puts load on a running Roundtrip, verifies every answer, and reports how long they took.
///
/// Exit status: 0 when all is well, 1 when --min-success or --max-p99 is missed, 2 for a bad option or when no
/// service answers.
#[derive(Debug, Clone, Parser)]
#[command(name = "load-test", version)]
pub(crate) struct Cli {
    /// How requests follow one another [default: concurrent]
    #[arg(long, value_enum)]
    mode: Option<ModeName>,

    /// The mode, without --mode
    #[arg(value_enum, value_name = "MODE", conflicts_with = "mode")]
    plain_mode: Option<ModeName>,

    /// The service, plain http
    #[arg(long, default_value = "http://localhost:5009")]
    pub(crate) url: Target,

    /// End after this many requests [default: 15 for sequential]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after this time, such as 10s; with --count, at whichever comes first [default: 10s without --count]
    #[arg(long, value_parser = positive_duration)]
    duration: Option<Duration>,

    /// Requests a second, for open
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,

    /// Connections at most, each with one request in flight [default: 64; 1 for sequential]
    #[arg(long, value_parser = connections)]
    connections: Option<NonZero<usize>>,

    /// How long a request may take, at most 60s
    #[arg(long, default_value = "30s", value_parser = timeout)]
    pub(crate) timeout: Duration,

    /// A file of places to ask for, `City` or `City;Location` a line, `#` for comments [default: fifteen world cities]
    #[arg(long, value_name = "FILE", value_parser = city_list)]
    city_list: Option<Cities>,

    /// Ask for the places in a random order that this number makes repeatable; without it they take turns
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// Write the figures as JSON; `-` for standard output, all else then goes to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a report for people, one HTML file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Exit with 1 when a smaller share of the requests succeeds, 0 to 1
    #[arg(long, value_parser = share)]
    min_success: Option<f64>,

    /// Exit with 1 when the 99th percentile of latency is longer, such as 50ms
    #[arg(long, value_parser = positive_duration)]
    max_p99: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// One at a time, with a row for each
    Sequential,
    /// A closed loop: each connection asks again when it has its answer
    Concurrent,
    /// A constant rate, whatever the answers do; latency counts from when a request was due
    Open,
}

impl Cli {
    fn mode_name(&self) -> ModeName {
        self.mode.or(self.plain_mode).unwrap_or(ModeName::Concurrent)
    }

    /// The mode with its parameters.
    pub(crate) fn mode(&self) -> Result<Mode, clap::Error> {
        let connections = self.connections.unwrap_or(DEFAULT_CONNECTIONS);
        let mode = match (self.mode_name(), self.rate) {
            (ModeName::Open, Some(rate)) => Mode::Open { connections, rate },
            (ModeName::Open, None) => return Err(conflict("open needs --rate, requests a second above zero")),
            (_, Some(_)) => return Err(conflict("--rate goes with open only: load-test --mode open --rate 500")),
            (ModeName::Concurrent, None) => Mode::Concurrent { connections },
            (ModeName::Sequential, None) if self.connections.is_some_and(|connections| connections.get() > 1) => {
                return Err(conflict(
                    "--connections goes with concurrent and open: sequential has one",
                ));
            }
            (ModeName::Sequential, None) => Mode::Sequential,
        };
        Ok(mode)
    }

    /// When the run ends.
    pub(crate) fn limits(&self) -> Limits {
        let (mut count, mut duration) = (self.count, self.duration);
        if count.is_none() && duration.is_none() {
            match self.mode_name() {
                ModeName::Sequential => count = Some(SEQUENTIAL_COUNT),
                ModeName::Concurrent | ModeName::Open => duration = Some(DEFAULT_DURATION),
            }
        }
        Limits { count, duration }
    }

    /// What to ask for.
    pub(crate) fn cities(&self) -> Cities {
        self.city_list.clone().unwrap_or_else(Cities::world)
    }

    /// What to reach.
    pub(crate) fn thresholds(&self) -> Thresholds {
        Thresholds {
            min_success: self.min_success,
            max_p99: self.max_p99,
        }
    }
}

fn conflict(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ArgumentConflict, message)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok();
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "accepted is a duration above zero, such as 10s, 500ms or 2m".to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = positive_duration(text).ok();
    timeout
        .filter(|timeout| *timeout <= MAX_TIMEOUT)
        .ok_or_else(|| "accepted is a duration above zero and up to 60s, such as 30s".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    // Slower than one in a thousand seconds or faster than any client is a slip of the finger.
    rate.filter(|rate| (0.001..=1_000_000.0).contains(rate))
        .ok_or_else(|| "accepted are requests a second, 0.001 to 1000000, such as 500".to_owned())
}

fn connections(text: &str) -> Result<NonZero<usize>, String> {
    let connections: Option<NonZero<usize>> = text.parse().ok();
    connections
        .filter(|connections| connections.get() <= 10_000)
        .ok_or_else(|| "accepted are 1 to 10000 connections".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "accepted is a share from 0 to 1, such as 0.99".to_owned())
}

fn city_list(file: &str) -> Result<Cities, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("could not read the city list: {error}"))?;
    Cities::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<(Mode, Limits), String> {
        let cli = Cli::try_parse_from([&["load-test"], arguments].concat()).map_err(|error| error.to_string())?;
        let mode = cli.mode().map_err(|error| error.to_string())?;
        Ok((mode, cli.limits()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case(&[], "concurrent", 64, None, Some(10))]
    #[case(&["concurrent", "--count", "5"], "concurrent", 64, Some(5), None)]
    #[case(&["sequential"], "sequential", 1, Some(15), None)]
    #[case(&["sequential", "--duration", "2s"], "sequential", 1, None, Some(2))]
    #[case(&["open", "--rate", "9.5", "--connections", "3"], "open", 3, None, Some(10))]
    #[case(&["open", "--rate", "5", "--count", "7", "--duration", "1m"], "open", 64, Some(7), Some(60))]
    fn what_is_not_said_has_a_sensible_value(
        #[case] arguments: &[&str],
        #[case] name: &str,
        #[case] connections: usize,
        #[case] count: Option<u64>,
        #[case] seconds: Option<u64>,
    ) {
        let (mode, limits) = parse(arguments).unwrap();
        let duration = seconds.map(Duration::from_secs);
        assert_eq!((mode.name(), mode.connections()), (name, connections));
        assert_eq!(limits, Limits { count, duration });
    }

    #[rstest]
    #[case(&["--url", "localhost:5009"], "--url", "http://localhost:5009")]
    #[case(&["--url", "https://localhost"], "--url", "https is not supported")]
    #[case(&["--count", "0"], "--count", "1..")]
    #[case(&["--duration=-5s"], "--duration", "such as 10s")]
    #[case(&["--duration", "0s"], "--duration", "above zero")]
    #[case(&["open", "--rate", "0"], "--rate", "0.001 to 1000000")]
    #[case(&["open", "--rate", "NaN"], "--rate", "0.001 to 1000000")]
    #[case(&["open"], "--rate", "above zero")]
    #[case(&["--rate", "5"], "--rate", "open")]
    #[case(&["--connections", "0"], "--connections", "1 to 10000")]
    #[case(&["sequential", "--connections", "2"], "--connections", "sequential has one")]
    #[case(&["--timeout", "61s"], "--timeout", "up to 60s")]
    #[case(&["--min-success", "99"], "--min-success", "0 to 1")]
    #[case(&["--max-p99", "50"], "--max-p99", "500ms")]
    #[case(&["--city-list", "/nowhere"], "--city-list", "could not read")]
    #[case(&["--city-list", "/dev/null"], "--city-list", "names no city")]
    #[case(&["parallel"], "MODE", "sequential, concurrent, open")]
    fn a_bad_value_is_refused_by_flag(#[case] arguments: &[&str], #[case] flag: &str, #[case] accepted: &str) {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(flag) && error.contains(accepted), "{error}");
    }
}
