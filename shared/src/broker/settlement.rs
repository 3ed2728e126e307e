//! How a delivery ends.

use bytes::Bytes;

use super::delivery::Receipt;
use crate::batch::Weigh;
use crate::message::{ENVELOPE, FaultCode, Keep, Reply, ReplyTo};

/// The end of a delivery. Whatever it holds becomes visible in one step with the request's removal.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The delivery that ends.
    pub receipt: Receipt,
    /// The reply, and whose it is; `None` when nobody can be told.
    pub reply: Option<(ReplyTo, Reply)>,
    /// The dead letter to keep, for work that is given up.
    pub dead_letter: Option<DeadLetter>,
    /// What is kept of the request: its record, where there is one, is told in the same step.
    pub keep: Keep,
    /// Whether somebody asked for its end while it was at work: what was noted of that goes in the same step.
    pub end_was_asked_for: bool,
    /// Whether the work may have begun although its record does not say so. Its idempotency key is not freed then.
    pub may_have_begun: bool,
}

impl Settlement {
    /// Answers a request: with its result, or with the fault that is its result.
    #[must_use]
    pub fn reply(receipt: Receipt, reply_to: ReplyTo, reply: Reply) -> Self {
        Self {
            receipt,
            reply: Some((reply_to, reply)),
            dead_letter: None,
            keep: Keep::No,
            end_was_asked_for: false,
            may_have_begun: false,
        }
    }

    /// Gives an entry up, keeps it as a dead letter, and tells its requester where one is known.
    #[must_use]
    pub fn dead_letter(receipt: Receipt, dead_letter: DeadLetter, reply: Option<(ReplyTo, Reply)>) -> Self {
        Self {
            receipt,
            reply,
            dead_letter: Some(dead_letter),
            keep: Keep::No,
            end_was_asked_for: false,
            may_have_begun: false,
        }
    }

    /// Whether the delivery ends without having been worked on to a result. Such ends come much quicker than work: they
    /// say nothing of how fast what waits is worked off.
    #[must_use]
    pub fn is_discard(&self) -> bool {
        let fault = self.reply.as_ref().and_then(|(_, reply)| reply.outcome.as_ref().err());
        let discards = |code| {
            matches!(
                code,
                FaultCode::Expired | FaultCode::Cancelled | FaultCode::UpstreamUnavailable
            )
        };
        self.dead_letter.is_some() || fault.is_some_and(|fault| discards(fault.code))
    }

    /// The same, of a request of which something is kept.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// The same, of a request whose end may have been asked for.
    #[must_use]
    pub fn asked_to_end(self, end_was_asked_for: bool) -> Self {
        Self {
            end_was_asked_for,
            ..self
        }
    }

    /// The same, of work that may have begun although nobody could say so, or that an earlier delivery may have begun.
    #[must_use]
    pub fn perhaps_begun(self, may_have_begun: bool) -> Self {
        Self { may_have_begun, ..self }
    }
}

impl Weigh for Settlement {
    fn weight(&self) -> usize {
        let reply = self.reply.as_ref().map_or(ENVELOPE, |(_, reply)| reply.weight());
        let letter = self.dead_letter.as_ref().map_or(0, |letter| {
            let fields = letter.fields.iter().map(|(name, value)| name.len() + value.len());
            letter.last_error.len() + fields.sum::<usize>()
        });
        reply + letter
    }
}

/// An entry that was given up, with what somebody needs to judge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why it was given up.
    pub reason: String,
    /// How often it had been delivered.
    pub attempts: u32,
    /// What the last attempt failed with, in words for operators; empty where nobody lived to tell.
    pub last_error: String,
    /// The entry's fields as they were.
    pub fields: Vec<(Bytes, Bytes)>,
}
