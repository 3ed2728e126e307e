//! Logs: readable lines for a terminal, or one JSON object a line for a collector. To standard error, so
//! that standard output stays free for what a person asked to see.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Starts logging for this process. `filter` has the syntax of `RUST_LOG`, for example
/// `info,roundtrip=debug`.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(format: LogFormat, filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in one process, as tests do, keeps the first one's output.
    let _ = match format {
        LogFormat::Pretty => {
            let lines = fmt::layer().with_target(false).with_writer(std::io::stderr);
            registry
                .with(lines.with_ansi(std::io::stderr().is_terminal()))
                .try_init()
        }
        LogFormat::Json => {
            let lines = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(lines).try_init()
        }
    };
    Ok(())
}

/// An error and all its causes, in one line for the log.
#[must_use]
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
