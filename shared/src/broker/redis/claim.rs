//! Claiming: new entries, our own after a broken read, and those that others dropped.
//! One rule: a blocking read is awaited to its end. An abandoned XREADGROUP still delivers, to nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::codec::{self, Fields};
use super::connection::{BlockingReader, Link};
use super::errors::{Sent, broker_error, server_code};
use super::keys::Keys;
use super::{GROUP, lease};
use crate::broker::{BrokerError, Consumer, Delivery, EntryId, MAX_WAIT, Receipt};

const CLAIM: &str = "claim from the request stream";
const RECLAIM: &str = "reclaim from the request stream";

/// The readers of this process, one for each consumer, and how far the search for dropped work has come.
#[derive(Debug, Default)]
pub(super) struct Claims {
    readers: Mutex<HashMap<Consumer, Arc<AsyncMutex<BlockingReader>>>>,
    /// XAUTOCLAIM looks at a part of the pending list; the next scan goes on where this one ended.
    cursor: AsyncMutex<Option<EntryId>>,
}

impl Claims {
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
        let mut commands = Pipeline::with_capacity(2);
        commands
            .cmd("XREADGROUP")
            .arg(&["GROUP", GROUP, consumer.as_str(), "COUNT"])
            .arg(max)
            .arg("BLOCK")
            .arg(MAX_WAIT.as_millis() as u64)
            .arg(&["STREAMS", keys.requests(), ">"])
            .cmd("TIME");
        let reader = self.reader(consumer);
        let mut reader = reader.lock().await;
        match reader.run(link, CLAIM, &commands).await? {
            Ok(answer) => {
                let (entries, time) = stream_and_time(answer);
                Ok(deliveries(entries, time, consumer, |_| 1).0)
            }
            Err(error) if server_code(&error).as_deref() == Some("NOGROUP") => {
                create_group(link, keys).await?;
                Ok(Vec::new())
            }
            Err(error) => Err(broker_error(CLAIM, Sent::Maybe, error)),
        }
    }

    /// `XAUTOCLAIM`, from where the last scan ended.
    /// <https://redis.io/docs/latest/commands/xautoclaim/>
    pub(super) async fn reclaim(
        &self,
        link: &Link,
        keys: &Keys,
        consumer: &Consumer,
        idle: Duration,
        max: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut cursor = self.cursor.lock().await;
        let mut commands = Pipeline::with_capacity(2);
        commands
            .cmd("XAUTOCLAIM")
            .arg(&[keys.requests(), GROUP, consumer.as_str()])
            .arg(idle.as_millis() as u64)
            .arg(cursor.unwrap_or_default().to_string())
            .arg("COUNT")
            .arg(max)
            .cmd("TIME");
        let answer = match link.try_run(RECLAIM, &commands).await? {
            Ok(answer) => answer,
            // No stream or no group yet: nothing was dropped.
            Err(error) if server_code(&error).as_deref() == Some("NOGROUP") => return Ok(Vec::new()),
            Err(error) => return Err(broker_error(RECLAIM, Sent::Maybe, error)),
        };
        let (scan, time) = two(answer);
        let Value::Array(scan) = scan else {
            return Ok(Vec::new());
        };
        let mut scan = scan.into_iter();
        *cursor = scan.next().and_then(codec::bulk).and_then(|id| EntryId::parse(&id));
        let entries = scan.next().map(codec::read_entries).unwrap_or_default();
        with_attempts(link, keys, consumer, entries, time).await
    }

    /// Closes the connection of a consumer that leaves.
    pub(super) fn forget(&self, consumer: &Consumer) {
        self.readers().remove(consumer);
    }

    fn reader(&self, consumer: &Consumer) -> Arc<AsyncMutex<BlockingReader>> {
        self.readers().entry(consumer.clone()).or_default().clone()
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, HashMap<Consumer, Arc<AsyncMutex<BlockingReader>>>> {
        self.readers.lock().expect("no code panics while it holds the readers")
    }
}

/// `XREADGROUP … 0`: what this consumer was given, and may never have seen.
pub(super) async fn recover(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    max: usize,
) -> Result<Vec<Delivery>, BrokerError> {
    if max == 0 {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(2);
    commands
        .cmd("XREADGROUP")
        .arg(&["GROUP", GROUP, consumer.as_str(), "COUNT"])
        .arg(max)
        .arg(&["STREAMS", keys.requests(), "0"])
        .cmd("TIME");
    match link.try_run(CLAIM, &commands).await? {
        Ok(answer) => {
            let (entries, time) = stream_and_time(answer);
            with_attempts(link, keys, consumer, entries, time).await
        }
        Err(error) if server_code(&error).as_deref() == Some("NOGROUP") => Ok(Vec::new()),
        Err(error) => Err(broker_error(CLAIM, Sent::Maybe, error)),
    }
}

/// Creates the group at the beginning of the stream, so that whatever waits there is served, and the
/// stream with it.
async fn create_group(link: &Link, keys: &Keys) -> Result<(), BrokerError> {
    const CREATE: &str = "create the consumer group";
    let mut commands = Pipeline::with_capacity(1);
    commands
        .cmd("XGROUP")
        .arg(&["CREATE", keys.requests(), GROUP, "0", "MKSTREAM"]);
    match link.try_run(CREATE, &commands).await? {
        Ok(_) => {
            tracing::info!(stream = keys.requests(), group = GROUP, "created the consumer group");
            Ok(())
        }
        // Another worker was quicker.
        Err(error) if server_code(&error).as_deref() == Some("BUSYGROUP") => Ok(()),
        Err(error) => Err(broker_error(CREATE, Sent::Maybe, error)),
    }
}

/// Completes entries that were delivered before: their attempts are in the pending list only.
async fn with_attempts(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    entries: Vec<(EntryId, Option<Fields>)>,
    time: Option<u64>,
) -> Result<Vec<Delivery>, BrokerError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<EntryId> = entries.iter().map(|(id, _)| *id).collect();
    let attempts = lease::attempts(link, keys, &ids).await?;
    let (deliveries, deleted) = deliveries(entries, time, consumer, |id| attempts.get(id).copied().unwrap_or(1));
    if !deleted.is_empty() {
        // Deleted or trimmed under us: nothing is left to work on, and nothing to keep pending.
        tracing::warn!(
            count = deleted.len(),
            "claimed entries had been deleted from the stream"
        );
        lease::acknowledge(link, keys, &deleted).await?;
    }
    Ok(deliveries)
}

/// Turns entries into deliveries; those without fields are gone from the stream and come back apart.
fn deliveries(
    entries: Vec<(EntryId, Option<Fields>)>,
    time: Option<u64>,
    consumer: &Consumer,
    attempt: impl Fn(&EntryId) -> u32,
) -> (Vec<Delivery>, Vec<EntryId>) {
    let claimed = Instant::now();
    let mut deliveries = Vec::with_capacity(entries.len());
    let mut deleted = Vec::new();
    for (id, fields) in entries {
        let Some(fields) = fields else {
            deleted.push(id);
            continue;
        };
        deliveries.push(Delivery {
            receipt: Receipt {
                entry: id,
                consumer: consumer.clone(),
                claimed,
            },
            attempt: attempt(&id),
            waited: Duration::from_millis(time.unwrap_or(id.millis).saturating_sub(id.millis)),
            content: codec::read_request(fields),
        });
    }
    (deliveries, deleted)
}

fn stream_and_time(answer: Value) -> (Vec<(EntryId, Option<Fields>)>, Option<u64>) {
    let (stream, time) = two(answer);
    (codec::read_stream(stream), time)
}

/// Splits the answer of a pipeline whose second command is TIME.
fn two(answer: Value) -> (Value, Option<u64>) {
    let Value::Array(mut answers) = answer else {
        return (Value::Nil, None);
    };
    let time = answers.pop().as_ref().and_then(codec::server_millis);
    (answers.pop().unwrap_or(Value::Nil), time)
}
