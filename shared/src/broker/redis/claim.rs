//! Claiming new entries. One rule: a blocking read is awaited to its end. An abandoned XREADGROUP still
//! delivers, to nobody.

mod expiring;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::GROUP;
use super::clock::{Ages, ServerClock};
use super::codec::{self, Fields};
use super::errors::{Sent, broker_error, misfit, refused, server_code};
use super::keys::Keys;
use super::portion::Portion;
use super::scripts;
use crate::broker::redis::connection::dedicated::{Dedicated, Handshake, Unread};
use crate::broker::redis::connection::resp::{Commands, Cursor};
use crate::broker::redis::connection::shared::{COMMAND_TIMEOUT, Link};
use crate::broker::{BrokerError, BrokerErrorKind, Consumer, Delivery, EntryId, MAX_WAIT, Position, Receipt};
use crate::operation::OperationName;

const CLAIM: &str = "claim from the request stream";

/// The readers of this process, one for each consumer.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<HashMap<Consumer, Arc<Reader>>>);

/// The connection on which one consumer is given entries, and how many it asks for.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) lane: Dedicated,
    pub(super) portion: Portion,
}

/// One consumer that takes entries, and what it takes them with.
#[derive(Clone, Copy)]
pub(super) struct Taking<'a> {
    pub(super) link: &'a Link,
    pub(super) keys: &'a Keys,
    pub(super) clock: &'a ServerClock,
    pub(super) reader: &'a Reader,
    pub(super) consumer: &'a Consumer,
    pub(super) lease: Duration,
}

impl Readers {
    /// `XREADGROUP … >`, then `TIME` on the same connection: how long entries waited is judged on the
    /// server's own clock, at no extra round trip.
    /// <https://redis.io/docs/latest/commands/xreadgroup/>
    pub(super) async fn claim(
        &self,
        link: &Link,
        keys: &Keys,
        clock: &ServerClock,
        consumer: &Consumer,
        lease: Duration,
        max: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let reader = self.of(consumer);
        let asked_for = reader.portion.of(max);
        let mut commands = Commands::with_capacity(256);
        commands
            .begin(11)
            .arg("XREADGROUP")
            .arg("GROUP")
            .arg(GROUP)
            .arg(consumer.as_str())
            .arg("COUNT")
            .number(asked_for as u64)
            .arg("BLOCK")
            .number(MAX_WAIT.as_millis() as u64)
            .arg("STREAMS")
            .arg(keys.requests())
            .arg(">")
            .begin(1)
            .arg("TIME");
        let (asked, limit) = (Instant::now(), Portion::limit(asked_for));
        let answer = reader.lane.read(link, CLAIM, Handshake::none, &commands, limit);
        let answer = answer.await.map_err(|unread| {
            // What is too much at once was delivered all the same: it is recovered, one by one.
            if matches!(unread, Unread::Cut(_)) {
                reader.portion.cut();
            }
            unread.into_error(CLAIM)
        })?;
        match answer {
            Ok(answer) if is_stale(asked, answer.began(), lease) => Err(stale(CLAIM)),
            Ok(answer) => {
                let length = answer.length();
                let deliveries =
                    first_deliveries(keys.operation(), consumer, clock, asked, answer).ok_or_else(|| misfit(CLAIM))?;
                reader.portion.came(deliveries.len(), length);
                Ok(deliveries)
            }
            Err(error) => Err(refused(CLAIM, error)),
        }
    }

    /// Closes the connection of a consumer that leaves.
    pub(super) fn forget(&self, consumer: &Consumer) {
        self.all().remove(consumer);
    }

    pub(super) fn of(&self, consumer: &Consumer) -> Arc<Reader> {
        let mut all = self.all();
        let reader = all.entry(consumer.clone()).or_insert_with(|| {
            Arc::new(Reader {
                lane: Dedicated::blocking(),
                portion: Portion::default(),
            })
        });
        reader.clone()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Consumer, Arc<Reader>>> {
        self.0.lock().expect("no code panics while it holds the readers")
    }
}

/// Creates the group at the beginning of the stream, so that whatever waits there is served, and the
/// stream with it. Returns whether it was missing.
/// <https://redis.io/docs/latest/commands/xgroup-create/>
pub(super) async fn create_group(link: &Link, keys: &Keys) -> Result<bool, BrokerError> {
    const CREATE: &str = "create the consumer group";
    let mut commands = scripts::CREATE_GROUP.call(&[keys.requests()]);
    commands.arg(GROUP);
    match link.try_run::<String>(CREATE, &commands).await? {
        Ok(said) if said == "OK" => {
            tracing::info!(stream = keys.requests(), group = GROUP, "created the consumer group");
            Ok(true)
        }
        Ok(_) => Err(misfit(CREATE)),
        Err(error) if server_code(&error).as_deref() == Some("BUSYGROUP") => Ok(false),
        Err(error) => Err(broker_error(CREATE, Sent::Maybe, error)),
    }
}

/// Whether an answer is so old that this process must have been frozen meanwhile, or was so long on its way, that
/// its leases may have passed on. It counts as lost, and what is still ours is recovered.
pub(super) fn is_stale(asked: Instant, began: Instant, lease: Duration) -> bool {
    began - asked > MAX_WAIT + COMMAND_TIMEOUT || began.elapsed() > (lease / 2).max(COMMAND_TIMEOUT)
}

pub(super) fn stale(operation: &'static str) -> BrokerError {
    BrokerError::new(
        BrokerErrorKind::Unconfirmed,
        operation,
        "the answer is older than it can be",
    )
}

/// Reads the answers of XREADGROUP and TIME; `None` where they are not that.
pub(super) fn first_deliveries(
    operation: OperationName,
    consumer: &Consumer,
    clock: &ServerClock,
    asked: Instant,
    mut answer: Cursor,
) -> Option<Vec<Delivery>> {
    let claimed = answer.began();
    let entries = codec::read_stream(&mut answer)?;
    let time = codec::read_time(&mut answer)?;
    clock.read(time, asked, claimed);
    let first = entries.into_iter().map(|(id, fields)| (id, 1, fields));
    Some(deliveries(operation, consumer, claimed, &clock.ages(Some(time)), first))
}

/// Turns entries, each with the number of its attempt, into deliveries. Their leases run since the first byte of
/// the answer, however long the last took.
pub(super) fn deliveries(
    operation: OperationName,
    consumer: &Consumer,
    claimed: Instant,
    ages: &Ages,
    entries: impl Iterator<Item = (Position, u32, Fields)>,
) -> Vec<Delivery> {
    entries
        .map(|(entry, attempt, fields)| Delivery {
            receipt: receipt(operation, consumer, entry, claimed),
            attempt,
            waited: ages.of(entry),
            content: codec::read_request(operation, fields),
        })
        .collect()
}

pub(super) fn receipt(operation: OperationName, consumer: &Consumer, at: Position, claimed: Instant) -> Receipt {
    Receipt {
        entry: EntryId::of(operation, at),
        consumer: consumer.clone(),
        claimed,
    }
}
