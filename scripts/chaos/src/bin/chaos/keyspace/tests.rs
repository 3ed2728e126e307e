//! Forged contents: each has one key that should not be there, or not so.

use super::*;

const ID: &str = "01a1ffc1-a70e-776f-8a05-1f10ee7a068b";
const OTHER: &str = "01a1ffc1-a70e-776f-8a05-1f10ee7a068c";
const KEY: &str = "weather-key:abc";

fn key(content: Content) -> Key {
    Key { expires: true, content }
}

fn sorted(members: &[&str]) -> Key {
    key(Content::Sorted(
        members.iter().map(|member| (*member).to_owned()).collect(),
    ))
}

fn hash(fields: &[(&str, &str)]) -> Key {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    key(Content::Hash(fields.iter().map(own).collect()))
}

fn weather(id: &str, city: &str) -> String {
    format!(r#"{{"city":"{city}","requestId":"{id}"}}"#)
}

fn result(status: &str, outcome: &str, data: &str) -> Key {
    hash(&[("status", status), ("outcome", outcome), ("data", data), ("key", KEY)])
}

/// One ingress, and the result of one request with a key.
fn clean() -> Keyspace {
    let data = weather(ID, "good-00000007-1");
    let keys = [
        ("weather-requests", key(Content::Stream(0))),
        ("weather-dead-letters", key(Content::Stream(2))),
        ("weather-responses:a", key(Content::Stream(0))),
        ("weather-requesters", sorted(&["a"])),
        ("weather-requesters-gone", sorted(&["b"])),
        (&format!("weather-result:{ID}"), result("succeeded", "ok", &data)),
        ("weather-results:succeeded", sorted(&[ID])),
        ("weather-results-expiry", sorted(&[ID])),
        (KEY, key(Content::Text(format!("{ID} abcdef")))),
        (
            "weather-counts",
            hash(&[("discarded", "12"), ("terminals:worker-1", "64")]),
        ),
    ];
    Keyspace {
        keys: keys.into_iter().map(|(name, key)| (name.to_owned(), key)).collect(),
        consumers: HashSet::from(["worker-1".to_owned()]),
    }
}

fn found(keyspace: &Keyspace) -> Vec<String> {
    let guests = Guests {
        run: 7,
        ..Guests::default()
    };
    rules::judge(keyspace, &guests)
}

/// What is found where one key is another.
fn with(name: &str, key: Key) -> Vec<String> {
    let mut keyspace = clean();
    keyspace.keys.insert(name.to_owned(), key);
    found(&keyspace)
}

#[test]
fn what_services_keep_is_no_surplus() {
    assert_eq!(found(&clean()), [""; 0]);
    assert_eq!(found(&Keyspace::default()), [""; 0]);
}

#[test]
fn a_key_that_nobody_knows_is_named() {
    for name in ["weather-requests:1", "weather-temporary", "other-requests", "x"] {
        let found = with(name, key(Content::Text("1".to_owned())));
        assert_eq!(found, [format!("nobody knows the key {name} (string)")]);
    }
    assert_eq!(with("weather-key", key(Content::Text("1".to_owned()))).len(), 1);
    let of_another_type = with("weather-requests", key(Content::Other("list".to_owned())));
    assert_eq!(of_another_type, ["nobody knows the key weather-requests (list)"]);
}

#[test]
fn a_reply_stream_that_nobody_reads_is_found() {
    assert_eq!(with("weather-responses:a", key(Content::Stream(1))).len(), 1);
    assert_eq!(with("weather-responses:c", key(Content::Stream(0))).len(), 1);
    assert_eq!(with("weather-requesters", sorted(&["a", "c"])).len(), 1);
    assert_eq!(with("weather-requesters-gone", sorted(&["a"])).len(), 1);
}

#[test]
fn a_record_that_has_not_ended_is_found() {
    for status in ["queued", "processing", ""] {
        let mut keyspace = clean();
        let record = hash(&[("status", status), ("key", KEY)]);
        keyspace.keys.insert(format!("weather-result:{ID}"), record);
        keyspace.keys.remove("weather-results:succeeded");
        keyspace.keys.insert(format!("weather-results:{status}"), sorted(&[ID]));
        let found = found(&keyspace);
        assert!(found[0].ends_with(&format!("it is still {status}")), "{found:?}");
    }
}

#[test]
fn a_record_of_another_or_with_another_outcome_is_found() {
    let record = format!("weather-result:{ID}");
    for (status, outcome, data) in [
        ("succeeded", "ok", weather(OTHER, "good-00000007-1")),
        ("succeeded", "ok", weather(ID, "good-00000008-1")),
        ("succeeded", "ok", weather(ID, "Oslo")),
        ("succeeded", "ok", "half of i".to_owned()),
        ("succeeded", "fault", r#"{"code":"expired"}"#.to_owned()),
        ("succeeded", "", String::new()),
    ] {
        assert_eq!(
            with(&record, result(status, outcome, &data)).len(),
            1,
            "{outcome} {data}"
        );
    }
}

#[test]
fn a_fault_belongs_to_who_was_told_or_to_who_left() {
    let mut keyspace = clean();
    let fault = result("expired", "fault", r#"{"code":"expired"}"#);
    keyspace.keys.insert(format!("weather-result:{ID}"), fault);
    keyspace.keys.remove("weather-results:succeeded");
    keyspace
        .keys
        .insert("weather-results:expired".to_owned(), sorted(&[ID]));
    assert_eq!(found(&keyspace).len(), 1);
    let mut guests = Guests {
        run: 7,
        some_left: true,
        ..Guests::default()
    };
    assert_eq!(rules::judge(&keyspace, &guests), [""; 0]);
    guests.some_left = false;
    guests.told.insert(ID.to_owned());
    assert_eq!(rules::judge(&keyspace, &guests), [""; 0]);
}

#[test]
fn lists_and_keys_that_point_to_nothing_are_found() {
    assert_eq!(with("weather-results:failed", sorted(&[OTHER])).len(), 1);
    assert_eq!(with("weather-results:failed", sorted(&[ID])).len(), 1);
    assert_eq!(with("weather-results:done", sorted(&[])).len(), 1);
    assert_eq!(with("weather-results-expiry", sorted(&[ID, OTHER])).len(), 1);
    assert_eq!(with("weather-results-expiry", sorted(&[])).len(), 1);
    assert_eq!(
        with("weather-key:def", key(Content::Text(format!("{OTHER} abc")))).len(),
        1
    );
    assert_eq!(
        with("weather-key:def", key(Content::Text(format!("{ID} abc")))).len(),
        1
    );
    // The record's own key names another.
    assert_eq!(with(KEY, key(Content::Text(format!("{OTHER} abc")))).len(), 2);
}

#[test]
fn what_never_expires_is_found() {
    for name in [&format!("weather-result:{ID}"), KEY] {
        let mut keyspace = clean();
        if let Some(key) = keyspace.keys.get_mut(name) {
            key.expires = false;
        }
        assert_eq!(found(&keyspace).len(), 1, "{name}");
    }
}

#[test]
fn wishes_and_counts_are_looked_at() {
    assert_eq!(
        with("weather-cancelling", sorted(&[ID])),
        [format!("{ID} is still to be cancelled")]
    );
    assert_eq!(with("weather-counts", hash(&[("discarded", "-1")])).len(), 1);
    assert_eq!(with("weather-counts", hash(&[("other", "1")])).len(), 1);
    assert_eq!(with("weather-counts", hash(&[("terminals:worker-2", "64")])).len(), 1);
}

#[test]
fn much_that_is_wrong_is_told_in_few_words_and_large_results_not_whole() {
    let mut keyspace = clean();
    for number in 0..100 {
        let name = format!("weather-surplus-{number}");
        keyspace.keys.insert(name, key(Content::Text(String::new())));
    }
    let told = found(&keyspace);
    assert_eq!((told.len(), told.last().map(String::as_str)), (21, Some("and 80 more")));
    let large = weather(ID, &"x".repeat(1 << 20));
    let told = with(&format!("weather-result:{ID}"), result("succeeded", "ok", &large));
    assert!(told[0].len() < 400, "{told:?}");
}
