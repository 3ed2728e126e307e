//! What travels between requester and worker. Values here are valid by construction: whatever comes off a
//! wire is checked once, on the way in.

mod fault;
mod names;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::batch::Weigh;

pub use fault::{Fault, FaultCode};
pub use names::{CorrelationId, InvalidReplyTo, InvalidTenant, Origin, Partition, ReplyTo, Tenant};

/// How long a request is worth working on, counted from the moment the broker accepted it. In whole
/// milliseconds, at most [`Budget::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Budget(u64);

impl Budget {
    /// The longest budget: a day. More is a mistake, not a patient caller.
    pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// A budget of `duration`, cut to whole milliseconds and to [`Budget::MAX`].
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self(duration.min(Self::MAX).as_millis() as u64)
    }

    /// Reads a budget from the text of a stream field: a whole number of milliseconds, up to the maximum.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let millis: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        (Duration::from_millis(millis) <= Self::MAX).then_some(Self(millis))
    }

    /// The budget in milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// The budget as a duration.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// One request for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Ties the reply to this request.
    pub id: CorrelationId,
    /// What is asked for, and whose it is.
    pub origin: Origin,
    /// Who waits for the reply.
    pub reply_to: ReplyTo,
    /// How long the work is worth doing.
    pub budget: Budget,
    /// The caller's trace, as in [W3C Trace Context](https://www.w3.org/TR/trace-context/).
    pub traceparent: Option<Arc<str>>,
    /// What is kept of it beside its place in the stream.
    pub keep: Keep,
    /// The operation's input, a JSON document.
    pub data: Bytes,
}

/// What is kept of a request, so that somebody can ask for it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Nothing: whoever asked waits for the reply, and nobody asks again.
    #[default]
    No,
    /// Its requester waits for the reply, and it has a record, or may get one while it is at work.
    WithReply,
    /// It has a record, and nobody waits for a reply.
    Only,
}

impl Keep {
    /// Its name in a stream entry; `None` where there is nothing to say.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::WithReply => Some("reply"),
            Self::Only => Some("only"),
        }
    }

    /// Reads the name in a stream entry. What is unknown is read as [`Keep::WithReply`], which tells everybody.
    #[must_use]
    pub fn parse(name: &[u8]) -> Self {
        match name {
            b"" => Self::No,
            b"only" => Self::Only,
            _ => Self::WithReply,
        }
    }
}

/// What a message takes beside its data, in bytes, about: ids, names of fields, the command around it.
pub(crate) const ENVELOPE: usize = 512;

impl Weigh for Request {
    fn weight(&self) -> usize {
        ENVELOPE + self.data.len()
    }
}

impl Weigh for Reply {
    fn weight(&self) -> usize {
        ENVELOPE
            + self
                .outcome
                .as_ref()
                .map_or_else(|fault| fault.detail.len(), Bytes::len)
    }
}

impl Request {
    /// The request as the fields of a stream entry, in their order.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Bytes)> {
        let traceparent = self.traceparent.as_deref().unwrap_or_default();
        let mut fields = vec![
            ("requestId", self.id.to_string().into()),
            ("replyTo", self.reply_to.to_string().into()),
            ("budgetMs", self.budget.as_millis().to_string().into()),
            ("traceparent", traceparent.to_owned().into()),
            ("data", self.data.clone()),
        ];
        fields.extend(self.keep.as_str().map(|keep| ("keep", keep.into())));
        let Origin { operation, tenant } = &self.origin;
        if !operation.goes_without_saying() {
            fields.push(("operation", operation.as_str().into()));
        }
        fields.extend(tenant.name().map(|tenant| ("tenant", tenant.to_owned().into())));
        fields
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request this answers.
    pub id: CorrelationId,
    /// What that was of.
    pub origin: Origin,
    /// The operation's output as a JSON document, or why there is none.
    pub outcome: Result<Bytes, Fault>,
}

impl Reply {
    /// How a request ended.
    #[must_use]
    pub fn new(id: CorrelationId, origin: Origin, outcome: Result<Bytes, Fault>) -> Self {
        Self { id, origin, outcome }
    }

    /// The reply to a request.
    #[must_use]
    pub fn to(request: &Request, outcome: Result<Bytes, Fault>) -> Self {
        Self::new(request.id, request.origin.clone(), outcome)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn absurd_budgets_are_refused() {
        for text in ["", "-1", "1.5", "99999999999999999999", "86400001", "0x10", " 1"] {
            assert_eq!(Budget::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Budget::parse(b"86400000"), Some(Budget::new(Budget::MAX)));
    }
}
