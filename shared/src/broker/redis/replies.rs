//! Reading replies. Each requester has a stream of its own, so nobody ever reads, or removes, another's.
//! A reply is trimmed with the read that follows it: only then it has been handed out.

use std::sync::Arc;

use async_trait::async_trait;

use super::codec;
use super::connection::Link;
use super::keys::Keys;
use super::lane::{Introduction, Lane};
use super::presence;
use super::wire::{Commands, Cursor};
use crate::broker::{BrokerError, EntryId, MAX_WAIT, ReplyStream};
use crate::message::{Reply, ReplyTo};

const READ: &str = "read replies";

/// The most replies of one read; bounds the memory of one answer.
const MAX_BATCH: u64 = 1024;

pub(super) struct RedisReplies {
    link: Link,
    keys: Arc<Keys>,
    requester: ReplyTo,
    key: String,
    lane: Lane,
    last: EntryId,
    /// Whether replies up to `last` may still be in the stream.
    untrimmed: bool,
}

impl RedisReplies {
    pub(super) fn new(link: Link, keys: Arc<Keys>, requester: ReplyTo) -> Self {
        Self {
            link,
            key: keys.replies(&requester),
            keys,
            requester,
            lane: Lane::blocking(),
            last: EntryId::default(),
            untrimmed: false,
        }
    }

    /// A server that lost its data has lost the stream.
    fn introduction(&self) -> Introduction {
        let mut introduction = Introduction::none();
        presence::make_stream(&mut introduction.commands, &self.keys, &self.requester);
        introduction
    }

    /// `XTRIM … MINID` for what was handed out before, then `XREAD BLOCK` for what comes next, as one trip.
    /// <https://redis.io/docs/latest/commands/xtrim/>, <https://redis.io/docs/latest/commands/xread/>
    fn read_next(&self) -> Commands {
        let mut commands = Commands::with_capacity(256);
        if self.untrimmed {
            commands
                .begin(4)
                .arg("XTRIM")
                .arg(&self.key)
                .arg("MINID")
                .arg(self.last.next().to_string());
        }
        commands
            .begin(8)
            .arg("XREAD")
            .arg("COUNT")
            .number(MAX_BATCH)
            .arg("BLOCK")
            .number(MAX_WAIT.as_millis() as u64)
            .arg("STREAMS")
            .arg(&self.key)
            .arg(self.last.to_string());
        commands
    }

    /// Reads the answer of XREAD, and remembers how far it goes.
    pub(super) fn hand_out(&mut self, answer: &mut Cursor) -> Vec<Reply> {
        let entries = codec::read_stream(answer);
        let mut replies = Vec::with_capacity(entries.len());
        for (id, fields) in entries {
            self.last = id;
            self.untrimmed = true;
            match codec::read_reply(&fields) {
                Some(reply) => replies.push(reply),
                None => tracing::warn!(entry = %id, stream = self.key, "skipped an entry that is no reply"),
            }
        }
        replies
    }
}

#[async_trait]
impl ReplyStream for RedisReplies {
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError> {
        let commands = self.read_next();
        let introduction = || self.introduction();
        let mut answer = self.lane.run(&self.link, READ, introduction, &commands).await?;
        if self.untrimmed {
            answer.next();
            self.untrimmed = false;
        }
        Ok(self.hand_out(&mut answer))
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        presence::leave(&self.link, &self.keys, &self.requester).await
    }
}
