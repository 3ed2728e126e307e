//! The names of all keys. Nothing else builds one, and none holds what a caller sent.

use crate::message::{CorrelationId, ReplyTo};
use crate::operation::OperationName;

/// What the names of all keys begin with that operations share: results, replies, dead letters. The name of the first
/// operation, from when there was no other.
const NAMESPACE: &str = "weather";

/// The keys of one operation's queue, and those that all operations share.
#[derive(Debug)]
pub(super) struct Keys {
    operation: OperationName,
    dead_letters: String,
    requesters: String,
    gone: String,
    replies: String,
    records: [String; 5],
    claims: String,
    counts: String,
}

impl Keys {
    pub(super) fn new(operation: OperationName) -> Self {
        Self {
            operation,
            dead_letters: format!("{NAMESPACE}-dead-letters"),
            requesters: format!("{NAMESPACE}-requesters"),
            gone: format!("{NAMESPACE}-requesters-gone"),
            replies: format!("{NAMESPACE}-responses:"),
            records: [
                format!("{NAMESPACE}-result:"),
                format!("{NAMESPACE}-results:"),
                format!("{NAMESPACE}-results-expiry"),
                format!("{NAMESPACE}-changes"),
                format!("{NAMESPACE}-cancelling"),
            ],
            claims: format!("{NAMESPACE}-key:"),
            counts: counts_of(operation),
        }
    }

    /// Whose queue it is.
    pub(super) fn operation(&self) -> OperationName {
        self.operation
    }

    pub(super) fn requests(&self) -> &str {
        self.operation.queue()
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

/// What the workers and requesters of an operation count.
pub(super) fn counts_of(operation: OperationName) -> String {
    format!("{operation}-counts")
}
