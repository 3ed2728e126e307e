//! Reading replies. Each requester has a stream of its own, so nobody ever reads, or removes, another's.
//! A reply is trimmed with the read that follows it: only then it has been handed out.

use async_trait::async_trait;
use redis::Pipeline;

use super::codec;
use super::connection::{BlockingReader, Link};
use super::errors::{Sent, broker_error};
use crate::broker::{BrokerError, EntryId, MAX_WAIT, ReplyStream};
use crate::message::Reply;

const READ: &str = "read replies";

/// The most replies of one read; bounds the memory of one answer.
const MAX_BATCH: usize = 1024;

pub(super) struct RedisReplies {
    link: Link,
    key: String,
    reader: BlockingReader,
    last: EntryId,
    /// Whether replies up to `last` may still be in the stream.
    untrimmed: bool,
}

impl RedisReplies {
    pub(super) fn new(link: Link, key: String) -> Self {
        Self {
            link,
            key,
            reader: BlockingReader::default(),
            last: EntryId::default(),
            untrimmed: false,
        }
    }

    /// `XTRIM … MINID` for what was handed out before, then `XREAD BLOCK` for what comes next, as one trip.
    /// <https://redis.io/docs/latest/commands/xtrim/>, <https://redis.io/docs/latest/commands/xread/>
    fn read_next(&self) -> Pipeline {
        let mut commands = Pipeline::with_capacity(2);
        if self.untrimmed {
            commands
                .cmd("XTRIM")
                .arg(&[&self.key, "MINID", &self.last.next().to_string()])
                .ignore();
        }
        commands
            .cmd("XREAD")
            .arg("COUNT")
            .arg(MAX_BATCH)
            .arg("BLOCK")
            .arg(MAX_WAIT.as_millis() as u64)
            .arg(&["STREAMS", &self.key, &self.last.to_string()]);
        commands
    }
}

#[async_trait]
impl ReplyStream for RedisReplies {
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError> {
        let commands = self.read_next();
        let answer = self
            .reader
            .run(&self.link, READ, &commands)
            .await?
            .map_err(|error| broker_error(READ, Sent::Maybe, error))?;
        self.untrimmed = false;
        // Without the ignored trim there is one answer in the list: the read's.
        let entries = match answer {
            redis::Value::Array(mut answers) => answers.pop().map(codec::read_stream).unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut replies = Vec::with_capacity(entries.len());
        for (id, fields) in entries {
            self.last = id;
            self.untrimmed = true;
            match fields.as_ref().and_then(codec::read_reply) {
                Some(reply) => replies.push(reply),
                None => tracing::warn!(entry = %id, stream = self.key, "skipped an entry that is no reply"),
            }
        }
        Ok(replies)
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        let mut commands = Pipeline::with_capacity(1);
        commands.cmd("DEL").arg(&self.key);
        self.link.run("remove the reply stream", &commands).await.map(|_| ())
    }
}
