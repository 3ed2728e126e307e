//! Claiming new entries. One rule: a blocking read is awaited to its end. An abandoned XREADGROUP still
//! delivers, to nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redis::Pipeline;
use tokio::time::Instant;

use super::GROUP;
use super::codec::{self, Fields};
use super::connection::{COMMAND_TIMEOUT, Link};
use super::errors::{Sent, broker_error, refused, server_code};
use super::keys::Keys;
use super::lane::{Introduction, Lane};
use super::wire::{Commands, Cursor};
use crate::broker::{BrokerError, BrokerErrorKind, Consumer, Delivery, EntryId, MAX_WAIT, Receipt};

const CLAIM: &str = "claim from the request stream";

/// The readers of this process, one for each consumer.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<HashMap<Consumer, Arc<Lane>>>);

impl Readers {
    /// `XREADGROUP … >`, then `TIME` on the same connection: how long entries waited is judged on the
    /// server's own clock, at no extra round trip.
    /// <https://redis.io/docs/latest/commands/xreadgroup/>
    pub(super) async fn claim(
        &self,
        link: &Link,
        keys: &Keys,
        consumer: &Consumer,
        max: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut commands = Commands::with_capacity(256);
        commands
            .begin(11)
            .arg("XREADGROUP")
            .arg("GROUP")
            .arg(GROUP)
            .arg(consumer.as_str())
            .arg("COUNT")
            .number(max as u64)
            .arg("BLOCK")
            .number(MAX_WAIT.as_millis() as u64)
            .arg("STREAMS")
            .arg(keys.requests())
            .arg(">")
            .begin(1)
            .arg("TIME");
        let asked = Instant::now();
        match self
            .of(consumer)
            .try_run(link, CLAIM, Introduction::none, &commands)
            .await?
        {
            Ok(_) if is_stale(asked) => Err(stale(CLAIM)),
            Ok(answer) => Ok(first_deliveries(consumer, answer)),
            Err(error) => Err(refused(CLAIM, error)),
        }
    }

    /// Closes the connection of a consumer that leaves.
    pub(super) fn forget(&self, consumer: &Consumer) {
        self.all().remove(consumer);
    }

    fn of(&self, consumer: &Consumer) -> Arc<Lane> {
        let mut all = self.all();
        let lane = all
            .entry(consumer.clone())
            .or_insert_with(|| Arc::new(Lane::blocking()));
        lane.clone()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Consumer, Arc<Lane>>> {
        self.0.lock().expect("no code panics while it holds the readers")
    }
}

/// Creates the group at the beginning of the stream, so that whatever waits there is served, and the
/// stream with it. Returns whether it was missing.
/// <https://redis.io/docs/latest/commands/xgroup-create/>
pub(super) async fn create_group(link: &Link, keys: &Keys) -> Result<bool, BrokerError> {
    const CREATE: &str = "create the consumer group";
    let mut commands = Pipeline::with_capacity(1);
    commands
        .cmd("XGROUP")
        .arg(&["CREATE", keys.requests(), GROUP, "0", "MKSTREAM"]);
    match link.try_run(CREATE, &commands).await? {
        Ok(_) => {
            tracing::info!(stream = keys.requests(), group = GROUP, "created the consumer group");
            Ok(true)
        }
        Err(error) if server_code(&error).as_deref() == Some("BUSYGROUP") => Ok(false),
        Err(error) => Err(broker_error(CREATE, Sent::Maybe, error)),
    }
}

/// Whether an answer is so old that this process must have been frozen meanwhile: its leases may have passed
/// on. It counts as lost, and what is still ours is recovered.
pub(super) fn is_stale(asked: Instant) -> bool {
    asked.elapsed() > MAX_WAIT + COMMAND_TIMEOUT
}

pub(super) fn stale(operation: &'static str) -> BrokerError {
    BrokerError::new(
        BrokerErrorKind::Unconfirmed,
        operation,
        "the answer is older than it can be",
    )
}

/// Reads the answers of XREADGROUP and TIME.
pub(super) fn first_deliveries(consumer: &Consumer, mut answer: Cursor) -> Vec<Delivery> {
    let entries = codec::read_stream(&mut answer);
    let time = codec::read_time(&mut answer);
    let first = entries.into_iter().map(|(id, fields)| (id, 1, fields));
    deliveries(consumer, time, first)
}

/// Turns entries, each with the number of its attempt, into deliveries.
pub(super) fn deliveries(
    consumer: &Consumer,
    server_time: Option<u64>,
    entries: impl Iterator<Item = (EntryId, u32, Fields)>,
) -> Vec<Delivery> {
    let claimed = Instant::now();
    entries
        .map(|(entry, attempt, fields)| Delivery {
            receipt: Receipt {
                entry,
                consumer: consumer.clone(),
                claimed,
            },
            attempt,
            waited: Duration::from_millis(server_time.unwrap_or(entry.millis).saturating_sub(entry.millis)),
            content: codec::read_request(fields),
        })
        .collect()
}
