//! The command line and the environment, read once at start.

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What no value can be judged by alone.
pub trait Check {
    /// Judges the values together.
    ///
    /// # Errors
    /// A sentence that names the variables, their values and what is accepted.
    fn check(&self) -> Result<(), String>;
}

/// What a program was started for.
#[derive(Debug)]
pub enum Start<C> {
    /// To serve.
    Serve(C),
    /// To ask whether the one that serves with this configuration is ready.
    Healthcheck(C),
}

/// The word that asks for a health check, before any flag.
const HEALTHCHECK: &str = "healthcheck";

/// Reads a configuration, or ends the process with a message that names the variable, its value and what is
/// accepted; also for `--help` and `--version`.
#[must_use]
pub fn read<C: Parser + Check>() -> Start<C> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let asks = arguments.get(1).is_some_and(|word| word == HEALTHCHECK);
    if asks {
        arguments.remove(1);
    }
    let config = match C::try_parse_from(arguments) {
        Ok(config) => config,
        Err(error) => without_secrets(error).exit(),
    };
    if let Err(message) = config.check() {
        C::command().error(ErrorKind::ValueValidation, message).exit();
    }
    if asks {
        Start::Healthcheck(config)
    } else {
        Start::Serve(config)
    }
}

/// clap repeats a refused value, and a refused URL may hold a password.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && let Some(masked) = masked(value)
    {
        error.insert(ContextKind::InvalidValue, ContextValue::String(masked));
    }
    error
}

/// A URL without its user and password, and without its query, which may hold a key; `None` when it has neither.
fn masked(url: &str) -> Option<String> {
    // The last one: a password that was not escaped may hold more of them, and anything else.
    let (before, rest) = match url.rsplit_once('@') {
        Some((secret, rest)) => {
            let scheme = secret.split_once("://").map_or("", |(scheme, _)| scheme);
            (format!("{scheme}://***@"), rest)
        }
        None => (String::new(), url),
    };
    match rest.split_once(['?', '#']) {
        Some((rest, _)) => Some(format!("{before}{rest}?***")),
        None => (!before.is_empty()).then(|| format!("{before}{rest}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://me:hunter2@host/x", Some("redis://***@host/x")),
            ("redis://me:hun@ter2@host", Some("redis://***@host")),
            ("me:hunter2@host", Some("://***@host")),
            ("redis://host/x", None),
            ("ftp://host/x?apikey=hunter2", Some("ftp://host/x?***")),
            ("host?apikey=hunter2", Some("host?***")),
            ("ftp://me:hunter2@host/?apikey=hunter2", Some("ftp://***@host/?***")),
            ("ftp://host/?apikey=hunter2@x", Some("ftp://***@x")),
            ("http://host/#hunter2", Some("http://host/?***")),
            ("ftp://me:hun?ter2@host", Some("ftp://***@host")),
        ] {
            assert_eq!(masked(url).as_deref(), shown, "{url}");
        }
    }
}
