//! The names of all keys. Nothing else builds one, and none holds what a caller sent.

use crate::message::{CorrelationId, ReplyTo};

#[derive(Debug)]
pub(super) struct Keys {
    requests: String,
    dead_letters: String,
    requesters: String,
    gone: String,
    replies: String,
    records: [String; 5],
    claims: String,
    counts: String,
}

impl Keys {
    pub(super) fn new(operation: &str) -> Self {
        Self {
            requests: format!("{operation}-requests"),
            dead_letters: format!("{operation}-dead-letters"),
            requesters: format!("{operation}-requesters"),
            gone: format!("{operation}-requesters-gone"),
            replies: format!("{operation}-responses:"),
            records: [
                format!("{operation}-result:"),
                format!("{operation}-results:"),
                format!("{operation}-results-expiry"),
                format!("{operation}-changes"),
                format!("{operation}-cancelling"),
            ],
            claims: format!("{operation}-key:"),
            counts: format!("{operation}-counts"),
        }
    }

    pub(super) fn requests(&self) -> &str {
        &self.requests
    }

    pub(super) fn dead_letters(&self) -> &str {
        &self.dead_letters
    }

    /// Who reads replies, by when they last said so.
    pub(super) fn requesters(&self) -> &str {
        &self.requesters
    }

    /// Who will not read replies any more, by when that was found out.
    pub(super) fn gone(&self) -> &str {
        &self.gone
    }

    pub(super) fn replies(&self, reply_to: &ReplyTo) -> String {
        format!("{}{reply_to}", self.replies)
    }

    /// What scripts on records are given: what names of records begin with, what names of their indexes by status
    /// begin with, when records expire, the channel that tells of changes, what is at work and to be cancelled.
    pub(super) fn records(&self) -> [&str; 5] {
        self.records.each_ref().map(String::as_str)
    }

    /// The record of a request.
    pub(super) fn record(&self, id: CorrelationId) -> String {
        format!("{}{id}", self.records[0])
    }

    /// Which request an idempotency key stands for, by the key's digest.
    pub(super) fn claim(&self, digest: &str) -> String {
        format!("{}{digest}", self.claims)
    }

    /// What workers and requesters count.
    pub(super) fn counts(&self) -> &str {
        &self.counts
    }

    /// What the name of every reply stream begins with.
    pub(super) fn replies_of_anyone(&self) -> &str {
        &self.replies
    }
}
