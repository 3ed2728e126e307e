//! What each key may be (docs/wire.md names them all), when nobody asks for anything any more.

use std::collections::{HashMap, HashSet};

use checker::nonce::Nonce;
use serde::Deserialize;

use super::{Content, Guests, Key, Keyspace};
use crate::answer::shown;

/// Findings that are told one by one.
const TOLD: usize = 20;

const FINAL: [&str; 4] = ["succeeded", "failed", "expired", "cancelled"];

/// As much of a result as says whose it is.
#[derive(Deserialize)]
struct NetworkFault {
    city: String,
    #[serde(rename = "requestId")]
    id: String,
}

#[derive(Deserialize)]
struct Fault {
    code: String,
}

/// What is left that should not be.
pub(super) fn judge(keyspace: &Keyspace, guests: &Guests) -> Vec<String> {
    let mut names: Vec<_> = keyspace.keys.iter().collect();
    names.sort_by_key(|(name, _)| *name);
    let mut found: Vec<String> = names
        .into_iter()
        .flat_map(|(name, key)| wrong(keyspace, guests, name, key))
        .collect();
    if found.len() > TOLD {
        let more = found.split_off(TOLD).len();
        found.push(format!("and {more} more"));
    }
    found
}

/// What is wrong with one key.
fn wrong(keyspace: &Keyspace, guests: &Guests, name: &str, key: &Key) -> Vec<String> {
    let rest = name.strip_prefix("weather-").unwrap_or_default();
    let (kind, part) = rest.split_once(':').unwrap_or((rest, ""));
    match (kind, part, &key.content) {
        // How many there are is told elsewhere.
        ("requests" | "dead-letters", "", Content::Stream(_)) => Vec::new(),
        ("responses", instance, Content::Stream(length)) => replies(keyspace, instance, *length),
        ("requesters", "", Content::Sorted(members)) => requesters(keyspace, members),
        ("requesters-gone", "", Content::Sorted(members)) => gone(keyspace, members),
        ("result", id, Content::Hash(fields)) => record(keyspace, guests, id, fields, key.expires),
        ("results", status, Content::Sorted(members)) => index(keyspace, status, members),
        ("results-expiry", "", Content::Sorted(members)) => {
            let strays = members.iter().filter(|id| keyspace.record(id).is_none());
            strays
                .map(|id| format!("{name} has {id}, of which there is no record"))
                .collect()
        }
        ("key", _, Content::Text(text)) => claim(keyspace, name, text, key.expires),
        ("cancelling", "", Content::Sorted(members)) => {
            let wishes = members.iter();
            wishes.map(|id| format!("{id} is still to be cancelled")).collect()
        }
        ("counts", "", Content::Hash(fields)) => {
            let is_known = |field: &str| match field.strip_prefix("terminals:") {
                Some(consumer) => keyspace.consumers.contains(consumer),
                None => field == "discarded",
            };
            let strays = fields
                .iter()
                .filter(|(field, value)| !is_known(field) || value.parse::<u64>().is_err());
            strays
                .map(|(field, value)| format!("{name} has {field} = {}", shown(value)))
                .collect()
        }
        (_, _, content) => vec![format!("nobody knows the key {} ({})", shown(name), content.kind())],
    }
}

fn replies(keyspace: &Keyspace, instance: &str, length: u64) -> Vec<String> {
    let mut found = Vec::new();
    if length > 0 {
        found.push(format!("{length} replies to {instance} that nobody reads"));
    }
    if !keyspace.members("weather-requesters").contains(instance) {
        found.push(format!("a reply stream of {instance}, who is not known to be there"));
    }
    found
}

fn requesters(keyspace: &Keyspace, members: &HashSet<String>) -> Vec<String> {
    let strays = members.iter().filter(|name| keyspace.replies_of(name).is_none());
    strays
        .map(|name| format!("{name} is known to be there, and has no reply stream"))
        .collect()
}

fn gone(keyspace: &Keyspace, members: &HashSet<String>) -> Vec<String> {
    let there = keyspace.members("weather-requesters");
    let strays = members
        .iter()
        .filter(|name| there.contains(*name) || keyspace.replies_of(name).is_some());
    strays
        .map(|name| format!("{name} is known to be gone, and is there"))
        .collect()
}

fn record(
    keyspace: &Keyspace,
    guests: &Guests,
    id: &str,
    fields: &HashMap<String, String>,
    expires: bool,
) -> Vec<String> {
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let status = field("status");
    let mut found = Vec::new();
    let mut check = |holds: bool, sentence: String| {
        if !holds {
            found.push(format!("record {id}: {sentence}"));
        }
    };
    check(expires, "it never expires".to_owned());
    check(
        keyspace.members("weather-results-expiry").contains(id),
        "nobody will remove it".to_owned(),
    );
    for other in FINAL.iter().chain(&["queued", "processing"]) {
        let is_in = keyspace.members(&format!("weather-results:{other}")).contains(id);
        check(
            is_in == (*other == status),
            format!("it is {status}, and the list of {other} is wrong about it"),
        );
    }
    if let Some(key) = fields.get("key") {
        let named = keyspace.text(key).and_then(|text| text.split(' ').next());
        check(
            named == Some(id),
            "its key stands for another request, or for none".to_owned(),
        );
    }
    match FINAL.contains(&status) {
        true => check(ended_well(guests, id, status, field("outcome"), field("data")), {
            format!("it {status} with {} {}", field("outcome"), shown(field("data")))
        }),
        false => check(false, format!("it is still {}", shown(status))),
    }
    found
}

/// Whether an outcome agrees with its status, and belongs to a request that we made.
fn ended_well(guests: &Guests, id: &str, status: &str, outcome: &str, data: &str) -> bool {
    if outcome == "ok" {
        let Ok(weather) = serde_json::from_str::<NetworkFault>(data) else {
            return false;
        };
        let nonce: Option<Nonce> = weather.city.parse().ok();
        return status == "succeeded" && weather.id == id && nonce.is_some_and(|nonce| nonce.run == guests.run);
    }
    let Ok(fault) = serde_json::from_str::<Fault>(data) else {
        return false;
    };
    let agrees = match fault.code.as_str() {
        code @ ("expired" | "cancelled") => status == code,
        _ => status == "failed",
    };
    // A fault does not say whose it is.
    outcome == "fault" && agrees && (guests.told.contains(id) || guests.some_left)
}

fn index(keyspace: &Keyspace, status: &str, members: &HashSet<String>) -> Vec<String> {
    let is_status = FINAL.contains(&status) || status == "queued" || status == "processing";
    let mut found: Vec<_> = members
        .iter()
        .filter(|id| keyspace.record(id).is_none())
        .map(|id| format!("the list of {status} has {id}, of which there is no record"))
        .collect();
    if !is_status {
        found.push(format!("a list of {}, which is no status", shown(status)));
    }
    found
}

fn claim(keyspace: &Keyspace, name: &str, text: &str, expires: bool) -> Vec<String> {
    let id = text.split(' ').next().unwrap_or_default();
    let stands = keyspace
        .record(id)
        .and_then(|fields| fields.get("key"))
        .is_some_and(|key| key == name);
    let mut found = Vec::new();
    if !stands {
        found.push(format!(
            "{name} stands for {}, whose record does not know it",
            shown(id)
        ));
    }
    if !expires {
        found.push(format!("{name} never expires"));
    }
    found
}

impl Content {
    fn kind(&self) -> &str {
        match self {
            Self::Stream(_) => "stream",
            Self::Sorted(_) => "zset",
            Self::Hash(_) => "hash",
            Self::Text(_) => "string",
            Self::Other(kind) => kind,
        }
    }
}

impl Keyspace {
    fn content(&self, name: &str) -> Option<&Content> {
        self.keys.get(name).map(|key| &key.content)
    }

    fn record(&self, id: &str) -> Option<&HashMap<String, String>> {
        match self.content(&format!("weather-result:{id}"))? {
            Content::Hash(fields) => Some(fields),
            _ => None,
        }
    }

    fn replies_of(&self, instance: &str) -> Option<&Content> {
        self.content(&format!("weather-responses:{instance}"))
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.content(name)? {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members of a sorted set; one that is not there has none.
    fn members(&self, name: &str) -> &HashSet<String> {
        static NONE: std::sync::LazyLock<HashSet<String>> = std::sync::LazyLock::new(HashSet::new);
        match self.content(name) {
            Some(Content::Sorted(members)) => members,
            _ => &NONE,
        }
    }
}
