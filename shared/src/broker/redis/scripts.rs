//! All scripts: what each is called with, and what it answers. The rule: a change of more than one key is one script,
//! as a crash between two commands would leave it halfway.
//!
//! The source is sent each time: a server that lost its script cache then needs no second attempt.

use redis::Pipeline;

use super::keys::Keys;

/// A script, described with the keys of the operation `weather`.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the descriptions are for readers, and for examples/lua")
)]
pub(super) struct Script {
    pub(super) does: &'static str,
    pub(super) keys: &'static str,
    pub(super) arguments: &'static str,
    pub(super) returns: &'static str,
    pub(super) text: &'static str,
}

impl Script {
    /// One call, whose arguments follow. <https://redis.io/docs/latest/commands/eval/>
    pub(super) fn call(&self, keys: &[&str]) -> Pipeline {
        let mut commands = Pipeline::with_capacity(1);
        commands.cmd("EVAL").arg(self.text).arg(keys.len()).arg(keys);
        commands
    }

    /// The same, with the keys that all scripts on records begin with, and `more` behind them.
    pub(super) fn call_on_records(&self, keys: &Keys, more: &[&str]) -> Pipeline {
        let names: Vec<&str> = keys.records().into_iter().chain(more.iter().copied()).collect();
        self.call(&names)
    }
}

/// The keys that all scripts on records begin with.
macro_rules! records {
    ($($more:literal)?) => {
        concat!(
            "weather-result:, weather-results:, weather-results-expiry, weather-changes, weather-cancelling"
            $(, ", ", $more)?
        )
    };
}

/// The text of a script on records: what they share comes first.
macro_rules! on_records {
    ($($file:literal),+) => {
        concat!(include_str!("scripts/common.lua"), $(include_str!(concat!("scripts/", $file))),+)
    };
}

pub(super) const MAKE_STREAM: Script = Script {
    does: "Makes an empty reply stream, and notes its requester.",
    keys: "weather-responses:<replyTo>, weather-requesters",
    arguments: "replyTo",
    returns: "0",
    text: include_str!("scripts/make_stream.lua"),
};

pub(super) const CREATE_GROUP: Script = Script {
    does: "Makes the consumer group at the beginning of the stream, and the stream with it.",
    keys: "weather-requests",
    arguments: "group",
    returns: "OK, or the error BUSYGROUP",
    text: include_str!("scripts/create_group.lua"),
};

pub(super) const UNPUBLISH: Script = Script {
    does: "Deletes requests without records that nobody has claimed.",
    keys: "weather-requests, weather-counts",
    arguments: "group, then entries",
    returns: "how many were deleted",
    text: include_str!("scripts/unpublish.lua"),
};

pub(super) const CLAIM_DUE: Script = Script {
    does: "Claims what expires soon, the oldest first.",
    keys: "weather-requests",
    arguments: "group, consumer, how soon (ms), how many, how many bytes, the last millisecond before the clock was set ahead, by how much it was (ms)",
    returns: "{the answer of TIME, the answer of XRANGE}",
    text: include_str!("scripts/claim_due.lua"),
};

pub(super) const REDELIVER: Script = Script {
    does: "Counts deliveries of entries that are still their consumer's.",
    keys: "weather-requests",
    arguments: "group, consumer, then each entry and which delivery this is",
    returns: "the entries that are its own, or the error NOGROUP",
    text: include_str!("scripts/redeliver.lua"),
};

pub(super) const RENEW: Script = Script {
    does: "Renews the leases of entries that are still their consumer's.",
    keys: "weather-requests",
    arguments: "group, consumer, then entries",
    returns: "{how many were renewed, the server's time in ms}",
    text: include_str!("scripts/renew.lua"),
};

pub(super) const RELEASE: Script = Script {
    does: "Hands entries to whoever reclaims next. Their counts stay.",
    keys: "weather-requests",
    arguments: "group, consumer, 86400000, then entries",
    returns: "0",
    text: include_str!("scripts/release.lua"),
};

pub(super) const DEREGISTER: Script = Script {
    does: "Hands back all that a consumer holds, a part at a time, and forgets it once it holds nothing.",
    keys: "weather-requests, weather-counts",
    arguments: "group, consumer, 86400000, where to begin (- at first, then ( and what was returned), how many, terminals:",
    returns: "the last entry of the part; '': there is no more",
    text: include_str!("scripts/deregister.lua"),
};

pub(super) const RECLAIM: Script = Script {
    does: "Takes over what nobody has renewed for a lease. Counts no delivery.",
    keys: "weather-requests",
    arguments: "group, consumer, lease (ms), cursor (0-0 at first), how many, the earliest and the latest that the \
                server's clock may show (ms; beyond that nothing is taken), how many pending entries to pass",
    returns: "{the server's time in ms, next cursor, then each entry and how often it was delivered}, or the error NOGROUP",
    text: include_str!("scripts/reclaim.lua"),
};

pub(super) const LEVEL: Script = Script {
    does: "Gives entries that were delivered in the future, before the server's clock was set back, a lease from now on.",
    keys: "weather-requests",
    arguments: "group, where to begin (- at first, then ( and what was returned), how many",
    returns: "the last entry that was looked at; '': there is no more",
    text: include_str!("scripts/level.lua"),
};

pub(super) const MAINTAIN: Script = Script {
    does: "Removes other consumers that hold nothing and were silent, gives a sign of life, and says how many terminals there are.",
    keys: "weather-requests, weather-counts",
    arguments: "group, consumer, how long a consumer may be silent (ms), terminals:, how many terminals the consumer has",
    returns: "{how many went, the last entry that was delivered to anybody}",
    text: include_str!("scripts/maintain.lua"),
};

pub(super) const RESCUE: Script = Script {
    does: "Makes entries that are in nobody's hands pending, as given back.",
    keys: "weather-requests",
    arguments: "group, consumer, 86400000, then entries",
    returns: "how many were rescued",
    text: include_str!("scripts/rescue.lua"),
};

pub(super) const DEPTH: Script = Script {
    does: "Measures how much is waiting.",
    keys: "weather-requests, weather-dead-letters, weather-counts",
    arguments: "group, discarded, how long ago a worker gave its last sign of life (ms), terminals:",
    returns: "{entries, added ever or -1, pending, when the oldest that waits was added (ms) or -1, dead letters, INFO memory or '', \
              discarded, bytes, the server's time in ms, workers, terminals}",
    text: include_str!("scripts/depth.lua"),
};

pub(super) const COUNT_DISCARDS: Script = Script {
    does: "Counts what ended without a result. A server that is full, or a user who may not, refuses to count and nothing else.",
    keys: "weather-counts",
    arguments: "discarded, how many",
    returns: "1",
    text: include_str!("scripts/count_discards.lua"),
};

pub(super) const RIGHTS: Script = Script {
    does: "Says which commands the user may not call.",
    keys: "",
    arguments: "commands, words separated by spaces",
    returns: "the positions of those that are refused, from 1",
    text: include_str!("scripts/rights.lua"),
};

pub(super) const SUBMIT: Script = Script {
    does: "Publishes a request with its record, unless its idempotency key is known.",
    keys: records!("weather-requests, weather-key:<digest> (weather-requests where there is none)"),
    arguments: "id, budget (ms), how long the result is kept (ms), the largest result (bytes), fingerprint ('': none), how long \
                it is kept (ms), replyTo, operation and tenant (each '': goes without saying), then the names and values of the entry",
    returns: "{as, entry}, {known, id} or {conflict}",
    text: on_records!("submit.lua"),
};

pub(super) const TAKE_BACK: Script = Script {
    does: "Takes requests with records back that nobody has claimed.",
    keys: records!(
        "weather-requests, weather-counts, then weather-key:<digest> of each (weather-requests where there is none)"
    ),
    arguments: "group, then id and entry of each",
    returns: "1 or 0 for each: whether it was taken back",
    text: on_records!("take_back.lua"),
};

pub(super) const CREATE: Script = Script {
    does: "Makes the record of a request that was published without one.",
    keys: records!("weather-requests"),
    arguments: "id, entry ('': not known), budget (ms), how long the result is kept (ms), the largest result (bytes), group, replyTo, \
                operation and tenant (each '': goes without saying)",
    returns: "1: made; 0: there is one",
    text: on_records!("create.lua"),
};

pub(super) const START: Script = Script {
    does: "Says that work on a request begins, and asks whether it may.",
    keys: records!(),
    arguments: "id, attempt",
    returns: "0: go on; 1: it has ended, or is to be cancelled",
    text: on_records!("start.lua"),
};

pub(super) const PROGRESS: Script = Script {
    does: "Notes how far work has come.",
    keys: records!(),
    arguments: "id, percent, message",
    returns: "0: there is no record at work; 1: noted",
    text: on_records!("progress.lua"),
};

pub(super) const COMPLETE: Script = Script {
    does: "Stores results of records that wait for them.",
    keys: records!(),
    arguments: "the fault for a result that is too large, then id, outcome, data and dead letter ('': none) of each",
    returns: "how many were stored",
    text: on_records!("complete.lua"),
};

pub(super) const STORE: Script = Script {
    does: "Stores results, also of requests without a record.",
    keys: records!(),
    arguments: "the fault for a result that is too large, how long a result is kept without a record (ms), the largest result (bytes), \
                then id, outcome, data, dead letter ('': none), operation and tenant (each '': goes without saying) of each",
    returns: "1",
    text: on_records!("store.lua"),
};

pub(super) const CANCEL: Script = Script {
    does: "Ends a request that nobody has claimed, and asks for the end of one that somebody has.",
    keys: records!("weather-requests, weather-counts"),
    arguments: "id, entry ('': not known), group, the fault for whoever waits, weather-responses:, how long a wish is remembered where \
                the deadline is not known (ms)",
    returns: "done, asked, unknown, or the status that it has ended with",
    text: on_records!("cancel.lua"),
};

pub(super) const PURGE_EXPIRED: Script = Script {
    does: "Removes records whose time is over, and ends those of requests that got lost. Fifty at a time.",
    keys: records!("weather-requests, weather-requesters"),
    arguments: "group, the fault for what got lost, weather-responses:, how long a requester may be silent (ms), -requests, queued, \
                processing, succeeded, failed, expired, cancelled",
    returns: "{removed, ended}",
    text: on_records!("purge_expired.lua"),
};

pub(super) const SETTLE: Script = Script {
    does: "Ends a delivery that is still its consumer's: reply, record, dead letter, XACK and XDEL in one step.",
    keys: records!(
        "weather-requests, weather-responses:<replyTo> (weather-requests where nobody waits), weather-dead-letters, \
         weather-requesters-gone, weather-requesters"
    ),
    arguments: "group, consumer, entry, replyTo ('': nobody waits), id ('': nobody can be told), outcome, data, the fault \
                for a result that is too large, how long a result is kept without a record (ms), the largest result \
                (bytes), '1' where work may have begun unsaid or '', operation and tenant (each '': goes without saying), \
                then the names and values of a dead letter",
    returns: "0: not its consumer's any more; 1: settled; 3: settled, and the reply could not be written, ever",
    text: on_records!("settle.lua"),
};

pub(super) const REPLAY: Script = Script {
    does: "Puts the request of a dead letter back into the stream.",
    keys: records!("weather-dead-letters, weather-requests"),
    arguments: "the letter, how many of its names and values, counted from its end, are the request's",
    returns: "the new entry; nil: there is no such letter",
    text: on_records!("replay.lua"),
};

pub(super) const REPLY: Script = Script {
    does: "Writes a reply, unless its requester is gone: then it becomes a result.",
    keys: records!("weather-responses:<replyTo>, weather-requesters-gone, weather-requesters"),
    arguments: "replyTo, id, outcome, data, the fault for a result that is too large, how long a result is kept without a \
                record (ms), the largest result (bytes), operation and tenant (each '': goes without saying)",
    returns: "1: written, or stored; 0: its record had ended",
    text: on_records!("reply.lua"),
};

pub(super) const HEARTBEAT: Script = Script {
    does: "Says that a requester is there, and removes the streams of those that are gone.",
    keys: records!("weather-requesters, weather-responses:<replyTo>, weather-requesters-gone"),
    arguments: "replyTo, what is too long a silence (ms), weather-responses:, how long the gone are remembered (ms), the fault \
                for a result that is too large, how long a result is kept without a record (ms), the largest result \
                (bytes), then name and score of each that is judged to be gone",
    returns: "{removed, replies that became results, 1 where there is more, {name and score of each that is silent}}",
    text: on_records!("adopt.lua", "heartbeat.lua"),
};

pub(super) const CLOSE: Script = Script {
    does: "Removes a requester's own stream, some replies at a time.",
    keys: records!("weather-requesters, weather-responses:<replyTo>, weather-requesters-gone"),
    arguments: "replyTo, the fault for a result that is too large",
    returns: "how many replies are left: 0 at the end",
    text: on_records!("adopt.lua", "close.lua"),
};
