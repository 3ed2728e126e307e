//! What travels between requester and worker. Values here are valid by construction: whatever comes off a
//! wire is checked once, on the way in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::batch::Weigh;

/// Names one request and ties its reply to it. Always made by us, never by a caller, so that nobody can
/// guess or repeat one: a UUID version 7 ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(Uuid);

impl CorrelationId {
    /// A new id, unique and ordered by time.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Reads an id from the text of a stream field; `None` unless it is a UUID with hyphens, in lower case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id = Uuid::try_parse_ascii(text).ok()?;
        // One spelling only: a reply carries ours, and its requester compares texts.
        let mut ours = [0; uuid::fmt::Hyphenated::LENGTH];
        (id.as_hyphenated().encode_lower(&mut ours).as_bytes() == text).then_some(Self(id))
    }
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Uuid> for CorrelationId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// Where a requester reads its replies: the name of its instance, from which each backend derives the
/// place. 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplyTo(Arc<str>);

/// The longest instance name, in characters.
const MAX_INSTANCE_NAME: usize = 64;

impl ReplyTo {
    /// A name no other instance has: the prefix, a dash and a UUID's worth of randomness.
    #[must_use]
    pub fn unique(prefix: &str) -> Self {
        let prefix: String = prefix
            .chars()
            .filter(|c| is_name_character(*c))
            .take(MAX_INSTANCE_NAME - 33)
            .collect();
        Self(format!("{prefix}-{}", Uuid::new_v4().simple()).into())
    }

    /// The instance's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no instance name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidReplyTo;

impl fmt::Display for InvalidReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an instance name has 1 to {MAX_INSTANCE_NAME} characters of A-Z a-z 0-9 . _ -"
        )
    }
}

impl std::error::Error for InvalidReplyTo {}

impl FromStr for ReplyTo {
    type Err = InvalidReplyTo;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let valid = (1..=MAX_INSTANCE_NAME).contains(&name.len()) && name.chars().all(is_name_character);
        valid.then(|| Self(name.into())).ok_or(InvalidReplyTo)
    }
}

impl fmt::Display for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

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
        fields
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request this answers.
    pub id: CorrelationId,
    /// The operation's output as a JSON document, or why there is none.
    pub outcome: Result<Bytes, Fault>,
}

/// Why a request got no answer. Its text reaches callers, so it never holds an upstream's or a
/// backend's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What kind of fault this is.
    pub code: FaultCode,
    /// What happened to this request, in a sentence.
    pub detail: String,
    /// When to try again, in milliseconds from now, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The dead letter this became, for operators. Set by the backend, which names letters.
    #[serde(skip)]
    pub dead_letter: Option<String>,
}

impl Fault {
    /// A fault without a hint when to try again.
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after_ms: None,
            dead_letter: None,
        }
    }

    /// The same fault with a hint when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// The kinds of faults, as they stand in a fault reply's `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The request's data does not fit the operation.
    Invalid,
    /// What was asked for does not exist.
    NotFound,
    /// The budget ran out before the work was done.
    Expired,
    /// The upstream failed every attempt.
    UpstreamFailed,
    /// The upstream refused what the worker asked of it; another attempt will not help.
    UpstreamRefused,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream is known to be unavailable; nothing was attempted.
    UpstreamUnavailable,
    /// The request was set aside as undeliverable.
    DeadLettered,
    /// Somebody ended the request before it was done.
    Cancelled,
    /// The work was done, and its result is larger than what is kept.
    ResultTooLarge,
    /// The worker failed. Codes we do not know are read as this one.
    #[serde(other)]
    Internal,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_name_is_a_valid_name_whatever_the_host_is_called() {
        for host in ["web-1", "", "höst name/with:odd*bytes", &"x".repeat(300)] {
            let name = ReplyTo::unique(host);
            assert_eq!(name.as_str().parse::<ReplyTo>().unwrap(), name);
        }
    }

    #[test]
    fn names_that_could_reach_another_key_are_refused() {
        for name in ["", "a:b", "a b", "a\n", "{a}", &"x".repeat(65)] {
            assert_eq!(name.parse::<ReplyTo>(), Err(InvalidReplyTo), "{name:?}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = CorrelationId::new();
        let text = id.to_string();
        assert_eq!(CorrelationId::parse(text.as_bytes()), Some(id));
        for other in [
            text.to_uppercase(),
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("urn:uuid:{text}"),
        ] {
            assert_eq!(CorrelationId::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn absurd_budgets_are_refused() {
        for text in ["", "-1", "1.5", "99999999999999999999", "86400001", "0x10", " 1"] {
            assert_eq!(Budget::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Budget::parse(b"86400000"), Some(Budget::new(Budget::MAX)));
    }

    #[test]
    fn unknown_fault_codes_read_as_internal() {
        let fault: Fault = serde_json::from_str(r#"{"code":"brand-new","detail":"x"}"#).unwrap();
        assert_eq!(fault.code, FaultCode::Internal);
    }
}
