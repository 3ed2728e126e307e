//! What a Redis error means for the caller. The text of the error stays in the source, for logs.

use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::broker::{BrokerError, BrokerErrorKind};

/// The cause of an answer of a wrong shape. Nothing of the answer itself: it may hold what callers sent.
pub(super) const MISFIT: &str = "the answer does not fit the question";

/// Whether the command can have reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    No,
    Maybe,
}

/// An error of the library's.
pub(super) fn broker_error(operation: &'static str, sent: Sent, error: RedisError) -> BrokerError {
    let kind = match error.kind() {
        ErrorKind::AuthenticationFailed => BrokerErrorKind::Denied,
        ErrorKind::UnexpectedReturnType => return misfit(operation),
        ErrorKind::InvalidClientConfig => BrokerErrorKind::Rejected,
        ErrorKind::Server(_) | ErrorKind::Extension => refusal(&server_code(&error).unwrap_or_default()),
        _ => connection_failure(sent),
    };
    BrokerError::new(kind, operation, error)
}

/// The server's own word on one of our sockets.
pub(super) fn refused(operation: &'static str, error: ServerError) -> BrokerError {
    BrokerError::new(refusal(error.code()), operation, error)
}

/// The server's word on who we are. Nothing else was said yet.
pub(super) fn denied(operation: &'static str, error: ServerError) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Denied, operation, error)
}

/// The server's word on a wait for its replicas. Whatever it says, the write went before it: the server may have been
/// demoted while it waited.
pub(super) fn unconfirmed(operation: &'static str, error: ServerError) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unconfirmed, operation, error)
}

/// A connection that failed, or an answer that did not come in time.
pub(super) fn unanswered(
    operation: &'static str,
    sent: Sent,
    error: impl std::error::Error + Send + Sync + 'static,
) -> BrokerError {
    BrokerError::new(connection_failure(sent), operation, error)
}

/// An answer that was not understood: the command ran, and what it did is not known.
pub(super) fn misfit(operation: &'static str) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unconfirmed, operation, MISFIT)
}

/// What a refusal means, by its code word.
fn refusal(code: &str) -> BrokerErrorKind {
    match code {
        "LOADING" => BrokerErrorKind::Loading,
        "OOM" => BrokerErrorKind::Full,
        "WRONGPASS" | "NOAUTH" => BrokerErrorKind::Denied,
        "NOGROUP" => BrokerErrorKind::GroupLost,
        // The server is unwell or busy: the command had no effect, a later one may succeed.
        "MISCONF" | "NOREPLICAS" | "MASTERDOWN" | "BUSY" | "EXECABORT" => BrokerErrorKind::Unavailable,
        code if leads_elsewhere(code) => BrokerErrorKind::Unavailable,
        _ => BrokerErrorKind::Rejected,
    }
}

/// Whether a server that says so goes on to say so: it was demoted, or has handed its keys on, and the next connection
/// may be to its successor. `UNBLOCKED` is what a read hears that waited meanwhile.
fn leads_elsewhere(code: &str) -> bool {
    matches!(
        code,
        "READONLY" | "UNBLOCKED" | "MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN"
    )
}

fn connection_failure(sent: Sent) -> BrokerErrorKind {
    match sent {
        Sent::No => BrokerErrorKind::Unavailable,
        Sent::Maybe => BrokerErrorKind::Unconfirmed,
    }
}

/// The code word a server error begins with: `NOGROUP`, `OOM`, … The first one, of a pipeline.
pub(super) fn server_code(error: &RedisError) -> Option<String> {
    let whole = |code: &str, details: Option<&str>| {
        let text = format!("{code} {}", details.unwrap_or_default());
        code_word(&text).to_owned()
    };
    if let Some(code) = error.code()
        && code != "EXECABORT"
    {
        return Some(whole(code, error.detail()));
    }
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| whole(error.code(), error.details()))
}

/// The code word of an error's text. Redis 6.2 wraps what a script's command answered:
/// `ERR Error running script (…): @user_script: 3: -OOM command not allowed …`.
fn code_word(text: &str) -> &str {
    let inner = text
        .starts_with("ERR Error running script")
        .then(|| text.split(": ").find_map(|part| part.strip_prefix('-')));
    let text = inner.flatten().unwrap_or(text);
    text.split(' ').next().unwrap_or_default()
}

/// Whether the connection is of no use any more: broken, or to a server that is not the one to ask.
pub(super) fn spoils_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || server_code(error).is_some_and(|code| leads_elsewhere(&code))
}

/// The server's own word that a command failed.
#[derive(Debug)]
pub(super) struct ServerError {
    text: String,
}

impl ServerError {
    /// An error that stands alone among the answers.
    pub(super) fn new(text: &[u8]) -> Self {
        String::from_utf8_lossy(text).into_owned().into()
    }

    /// The code word it begins with: `NOGROUP`, `OOM`, …
    pub(super) fn code(&self) -> &str {
        code_word(&self.text)
    }

    /// The same as [`spoils_connection`].
    pub(super) fn spoils_connection(&self) -> bool {
        leads_elsewhere(self.code())
    }
}

impl From<String> for ServerError {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_first_word_even_of_an_error_inside_a_script() {
        for (text, code) in [
            ("NOGROUP No such key", "NOGROUP"),
            ("OOM command not allowed. script: 1f, on @user_script:3.", "OOM"),
            (
                "ERR Error running script (call to f_1f): @user_script:3: @user_script: 3: -OOM command not allowed",
                "OOM",
            ),
            ("ERR Error running script (call to f_1f): something else", "ERR"),
            ("", ""),
        ] {
            assert_eq!(code_word(text), code, "{text}");
        }
    }
}
