//! Clearing up after those who cannot any more: consumers of dead workers here, entries in nobody's hands in
//! `orphans.rs`.

pub(super) mod orphans;

use std::time::Duration;

use redis::Value;

use super::GROUP;
use super::codec;
use super::keys::Keys;
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::maintenance::orphans::Search;
use crate::broker::{BrokerError, Consumer, EntryId, Maintained};

/// The field of a consumer's terminals among the counts begins so.
pub(super) const TERMINALS: &str = "terminals:";

/// <https://redis.io/docs/latest/commands/xinfo-consumers/>
pub(super) async fn maintain(
    search: &Search,
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    terminals: u32,
    silent: Duration,
) -> Result<Maintained, BrokerError> {
    let mut commands = scripts::MAINTAIN.call(&[keys.requests(), keys.counts()]);
    commands.arg(GROUP).arg(consumer.as_str());
    commands.arg(silent.as_millis() as u64).arg(TERMINALS).arg(terminals);
    let answer = link.run("tidy up the consumer group", &commands).await?;
    let Value::Array(mut answers) = answer else {
        return Ok(Maintained::default());
    };
    let Some(Value::Array(mut told)) = answers.pop() else {
        return Ok(Maintained::default());
    };
    let last = told.pop().and_then(codec::bulk).and_then(|id| EntryId::parse(&id));
    Ok(Maintained {
        consumers: told.pop().as_ref().and_then(codec::number).unwrap_or(0),
        rescued: search.go_on(link, keys, consumer, last.unwrap_or_default()).await?,
    })
}
