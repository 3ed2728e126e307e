//! The scripts of a worker, published in `examples/lua` for workers in other languages (docs/wire.md). The rule: what is
//! published is what the services send, whole, behind a comment that says how it is called.
//!
//! `PUBLISH=1 cargo test -p roundtrip --lib published` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::{lease, maintenance, reclaim, redeliver, results, settle};

/// A script, and how it is called.
struct Published {
    name: &'static str,
    does: &'static str,
    keys: &'static str,
    arguments: &'static str,
    returns: &'static str,
    text: &'static str,
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

const ALL: [Published; 11] = [
    Published {
        name: "begin",
        does: "Says that work on a request begins, and asks whether it may.",
        keys: records!(),
        arguments: "id, attempt",
        returns: "0: go on; 1: it has ended, or is to be cancelled",
        text: results::BEGIN,
    },
    Published {
        name: "settle",
        does: "Ends a delivery that is still its consumer's: reply, record, dead letter, XACK and XDEL in one step.",
        keys: records!(
            "weather-requests, weather-responses:<replyTo> (weather-requests where nobody waits), weather-dead-letters, \
             weather-requesters-gone, weather-requesters"
        ),
        arguments: "group, consumer, entry, replyTo ('': nobody waits), id ('': nobody can be told), outcome, data, the fault \
                    for a result that is too large, how long a result is kept without a record (ms), the largest result \
                    (bytes), '1' where work may have begun unsaid or '', then the names and values of a dead letter",
        returns: "0: not its consumer's any more; 1: settled; 3: settled, and the reply could not be written, ever",
        text: settle::SETTLE_IF_STILL_OURS,
    },
    Published {
        name: "progress",
        does: "Notes how far work has come.",
        keys: records!(),
        arguments: "id, percent, message",
        returns: "0: there is no record at work; 1: noted",
        text: results::PROGRESS,
    },
    Published {
        name: "sweep",
        does: "Removes records whose time is over, and ends those of requests that got lost. Fifty at a time.",
        keys: records!("weather-requests, weather-requesters"),
        arguments: "group, the fault for what got lost, weather-responses:, how long a requester may be silent (ms), queued, \
                    processing, succeeded, failed, expired, cancelled",
        returns: "{removed, ended}",
        text: results::SWEEP,
    },
    Published {
        name: "renew",
        does: "Renews the leases of entries that are still their consumer's.",
        keys: "weather-requests",
        arguments: "group, consumer, then entries",
        returns: "{how many were renewed, the server's time in ms}",
        text: lease::RENEW,
    },
    Published {
        name: "release",
        does: "Hands entries to whoever reclaims next. Their counts stay.",
        keys: "weather-requests",
        arguments: "group, consumer, 86400000, then entries",
        returns: "0",
        text: lease::RELEASE,
    },
    Published {
        name: "leave",
        does: "Hands back all that a consumer holds, a part at a time, and forgets it once it holds nothing.",
        keys: "weather-requests, weather-counts",
        arguments: "group, consumer, 86400000, where to begin (- at first, then ( and what was returned), how many, terminals:",
        returns: "the last entry of the part; '': there is no more",
        text: lease::LEAVE,
    },
    Published {
        name: "reclaim",
        does: "Takes over what nobody has renewed for a lease. Counts no delivery.",
        keys: "weather-requests",
        arguments: "group, consumer, lease (ms), cursor (0-0 at first), how many, the earliest and the latest that the \
                    server's clock may show (ms; beyond that nothing is taken), how many pending entries to pass",
        returns: "{the server's time in ms, next cursor, then each entry and how often it was delivered}, or the error NOGROUP",
        text: reclaim::TAKE_OVER,
    },
    Published {
        name: "redeliver",
        does: "Counts deliveries of entries that are still their consumer's.",
        keys: "weather-requests",
        arguments: "group, consumer, then each entry and which delivery this is",
        returns: "the entries that are its own, or the error NOGROUP",
        text: redeliver::COUNT,
    },
    Published {
        name: "level",
        does: "Gives entries that were delivered in the future, before the server's clock was set back, a lease from now on.",
        keys: "weather-requests",
        arguments: "group, where to begin (- at first, then ( and what was returned), how many",
        returns: "the last entry that was looked at; '': there is no more",
        text: reclaim::LEVEL,
    },
    Published {
        name: "forget",
        does: "Removes other consumers that hold nothing and were silent, gives a sign of life, and says how many terminals there are.",
        keys: "weather-requests, weather-counts",
        arguments: "group, consumer, how long a consumer may be silent (ms), terminals:, how many terminals the consumer has",
        returns: "{how many went, the last entry that was delivered to anybody}",
        text: maintenance::FORGET,
    },
];

impl Published {
    fn file(&self) -> String {
        let parts = [
            self.does.to_owned(),
            format!("KEYS: {}.", self.keys),
            format!("ARGV: {}.", self.arguments),
            format!("Returns {}.", self.returns),
            "Generated from what Roundtrip's own workers send: see shared/src/broker/redis/published.rs.".to_owned(),
        ];
        let comments: String = parts.iter().map(|part| comment(part)).collect();
        format!("{comments}\n{}\n", self.text.trim())
    }
}

/// A sentence as comments of at most 120 columns.
fn comment(text: &str) -> String {
    let mut lines = vec!["--".to_owned()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        match lines[last].len() + 1 + word.len() > 120 {
            true => lines.push(format!("--   {word}")),
            false => lines[last] = format!("{} {word}", lines[last]),
        }
    }
    lines.join("\n") + "\n"
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/lua")
}

#[test]
#[allow(clippy::unwrap_used)]
fn what_is_published_is_what_is_sent() {
    if std::env::var_os("PUBLISH").is_some() {
        fs::create_dir_all(directory()).unwrap();
        for script in &ALL {
            fs::write(directory().join(format!("{}.lua", script.name)), script.file()).unwrap();
        }
    }
    for script in &ALL {
        let file = fs::read_to_string(directory().join(format!("{}.lua", script.name))).unwrap_or_default();
        assert!(
            file == script.file(),
            "examples/lua/{}.lua is not what is sent: PUBLISH=1 cargo test -p roundtrip --lib published",
            script.name
        );
    }
}

#[test]
#[allow(clippy::unwrap_used)]
fn all_that_is_published_is_known_and_documented() {
    let files = fs::read_dir(directory()).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let known: BTreeSet<String> = ALL.iter().map(|script| format!("{}.lua", script.name)).collect();
    assert_eq!(files, known);
    let contract = fs::read_to_string(directory().join("../../docs/wire.md")).unwrap();
    for script in &ALL {
        let row = format!("| [`{0}`](../examples/lua/{0}.lua) |", script.name);
        assert!(contract.contains(&row), "docs/wire.md has no row for {}", script.name);
    }
}
