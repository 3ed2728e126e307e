//! Logs: readable lines for a terminal, or one JSON object a line for a collector. To standard error, so
//! that standard output stays free for what a person asked to see.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is logged: the syntax of `RUST_LOG`, for example `info,roundtrip=debug`.
#[derive(Debug, Clone)]
pub struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            "off, error, warn, info, debug or trace is expected, also per module, such as info,roundtrip=debug";
        EnvFilter::try_new(text).map_err(|_| expected.to_owned())?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Starts logging for this process.
pub fn init(format: LogFormat, filter: &LogFilter) {
    let registry = tracing_subscriber::registry().with(EnvFilter::new(&filter.0));
    // A second start in one process, as tests do, keeps the first one's output.
    let _ = match format {
        LogFormat::Pretty => {
            let lines = layer().with_target(false).with_writer(std::io::stderr);
            registry
                .with(lines.with_ansi(std::io::stderr().is_terminal()))
                .try_init()
        }
        LogFormat::Json => {
            let lines = layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(lines).try_init()
        }
    };
}

/// An error and all its causes, in one line for the log.
#[must_use]
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
