//! What a Redis error means for the caller. The text of the error stays in the source, for logs.

use redis::{ErrorKind, RedisError};

use crate::broker::redis::connection::socket::ServerError;
use crate::broker::{BrokerError, BrokerErrorKind};

/// The refusals of a server that is unwell or busy: the command had no effect, a later one may succeed.
const TEMPORARY: [&str; 8] = [
    "MISCONF",
    "NOREPLICAS",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "EXECABORT",
];

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

fn refusal(code: &str) -> BrokerErrorKind {
    match code {
        "LOADING" => BrokerErrorKind::Loading,
        "OOM" => BrokerErrorKind::Full,
        "WRONGPASS" | "NOAUTH" => BrokerErrorKind::Denied,
        // The second is what a read hears that was waiting when the stream was deleted.
        "NOGROUP" | "UNBLOCKED" => BrokerErrorKind::GroupLost,
        code if TEMPORARY.contains(&code) => BrokerErrorKind::Unavailable,
        _ => BrokerErrorKind::Rejected,
    }
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
pub(super) fn code_word(text: &str) -> &str {
    let inner = text
        .starts_with("ERR Error running script")
        .then(|| text.split(": ").find_map(|part| part.strip_prefix('-')));
    let text = inner.flatten().unwrap_or(text);
    text.split(' ').next().unwrap_or_default()
}

/// Whether the connection is of no use any more: broken, or to a server that was demoted.
pub(super) fn spoils_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || server_code(error).as_deref() == Some("READONLY")
}

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
