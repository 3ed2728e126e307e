//! Reading records: by their ids, and in lists.

use bytes::Bytes;
use redis::Pipeline;

use crate::broker::redis::answers::{List, Pairs};
use crate::broker::redis::codec::{self, Fields};
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::errors::misfit;
use crate::broker::redis::keys::Keys;
use crate::broker::result_store::{Noted, Progress, Record, Status};
use crate::broker::{BrokerError, RecordPage};
use crate::message::{CorrelationId, Fault, Tenant};

const READ: &str = "read records";

/// What a script does not read of a record that is listed: everything but its result.
const SHOWN: [&str; 16] = [
    "status",
    "created",
    "started",
    "startedVersion",
    "finished",
    "finishedVersion",
    "expires",
    "attempts",
    "progress",
    "message",
    "progressVersion",
    "cancel",
    "key",
    "version",
    codec::OPERATION,
    codec::TENANT,
];

/// <https://redis.io/docs/latest/commands/hgetall/>
pub(in crate::broker::redis) async fn records(
    link: &Link,
    keys: &Keys,
    ids: &[CorrelationId],
) -> Result<Vec<Option<Record>>, BrokerError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(ids.len());
    for id in ids {
        commands.cmd("HGETALL").arg(keys.record(*id));
    }
    let answers: Vec<Pairs> = link.run_all(READ, &commands).await?;
    let read = |(id, Pairs(fields)): (&CorrelationId, Pairs)| read_record(*id, &fields);
    Ok(ids.iter().zip(answers).map(read).collect())
}

/// The most rounds of one list. Each passes over as many records as a page has that have expired and were not swept
/// yet.
const MAX_ROUNDS: usize = 50;

/// <https://redis.io/docs/latest/commands/zrevrangebylex/>
pub(in crate::broker::redis) async fn list(
    link: &Link,
    keys: &Keys,
    page: &RecordPage<'_>,
) -> Result<Vec<Record>, BrokerError> {
    let RecordPage {
        tenant,
        status,
        before,
        max,
    } = *page;
    let statuses = status.map_or_else(|| Status::ALL.to_vec(), |status| vec![status]);
    let (mut listed, mut before) = (Vec::new(), before);
    for _ in 0..MAX_ROUNDS {
        let ids = ids_before(link, &indexes(keys, tenant, &statuses), before, max).await?;
        let Some(last) = ids.last() else { break };
        before = Some(*last);
        let records = read_without_results(link, keys, &ids).await?;
        // What has changed its status since its index was read stands in another list.
        let wanted = records
            .into_iter()
            .filter(|record| status.is_none_or(|status| record.status == status));
        listed.extend(wanted.take(max - listed.len()));
        if listed.len() == max || ids.len() < max {
            break;
        }
    }
    Ok(listed)
}

/// The names of a tenant's indexes.
fn indexes(keys: &Keys, tenant: &Tenant, statuses: &[Status]) -> Vec<String> {
    let [_, index, ..] = keys.records();
    let of = |status: &Status| match tenant.name() {
        None => format!("{index}{status}"),
        Some(tenant) => format!("{index}{tenant}:{status}"),
    };
    statuses.iter().map(of).collect()
}

/// The newest ids of these indexes, newest first, at most `max`. A transaction: what moves from one index to another
/// meanwhile would be seen twice, or not at all.
async fn ids_before(
    link: &Link,
    indexes: &[String],
    before: Option<CorrelationId>,
    max: usize,
) -> Result<Vec<CorrelationId>, BrokerError> {
    let newest = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
    let mut commands = Pipeline::with_capacity(indexes.len());
    commands.atomic();
    for index in indexes {
        commands
            .cmd("ZREVRANGEBYLEX")
            .arg(index)
            .arg(&newest)
            .arg("-")
            .arg("LIMIT")
            .arg(0)
            .arg(max);
    }
    let indexes: Vec<List<Bytes>> = link.run_all("list records", &commands).await?;
    let names = indexes.into_iter().flat_map(|List(names)| names);
    let mut ids: Vec<CorrelationId> = names.filter_map(|name| CorrelationId::parse(&name)).collect();
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.truncate(max);
    Ok(ids)
}

async fn read_without_results(link: &Link, keys: &Keys, ids: &[CorrelationId]) -> Result<Vec<Record>, BrokerError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(ids.len());
    for id in ids {
        commands.cmd("HMGET").arg(keys.record(*id)).arg(&SHOWN);
    }
    let answers: Vec<List<Option<Bytes>>> = link.run_all(READ, &commands).await?;
    if answers.iter().any(|List(values)| values.len() != SHOWN.len()) {
        return Err(misfit(READ));
    }
    let read = |(id, List(values)): (&CorrelationId, List<Option<Bytes>>)| {
        let named = SHOWN
            .iter()
            .zip(values)
            .filter_map(|(name, value)| Some(((*name).into(), value?)));
        // One that expired between the two commands is no more.
        read_record(*id, &named.collect())
    };
    Ok(ids.iter().zip(answers).filter_map(read).collect())
}

fn read_record(id: CorrelationId, fields: &Fields) -> Option<Record> {
    let text = |name: &str| codec::field(fields, name);
    let number = |name: &str| std::str::from_utf8(text(name)?).ok()?.parse::<u64>().ok();
    let noted = |at: &str, version: &str| {
        Some(Noted {
            at: number(at)?,
            version: number(version)?,
        })
    };
    let status = Status::parse(text("status")?)?;
    let progress = || {
        let message = text("message").map(|text| String::from_utf8_lossy(text));
        let progress = Progress::new(number("progress")?.min(100) as u8, &message.unwrap_or_default());
        Some((progress, number("progressVersion")?))
    };
    Some(Record {
        id,
        origin: codec::read_origin(fields),
        status,
        created: number("created")?,
        started: noted("started", "startedVersion"),
        finished: noted("finished", "finishedVersion"),
        expires: number("expires").unwrap_or_default(),
        attempts: number("attempts").unwrap_or_default() as u32,
        progress: progress(),
        cancel_requested: text("cancel").is_some(),
        has_key: text("key").is_some(),
        version: number("version").unwrap_or(1),
        outcome: read_outcome(fields),
    })
}

fn read_outcome(fields: &Fields) -> Option<Result<Bytes, Fault>> {
    Some(codec::read_outcome(
        codec::field(fields, "outcome")?,
        codec::field(fields, "data")?,
        codec::field(fields, codec::DEAD_LETTER),
    ))
}
