//! The presence of requesters. A requester's stream is made here, and removed after a long silence, once the replies in
//! it are stored as results. A reply makes a stream only for a requester that is not known to be gone, so that late
//! replies leave no stream behind.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::answers::{Count, Pairs};
use super::codec;
use super::keys::Keys;
use super::scripts;
use crate::broker::redis::connection::resp::Commands;
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::results::too_large_json;
use crate::broker::{ABSENCE, Adoption, BrokerError, Retention};
use crate::message::{Budget, Reply, ReplyTo};
use bytes::Bytes;

/// For how long a result is kept that has no record, at most: its requester was frozen or cut off, and its callers
/// may still be promised what was done.
const ADOPTED: Duration = Duration::from_secs(60 * 60);

/// How often a requester must be found silent, with nothing said in between, before it is judged to be gone. Where the
/// server stood still, or its clock was set, everybody seems silent at first.
const LOOKS: u32 = 10;

/// Requesters that were found silent: the score of each, and how often it was seen.
#[derive(Debug, Default)]
pub(super) struct Silent(Mutex<HashMap<String, (String, u32)>>);

impl Silent {
    /// Those that are judged to be gone.
    fn judged(&self) -> Vec<(String, String)> {
        let judged = |(name, (score, looks)): (&String, &(String, u32))| {
            (*looks >= LOOKS).then(|| (name.clone(), score.clone()))
        };
        self.all().iter().filter_map(judged).collect()
    }

    /// Takes in who is silent. Where work is left over, the next look comes at once, and says nothing new.
    fn seen(&self, silent: Vec<(String, String)>, more: bool) {
        let mut all = self.all();
        let before = std::mem::take(&mut *all);
        for (name, score) in silent {
            let looks = match before.get(&name) {
                Some((same, looks)) if *same == score => looks + u32::from(!more),
                _ => 1,
            };
            all.insert(name, (score, looks));
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, (String, u32)>> {
        self.0.lock().expect("no code panics while it holds the map")
    }
}

/// For how long a result is kept that has no record, in milliseconds.
pub(super) fn adopted_for(retention: &Retention) -> u64 {
    retention.results.min(ADOPTED).as_millis() as u64
}

/// How long a requester is remembered that is gone. No request lives longer, so nothing comes for it after that.
const MEMORY: Duration = Budget::MAX;

/// <https://redis.io/docs/latest/commands/zadd/>
pub(super) async fn heartbeat(
    link: &Link,
    keys: &Keys,
    retention: &Retention,
    silent: &Silent,
    requester: &ReplyTo,
) -> Result<Adoption, BrokerError> {
    let replies = keys.replies(requester);
    let mut commands = scripts::HEARTBEAT.call_on_records(keys, &[keys.requesters(), &replies, keys.gone()]);
    commands
        .arg(requester.as_str())
        .arg(ABSENCE.as_millis() as u64)
        .arg(keys.replies_of_anyone())
        .arg(MEMORY.as_millis() as u64)
        .arg(too_large_json())
        .arg(adopted_for(retention))
        .arg(retention.max_result);
    for (name, score) in silent.judged() {
        commands.arg(name).arg(score);
    }
    let (Count(removed), Count(adopted), Count(more), Pairs(names)) =
        link.run("register the requester", &commands).await?;
    let attended = Adoption {
        removed,
        adopted,
        more: more > 0,
    };
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    let names = names.into_iter().map(|(name, score)| (text(name), text(score)));
    silent.seen(names.collect(), attended.more);
    Ok(attended)
}

/// Removes a requester's stream for good. Replies that came too late to be read become results of their records.
pub(super) async fn leave(link: &Link, keys: &Keys, requester: &ReplyTo) -> Result<(), BrokerError> {
    let replies = keys.replies(requester);
    let mut commands = scripts::CLOSE.call_on_records(keys, &[keys.requesters(), &replies, keys.gone()]);
    commands.arg(requester.as_str()).arg(too_large_json());
    loop {
        if let Count(0) = link.run("remove the reply stream", &commands).await? {
            return Ok(());
        }
    }
}

/// Writes a reply whose stream was not there: somebody deleted it, or its requester is gone. Then it becomes the
/// result of its record, where there is one.
pub(super) async fn reply_unless_gone(
    link: &Link,
    keys: &Keys,
    retention: &Retention,
    requester: &ReplyTo,
    reply: &Reply,
) -> Result<(), BrokerError> {
    let replies = keys.replies(requester);
    let mut commands = scripts::REPLY.call_on_records(keys, &[&replies, keys.gone(), keys.requesters()]);
    let (outcome, data) = codec::outcome(reply);
    commands
        .arg(requester.as_str())
        .arg(reply.id.to_string())
        .arg(outcome)
        .arg(data.as_ref())
        .arg(too_large_json())
        .arg(adopted_for(retention))
        .arg(retention.max_result)
        .arg(&codec::origin(&reply.origin));
    link.run::<Count>("write a reply", &commands).await.map(|_| ())
}

/// Makes sure that a requester's replies can be written.
pub(super) fn make_stream(commands: &mut Commands, keys: &Keys, requester: &ReplyTo) {
    commands
        .begin(6)
        .arg("EVAL")
        .arg(scripts::MAKE_STREAM.text)
        .number(2)
        .arg(keys.replies(requester))
        .arg(keys.requesters())
        .arg(requester.as_str());
}
