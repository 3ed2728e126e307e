//! Reading replies. Each requester has a stream of its own, so nobody ever reads, or removes, another's.
//! A reply is trimmed with the read that follows it: only then it has been handed out.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::codec;
use super::errors::{misfit, refused};
use super::keys::Keys;
use super::portion::Portion;
use crate::broker::redis::connection::dedicated::{Dedicated, Handshake, Unread};
use crate::broker::redis::connection::resp::{Commands, Cursor};
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::connection::socket::Cut;
use crate::broker::redis::heartbeat;
use crate::broker::{BrokerError, MAX_WAIT, Position, ReplyStream};
use crate::message::{Reply, ReplyTo};

const READ: &str = "read replies";

/// The most replies of one read, where they are small.
const MAX_BATCH: usize = 1024;

/// A reply that is not much smaller than all of its answer may keep it alive; so may one in an answer that takes no
/// more than the buffer of any read.
const MAX_SHARED: usize = 16 * 1024;

/// How often a reply that comes too slowly is asked for, alone, before its requester is told so.
const TRIES: u32 = 3;

pub(super) struct RedisReplies {
    link: Link,
    keys: Arc<Keys>,
    requester: ReplyTo,
    key: String,
    lane: Dedicated,
    portion: Portion,
    /// How often the next reply was given up while it was read alone.
    given_up: u32,
    last: Position,
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
            lane: Dedicated::blocking(),
            portion: Portion::default(),
            given_up: 0,
            last: Position::default(),
            untrimmed: false,
        }
    }

    /// A server that lost its data has lost the stream.
    fn introduction(&self) -> Handshake {
        let mut introduction = Handshake::none();
        heartbeat::make_stream(&mut introduction.commands, &self.keys, &self.requester);
        introduction
    }

    /// `XTRIM … MINID` for what was handed out before, then `XREAD BLOCK` for what comes next, as one trip.
    /// <https://redis.io/docs/latest/commands/xtrim/>, <https://redis.io/docs/latest/commands/xread/>
    fn read_next(&self, count: usize) -> Commands {
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
            .number(count as u64)
            .arg("BLOCK")
            .number(MAX_WAIT.as_millis() as u64)
            .arg("STREAMS")
            .arg(&self.key)
            // What was handed out is trimmed by now. A stream that was made anew, after the server's clock was set
            // back, counts from an earlier time: from its beginning.
            .arg("0");
        commands
    }

    /// Reads the answer of XREAD, and remembers how far it goes; `None` where it is none.
    pub(super) fn hand_out(&mut self, answer: &mut Cursor) -> Option<Vec<Reply>> {
        let length = answer.length();
        let entries = codec::read_stream(answer)?;
        let mut replies = Vec::with_capacity(entries.len());
        for (id, fields) in entries {
            let reply = codec::read_reply(&fields);
            replies.extend(self.passed(id, reply.map(|reply| on_its_own(reply, length))));
        }
        Some(replies)
    }

    /// Notes that an entry was read, whatever it was.
    fn passed(&mut self, id: Position, reply: Option<Reply>) -> Option<Reply> {
        self.last = id;
        self.untrimmed = true;
        if reply.is_none() {
            tracing::warn!(entry = %id, stream = self.key, "skipped an entry that is no reply");
        }
        reply
    }

    /// Behind a failure may be another server, or one that has lost its data and counts from an earlier time: from the
    /// beginning, as what was handed out may come twice, and what was not must come.
    fn failed(&mut self, error: BrokerError) -> BrokerError {
        (self.last, self.untrimmed) = (Position::default(), false);
        error
    }

    /// An answer was not read to its end. The next asks for one reply; and where it was one, that is passed over
    /// sooner or later, and its requester told: those behind it are waited for as well.
    fn cut(&mut self, count: usize, mut cut: Cut) -> Vec<Reply> {
        self.portion.cut();
        self.given_up += u32::from(count == 1);
        let is_over = count == 1 && (cut.too_large || self.given_up >= TRIES);
        tracing::warn!(stream = self.key, count, reason = %cut, is_over, "replies were not read to their end");
        if !is_over {
            return Vec::new();
        }
        if self.untrimmed {
            cut.head.next();
        }
        // The one stream, its key, and its one entry.
        let (_streams, _stream, _key, _entries) = (cut.head.list(), cut.head.list(), cut.head.text(), cut.head.list());
        let Some((id, fields, _)) = codec::read_one(&mut cut.head) else {
            return Vec::new();
        };
        self.given_up = 0;
        let reply = codec::unread_reply(&fields, cut.too_large);
        self.passed(id, reply).into_iter().collect()
    }
}

/// A reply that does not keep an answer of `length` bytes alive for as long as its caller takes to read it.
fn on_its_own(reply: Reply, length: usize) -> Reply {
    let outcome = match reply.outcome {
        Ok(data) if length > MAX_SHARED && data.len() < length / 2 => Ok(Bytes::copy_from_slice(&data)),
        outcome => outcome,
    };
    Reply { outcome, ..reply }
}

#[async_trait]
impl ReplyStream for RedisReplies {
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError> {
        let count = self.portion.of(MAX_BATCH);
        let (commands, limit) = (self.read_next(count), Portion::limit(count));
        let introduction = || self.introduction();
        let answer = self.lane.read(&self.link, READ, introduction, &commands, limit).await;
        let mut answer = match answer {
            Ok(answer) => answer.map_err(|error| refused(READ, error))?,
            Err(Unread::Cut(cut)) => return Ok(self.cut(count, cut)),
            Err(Unread::Failed(error)) => return Err(self.failed(error)),
        };
        let is_trimmed = !std::mem::take(&mut self.untrimmed) || answer.number().is_some();
        let Some(replies) = is_trimmed.then(|| self.hand_out(&mut answer)).flatten() else {
            return Err(self.failed(misfit(READ)));
        };
        self.given_up = 0;
        self.portion.came(replies.len(), answer.length());
        Ok(replies)
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        heartbeat::leave(&self.link, &self.keys, &self.requester).await
    }
}
