//! What a Redis error means for the caller. The text of the error stays in the source, for logs.

use redis::{ErrorKind, RedisError};

use super::socket::ServerError;
use crate::broker::{BrokerError, BrokerErrorKind};

/// The refusals of a server that is unwell or busy: the command had no effect, a later one may succeed.
const TEMPORARY: [&str; 10] = [
    "LOADING",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "EXECABORT",
];

/// Whether the command can have reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    No,
    Maybe,
}

/// An error of the library's.
pub(super) fn broker_error(operation: &'static str, sent: Sent, error: RedisError) -> BrokerError {
    let kind = match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => BrokerErrorKind::Rejected,
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

fn refusal(code: &str) -> BrokerErrorKind {
    match TEMPORARY.contains(&code) {
        true => BrokerErrorKind::Unavailable,
        false => BrokerErrorKind::Rejected,
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
    if let Some(code) = error.code()
        && code != "EXECABORT"
    {
        return Some(code.to_owned());
    }
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}

/// Whether the connection is of no use any more: broken, or to a server that was demoted.
pub(super) fn spoils_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || server_code(error).as_deref() == Some("READONLY")
}
