//! Why a call failed, and what that means for whoever made it.

use std::fmt;
use std::sync::Arc;

/// Why a call to the broker failed. The text names operation and subject; the cause is the source, and is
/// for logs only.
#[derive(Debug, Clone)]
pub struct BrokerError {
    kind: BrokerErrorKind,
    operation: &'static str,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What a failed call means for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerErrorKind {
    /// The call had no effect, and a later one may succeed: not connected, loading, out of memory.
    Unavailable,
    /// The backend has no room for more: nothing was written, and what frees room still works.
    Full,
    /// The circuit breaker around the backend is open: nothing was attempted.
    CircuitOpen,
    /// The backend does not let us in: a wrong user or password. The call had no effect.
    Denied,
    /// The connection failed or timed out after the call was sent, or the answer was not understood: the call may have
    /// taken effect.
    Unconfirmed,
    /// The call had no effect, and repeating it will not help: no permission, a key of another type.
    Rejected,
    /// The server is up and still reading its data. The call had no effect; a later one will succeed.
    Loading,
    /// The stream, or its consumer group, is gone. The call had no effect; [`Queue::prepare`](super::Queue::prepare)
    /// comes first.
    GroupLost,
}

impl BrokerError {
    /// An error of `operation`, worded to follow "could not", for example `claim from "weather-requests"`.
    #[must_use]
    pub fn new(
        kind: BrokerErrorKind,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            operation,
            source: Some(Arc::from(source.into())),
        }
    }

    /// What the failure means for the caller.
    #[must_use]
    pub fn kind(&self) -> BrokerErrorKind {
        self.kind
    }

    /// Whether the call may have taken effect all the same.
    #[must_use]
    pub fn may_have_applied(&self) -> bool {
        self.kind == BrokerErrorKind::Unconfirmed
    }

    /// Whether the backend does not let us in, now or when its circuit breaker opened.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        let cause = std::error::Error::source(self).and_then(|cause| cause.downcast_ref::<Self>());
        self.kind == BrokerErrorKind::Denied || cause.is_some_and(Self::is_denial)
    }

    /// Whether the backend has no room for more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kind == BrokerErrorKind::Full
    }

    /// Whether the backend, not the call, is at fault, and a pause may help it. A server that is loading needs no
    /// pause: it says itself when it is done. One that is full needs none either: work goes on, and frees room.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        !matches!(
            self.kind,
            BrokerErrorKind::Rejected | BrokerErrorKind::Loading | BrokerErrorKind::GroupLost | BrokerErrorKind::Full
        )
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.operation)
    }
}

impl std::error::Error for BrokerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
