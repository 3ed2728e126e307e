//! The rights of the user, checked before work depends on them: a right that is missing in the middle of a script
//! leaves it halfway. Each command is called so that it can have no effect; the server looks at rights before anything
//! else. <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>

use bytes::Bytes;

use super::answers::{Count, List};
use super::depth;
use super::errors::{Sent, broker_error, misfit, server_code};
use super::keys::Keys;
use super::publish::AOF_MISSING;
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::{BrokerError, Durability, Role, Shortcoming};

const ASK: &str = "ask what this user may do";

/// What both roles do with records. `@n` stands for a key of the n-th kind.
const RECORDS: [&str; 21] = [
    "HGET @5 f",
    "HMGET @5 f",
    "HGETALL @5",
    "HSET @5 a b c",
    "HDEL @5 f",
    "HINCRBY @5 f x",
    "EXISTS @5",
    "DEL @5",
    "UNLINK @5",
    "PEXPIREAT @5 1",
    "ZADD @6 x m",
    "ZREM @6 m",
    "ZREVRANGEBYLEX @6 (a (a",
    "ZADD @7 x m",
    "ZREM @7 m",
    "ZRANGEBYSCORE @7 0 -1",
    "ZADD @8 x m",
    "ZREM @8 m",
    "ZSCORE @8 m",
    "GET @9",
    "DEL @9",
];

const REQUESTER: [&str; 23] = [
    "XADD @1 NOMKSTREAM x f v",
    "XDEL @1 0-0",
    "XRANGE @1 0-0 0-0",
    "XLEN @1",
    "XPENDING @1 no-such-group",
    "XINFO STREAM @1",
    "XADD @2 NOMKSTREAM x f v",
    "XDEL @2 0-0",
    "XLEN @2",
    "XRANGE @2 0-0 0-0",
    "XTRIM @2 MINID 0-0",
    "XREAD COUNT 1 STREAMS @2 18446744073709551615-18446744073709551615",
    "EXISTS @2",
    "UNLINK @2",
    "ZADD @3 x m",
    "ZREM @3 m",
    "ZSCORE @3 m",
    "ZRANGEBYSCORE @3 0 -1",
    "ZADD @4 x m",
    "ZREM @4 m",
    "ZSCORE @4 m",
    "ZREMRANGEBYSCORE @4 0 -1",
    "SET @9 v PX 0",
];

const WORKER: [&str; 20] = [
    "PTTL @9",
    "PEXPIRE @9 1",
    "XREADGROUP GROUP no-such-group c COUNT 1 STREAMS @1 >",
    "XGROUP CREATE @1 no-such-group x",
    "XACK @1 no-such-group 0-0",
    "XDEL @1 0-0",
    "XPENDING @1 no-such-group",
    "XCLAIM @1 no-such-group c 0 0-0",
    "XAUTOCLAIM @1 no-such-group c 0 0-0",
    "XRANGE @1 0-0 0-0",
    "XLEN @1",
    "XINFO STREAM @1",
    "XADD @2 NOMKSTREAM x f v",
    "EXISTS @2",
    "ZADD @3 x m",
    "ZSCORE @3 m",
    "ZSCORE @4 m",
    "ZMSCORE @8 m",
    "ZREMRANGEBYSCORE @8 0 -1",
    "XADD @10 NOMKSTREAM x f v",
];

/// Work goes on without it: changes are seen later, when records are read again anyway.
const TELL: &str = "PUBLISH @11 none";

/// <https://redis.io/docs/latest/commands/eval/>
pub(super) async fn shortcomings(
    link: &Link,
    keys: &Keys,
    durability: Durability,
    role: Role,
) -> Result<Vec<Shortcoming>, BrokerError> {
    let own = match role {
        Role::Requester => &REQUESTER[..],
        Role::Worker => &WORKER[..],
    };
    let calls: Vec<&str> = own.iter().chain(&RECORDS).chain([&TELL]).copied().collect();
    let names = names(keys);
    let mut commands = scripts::RIGHTS.call(&[]);
    for call in &calls {
        let (before, key, after) = parts(call, &names);
        commands.arg(format!("{before}{key}{after}"));
    }
    let refused = match link.try_run::<List<Count>>(ASK, &commands).await? {
        Ok(List(refused)) => refused,
        Err(error) if server_code(&error).as_deref() == Some("NOPERM") => {
            return Ok(vec![missing("EVAL", "scripts", true)]);
        }
        Err(error) => return Err(broker_error(ASK, Sent::Maybe, error)),
    };
    let call = |Count(position)| calls.get((position as usize).checked_sub(1)?).copied();
    let found: Option<Vec<&str>> = refused.into_iter().map(call).collect();
    let mut all: Vec<_> = found
        .ok_or_else(|| misfit(ASK))?
        .into_iter()
        .map(|call| {
            let (before, key, _) = parts(call, &names);
            let command = before.split(' ').next().unwrap_or_default();
            missing(command, key, call != TELL)
        })
        .collect();
    if role == Role::Requester && evicts(link).await? {
        all.push(Shortcoming {
            what: "maxmemory-policy is not noeviction: at maxmemory the server removes what was accepted".to_owned(),
            is_fatal: false,
        });
    }
    if role == Role::Requester && durability == Durability::Aof && !keeps_a_file(link).await? {
        all.push(Shortcoming {
            what: AOF_MISSING.to_owned(),
            is_fatal: true,
        });
    }
    Ok(all)
}

/// What stands before the key of a call, the key, and what stands behind it.
fn parts<'a>(call: &'a str, names: &'a [String]) -> (&'a str, &'a str, &'a str) {
    let (before, rest) = call.split_once('@').unwrap_or((call, ""));
    let digits = rest.find(' ').unwrap_or(rest.len());
    let (number, after) = rest.split_at(digits);
    let key = number.parse::<usize>().ok().and_then(|n| names.get(n - 1));
    (before, key.map_or("", String::as_str), after)
}

/// Keys of each kind, in the order of the numbers above.
fn names(keys: &Keys) -> [String; 11] {
    const NONE: &str = "none";
    let [records, indexes, due, changes, wishes] = keys.records();
    [
        keys.requests().to_owned(),
        format!("{}{NONE}", keys.replies_of_anyone()),
        keys.requesters().to_owned(),
        keys.gone().to_owned(),
        format!("{records}{NONE}"),
        format!("{indexes}{NONE}"),
        due.to_owned(),
        wishes.to_owned(),
        keys.claim(NONE),
        keys.dead_letters().to_owned(),
        changes.to_owned(),
    ]
}

fn missing(command: &str, subject: &str, is_fatal: bool) -> Shortcoming {
    Shortcoming {
        what: format!("the user in BROKER_URL may not call {command} on {subject}"),
        is_fatal,
    }
}

/// <https://redis.io/docs/latest/develop/reference/eviction/>
async fn evicts(link: &Link) -> Result<bool, BrokerError> {
    // Who may not ask is not told.
    let info = link
        .try_run::<Bytes>(ASK, redis::pipe().cmd("INFO").arg("memory"))
        .await?;
    let memory = info.ok().as_deref().and_then(depth::memory);
    Ok(memory.is_some_and(|memory| memory.max > 0 && memory.evicts))
}

/// <https://redis.io/docs/latest/commands/info/>
async fn keeps_a_file(link: &Link) -> Result<bool, BrokerError> {
    let mut command = redis::pipe();
    command.cmd("INFO").arg("persistence");
    let info: Bytes = link.run("ask for the append-only file", &command).await?;
    Ok(info
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"aof_enabled:1")))
}
