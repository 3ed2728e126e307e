//! Tidying up after dead workers: their consumers are removed here, entries in nobody's hands are found in
//! `orphans.rs`.

pub(super) mod orphans;

use std::time::Duration;

use super::GROUP;
use super::answers::Count;
use super::counts::TERMINALS;
use super::keys::Keys;
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::maintenance::orphans::Search;
use crate::broker::{BrokerError, Consumer, Maintained};

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
    let (Count(consumers), last) = link.run("tidy up the consumer group", &commands).await?;
    Ok(Maintained {
        consumers,
        rescued: search.go_on(link, keys, consumer, last).await?,
    })
}
