//! The bytes of this backend without its sockets, to be measured by scripts/bench. Everything here is what
//! the backend itself calls; nothing is rebuilt for the measurement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::clock::ServerClock;
use super::codec;
use super::keys::Keys;
use super::replies::RedisReplies;
use super::{claim, publish, settle};
use crate::broker::redis::connection::resp::{Commands, Cursor, Scanner};
use crate::broker::redis::connection::shared::Link;
use crate::broker::{BrokerUrl, Consumer, Delivery, Position, Settlement};
use crate::message::{Reply, ReplyTo, Request};
use crate::operation::OperationName;

/// When the entries of the answers were written, in seconds since the Unix epoch.
const WRITTEN: u64 = 1_700_000_000;

/// One operation's requests and replies, as bytes.
pub struct Bench {
    keys: Arc<Keys>,
    consumer: Consumer,
    clock: ServerClock,
    replies: RedisReplies,
}

impl Bench {
    /// What moves the requests of the operation `weather` and reads the replies for `reply_to`.
    ///
    /// # Panics
    /// Never: the address it parses is its own, and nothing connects to it.
    #[must_use]
    pub fn new(reply_to: &ReplyTo) -> Self {
        let keys = Arc::new(Keys::new(OperationName::first()));
        let url = "redis://127.0.0.1:6379".parse().expect("the address is well formed");
        let BrokerUrl::Redis(info) = url else {
            unreachable!("the address is one of Redis");
        };
        Self {
            replies: RedisReplies::new(Link::new(info.as_ref().clone()), keys.clone(), reply_to.clone()),
            consumer: Consumer::unique("bench"),
            clock: ServerClock::new(Duration::from_secs(6)),
            keys,
        }
    }

    /// Encodes what publishes `requests`; returns its length in bytes.
    #[must_use]
    pub fn encode_requests(&self, requests: &[Request]) -> usize {
        publish::encode(requests).bytes().len()
    }

    /// Encodes what settles `settlements` that are certainly still ours; returns its length in bytes.
    #[must_use]
    pub fn encode_settlement(&self, settlements: &[Settlement]) -> usize {
        let settlements: Vec<_> = settlements.iter().collect();
        settle::transaction(&self.keys, &settlements).bytes().len()
    }

    /// Finds the end of a claim's answer and reads its deliveries.
    ///
    /// # Panics
    /// When `answer` is not one of [`Bench::claim_answer`].
    #[must_use]
    pub fn decode_claim(&self, answer: Bytes) -> Vec<Delivery> {
        claim::first_deliveries(
            OperationName::first(),
            &self.consumer,
            &self.clock,
            Instant::now(),
            scanned(answer, 2),
        )
        .expect("the answer is one to a claim")
    }

    /// Finds the end of an answer with replies and reads them.
    ///
    /// # Panics
    /// When `answer` is not one of [`Bench::replies_answer`].
    #[must_use]
    pub fn decode_replies(&mut self, answer: Bytes) -> Vec<Reply> {
        self.replies
            .hand_out(&mut scanned(answer, 1))
            .expect("the answer is a list of replies")
    }

    /// What a server answers to a claim that finds `requests`: a list of entries, and its time.
    #[must_use]
    pub fn claim_answer(&self, requests: &[Request]) -> Bytes {
        let mut answer = Commands::default();
        begin_stream(&mut answer, self.keys.requests(), requests.len());
        for (request, id) in requests.iter().zip(entries()) {
            answer
                .begin(2)
                .arg(id.to_string())
                .begin(codec::request_arguments(request));
            codec::write_request(&mut answer, request);
        }
        answer.begin(2).number(WRITTEN + 1).number(0);
        Bytes::copy_from_slice(answer.bytes())
    }

    /// What a server answers to who asks for these `replies`: a list of entries.
    #[must_use]
    pub fn replies_answer(&self, reply_to: &ReplyTo, replies: &[Reply]) -> Bytes {
        let mut answer = Commands::default();
        begin_stream(&mut answer, &self.keys.replies(reply_to), replies.len());
        for (reply, id) in replies.iter().zip(entries()) {
            answer.begin(2).arg(id.to_string()).begin(codec::reply_arguments(reply));
            codec::write_reply(&mut answer, reply);
        }
        Bytes::copy_from_slice(answer.bytes())
    }
}

/// A command has the form of an answer: lists of strings.
fn begin_stream(answer: &mut Commands, key: &str, entries: usize) {
    answer.begin(1).begin(2).arg(key).begin(entries);
}

fn entries() -> impl Iterator<Item = Position> {
    (0..).map(|sequence| Position {
        millis: WRITTEN * 1000,
        sequence,
    })
}

fn scanned(answer: Bytes, answers: usize) -> Cursor {
    let end = Scanner::new(answers).scan(&answer);
    let end = end.ok().flatten().expect("the answer is complete");
    Cursor::new(answer.slice(..end))
}
