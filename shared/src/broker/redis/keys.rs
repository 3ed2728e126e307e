//! The names of all keys. Nothing else builds one, and none holds what a caller sent.

use crate::message::ReplyTo;

#[derive(Debug)]
pub(super) struct Keys {
    operation: String,
    requests: String,
    dead_letters: String,
}

impl Keys {
    pub(super) fn new(operation: &str) -> Self {
        Self {
            operation: operation.to_owned(),
            requests: format!("{operation}-requests"),
            dead_letters: format!("{operation}-dead-letters"),
        }
    }

    pub(super) fn requests(&self) -> &str {
        &self.requests
    }

    pub(super) fn dead_letters(&self) -> &str {
        &self.dead_letters
    }

    pub(super) fn replies(&self, reply_to: &ReplyTo) -> String {
        format!("{}-responses:{reply_to}", self.operation)
    }
}
