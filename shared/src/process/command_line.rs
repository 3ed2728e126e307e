//! The command line and the environment, read once at start.

mod near_misses;

use std::error::Error as _;
use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Parser};

pub use near_misses::warn_of_near_misses;

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
    read_from(std::env::args_os().collect())
}

/// The same from these arguments, the program's name first.
#[must_use]
pub fn read_from<C: Parser + Check>(mut arguments: Vec<OsString>) -> Start<C> {
    let asks = arguments.get(1).is_some_and(|word| word == HEALTHCHECK);
    if asks {
        let word = arguments.remove(1);
        if arguments
            .iter()
            .any(|argument| argument == "--help" || argument == "-h")
        {
            explain_healthcheck(&C::command(), &word);
        }
    }
    let config: C = match parse(&arguments) {
        Ok(config) => config,
        Err(error) => error.exit(),
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

/// Reads a configuration from arguments, the program's name first, and from the environment.
///
/// # Errors
/// A message that names the flag or the variable that was used, its value and what is accepted.
pub fn parse<C: Parser>(arguments: &[OsString]) -> Result<C, clap::Error> {
    let mut command = without_empty_variables(C::command());
    let matches = command.try_get_matches_from_mut(arguments);
    matches
        .and_then(|matches| C::from_arg_matches(&matches))
        .map_err(|error| reworded(&error, &mut command, arguments).unwrap_or(error))
}

/// An empty variable counts as not set where nothing is the default: `ADMIN_TOKEN=` in a file of variables says just
/// that.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |name: &OsString| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let optional = command
        .get_arguments()
        .filter(|argument| argument.get_default_values().is_empty());
    let unset: Vec<_> = optional
        .filter(|argument| argument.get_env().is_some_and(|name| is_empty(&name.to_owned())))
        .map(|argument| argument.get_id().clone())
        .collect();
    unset.iter().fold(command, |command, id| {
        command.mut_arg(id, |argument| argument.env(Resettable::Reset))
    })
}

/// An error about a value in our words: clap names the flag although a variable was set, and repeats what may be a
/// secret.
fn reworded(error: &clap::Error, command: &mut Command, arguments: &[OsString]) -> Option<clap::Error> {
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return None;
    }
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    };
    // As it is written in the usage: `--max-in-flight <MAX_IN_FLIGHT>`.
    let flag = text(ContextKind::InvalidArg)?;
    let flag = flag.split_whitespace().next()?;
    let value = text(ContextKind::InvalidValue)?;
    let value = masked(&value).unwrap_or(value);
    let is_flag = arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument == flag || argument.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='))
    });
    let argument = command.get_arguments().find(|argument| {
        argument
            .get_long()
            .is_some_and(|long| flag.strip_prefix("--") == Some(long))
    })?;
    let variable = argument.get_env()?.to_string_lossy().into_owned();
    let name = if is_flag { flag.to_owned() } else { variable };
    let accepted = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => format!("{} is expected", values.join(", ")),
        _ => error.source()?.to_string(),
    };
    let message = format!("{name}: {value:?} is not accepted: {accepted}");
    Some(command.error(ErrorKind::ValueValidation, message))
}

#[allow(clippy::print_stdout)] // What was asked for.
fn explain_healthcheck(command: &Command, word: &OsString) -> ! {
    let name = command.get_name();
    println!(
        "Asks the {name} that serves on LISTEN_ADDR whether it is ready: GET /readyz, 2 seconds at most for each step.\n\n\
         Usage: {name} {} [--listen-addr <LISTEN_ADDR>]\n\n\
         Exit status: 0 when it is ready; 1 when it is not, or does not answer, with the reason on standard error; 2 for a\n\
         value that is not accepted. The variables are those of the service.",
        word.to_string_lossy()
    );
    std::process::exit(0);
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
