//! Logs: readable lines for a terminal, or one JSON object a line for a collector. To standard error, so
//! that standard output stays free for what a person asked to see.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
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

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            "off, error, warn, info, debug or trace is expected, also per module, such as info,roundtrip=debug";
        // The library takes any word for the name of a module, and a number for a level.
        let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
        let mut parts = text.split(',').map(str::trim);
        let is_read = EnvFilter::try_new(text).is_ok() && parts.all(|part| part.contains(['=', '[']) || is_level(part));
        if !is_read {
            return Err(expected.to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Telemetry")]
pub struct LogOptions {
    /// How log lines look
    #[arg(long, env, default_value = "pretty")]
    pub log_format: LogFormat,

    /// What is logged: off, error, warn, info, debug or trace
    ///
    /// Also per module, for example info,roundtrip=debug.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log_filter: LogFilter,
}

/// Starts logging for this process. In JSON each line says which service it is of, and which instance.
pub fn init(service: &'static str, options: &LogOptions) {
    let LogOptions {
        log_format: format,
        log_filter: filter,
    } = options;
    let registry = tracing_subscriber::registry().with(EnvFilter::new(&filter.0));
    // A second start in one process, as tests do, keeps the first one's output.
    let _ = match *format {
        LogFormat::Pretty => {
            let lines = layer().with_target(false).with_writer(std::io::stderr);
            registry
                .with(lines.with_ansi(std::io::stderr().is_terminal()))
                .try_init()
        }
        LogFormat::Json => {
            let named = Named::new(service);
            let lines = layer().json().flatten_event(true).with_writer(move || named.clone());
            registry.with(lines).try_init()
        }
    };
}

/// Standard error, for lines that are JSON objects: the names of service and instance come first in each.
#[derive(Clone)]
struct Named(Arc<str>);

impl Named {
    fn new(service: &'static str) -> Self {
        let instance = format!("{}-{}", crate::process::hostname(), std::process::id());
        let head = serde_json::json!({ "service": service, "instance": instance }).to_string();
        // Without its last brace, which what follows brings.
        Self(format!("{},", head.trim_end_matches('}')).into())
    }

    fn named<'a>(&self, line: &'a [u8]) -> (&[u8], &'a [u8]) {
        match line {
            [b'{', rest @ ..] => (self.0.as_bytes(), rest),
            line => (&[], line),
        }
    }
}

impl io::Write for Named {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (head, rest) = self.named(line);
        // In one piece, as several threads write.
        io::Write::write_all(&mut io::stderr().lock(), &[head, rest].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut io::stderr())
    }
}

/// An error and all its causes, in one line for the log. What a cause only repeats is said once.
#[must_use]
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| match cause.to_string() {
        again if text == again || text.ends_with(&format!(": {again}")) => text,
        cause => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_first_whose_it_is() {
        let named = Named::new("ingress-service");
        let (head, rest) = named.named(b"{\"level\":\"INFO\"}\n");
        let line: serde_json::Value = serde_json::from_slice(&[head, rest].concat()).unwrap();
        assert_eq!(
            (&line["service"], &line["level"]),
            (&"ingress-service".into(), &"INFO".into())
        );
        let instance = line["instance"].as_str().unwrap();
        assert!(instance.ends_with(&format!("-{}", std::process::id())), "{instance}");
    }

    #[test]
    fn a_filter_is_levels_and_modules_with_levels() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,roundtrip=debug",
            "roundtrip::broker=trace, error",
        ] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}");
        }
        for text in ["", "3", "loud", "info,verbose", "roundtrip=loud", "42", "roundtrip"] {
            let error = text.parse::<LogFilter>().unwrap_err();
            assert!(error.contains("debug or trace"), "{text:?}: {error}");
        }
    }
}
