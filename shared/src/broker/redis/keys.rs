//! The names of all keys. Nothing else builds one, and none holds what a caller sent.

use crate::message::ReplyTo;

#[derive(Debug)]
pub(super) struct Keys {
    requests: String,
    dead_letters: String,
    requesters: String,
    gone: String,
    replies: String,
}

impl Keys {
    pub(super) fn new(operation: &str) -> Self {
        Self {
            requests: format!("{operation}-requests"),
            dead_letters: format!("{operation}-dead-letters"),
            requesters: format!("{operation}-requesters"),
            gone: format!("{operation}-requesters-gone"),
            replies: format!("{operation}-responses:"),
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

    /// What the name of every reply stream begins with.
    pub(super) fn replies_of_anyone(&self) -> &str {
        &self.replies
    }
}
