//! Dead letters as JSON. Whatever is in a letter came from outside, so it is bounded here, and shown as text
//! only where it is text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roundtrip::broker::{Position, StoredLetter};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// The longest part of a value that is shown, in bytes.
const MAX_SHOWN: usize = 16 * 1024;

/// A page of dead letters, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LetterPage {
    /// The letters.
    pub(super) items: Vec<LetterItem>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(example = "1763687432117-0")]
    pub(super) next: Option<String>,
}

/// What is known about a dead letter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LetterItem {
    /// The letter's id.
    #[schema(example = "1763687432117-0")]
    id: String,
    /// The correlation id of the request in it; null where that cannot be read.
    #[schema(format = Uuid, example = "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f")]
    request_id: Option<String>,
    /// The operation whose request it was.
    #[schema(example = "weather")]
    operation: &'static str,
    /// Why it was given up; at most 16 KiB of it.
    #[schema(example = "delivered 5 times without an answer")]
    reason: String,
    /// How often it had been delivered.
    #[schema(example = 5)]
    attempts: u32,
    /// What the last attempt failed with, at most 16 KiB of it; empty where nobody lived to tell.
    #[schema(example = "")]
    last_error: String,
    /// When the request was accepted, RFC 3339 in UTC, on the broker's clock; null in a letter that somebody
    /// wrote by hand.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    accepted_at: Option<OffsetDateTime>,
    /// When it was given up, RFC 3339 in UTC, on the broker's clock; null where the id holds no date.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    dead_lettered_at: Option<OffsetDateTime>,
    /// Whether it holds a request, so that it can be replayed.
    replayable: bool,
}

/// A dead letter with what was given up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Letter {
    #[serde(flatten)]
    item: LetterItem,
    /// The fields of the entry that was given up, in their order.
    fields: Vec<Field>,
}

/// One field of what was given up.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Field {
    /// Its name, at most 16 KiB of it; bytes that are no UTF-8 are replaced.
    #[schema(example = "data")]
    name: String,
    /// Its value, or the first 16 KiB of it.
    #[schema(example = r#"{"text":"hello"}"#)]
    value: String,
    /// How `value` is written: `utf-8` as it is, or `base64` of what is no UTF-8.
    #[schema(example = "utf-8")]
    encoding: &'static str,
    /// How long the whole value is, in bytes.
    #[schema(example = 15)]
    length: usize,
    /// Whether `value` is only the beginning of it.
    truncated: bool,
}

/// What a replay made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Replay {
    /// The new entry in the request stream.
    #[schema(example = "1763687499001-0")]
    pub(super) entry_id: String,
    /// The correlation id of the request: the same as before.
    #[schema(format = Uuid, example = "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f")]
    pub(super) request_id: String,
}

impl From<&StoredLetter> for LetterItem {
    fn from(letter: &StoredLetter) -> Self {
        Self {
            id: letter.id.to_string(),
            request_id: letter.request_id().map(|id| id.to_string()),
            operation: letter.operation.as_str(),
            reason: beginning(&letter.reason).to_owned(),
            attempts: letter.attempts,
            last_error: beginning(&letter.last_error).to_owned(),
            accepted_at: letter.entry.and_then(time_of),
            dead_lettered_at: time_of(letter.id.at),
            replayable: letter.replayable,
        }
    }
}

impl From<&StoredLetter> for Letter {
    fn from(letter: &StoredLetter) -> Self {
        let fields = letter.fields.iter().map(|(name, value)| Field::new(name, value));
        Self {
            item: letter.into(),
            fields: fields.collect(),
        }
    }
}

impl Field {
    fn new(name: &[u8], value: &[u8]) -> Self {
        // By the whole value, so that the same one is not shown differently for where it is cut.
        let (value_shown, encoding) = match std::str::from_utf8(value) {
            Ok(text) => (beginning(text).to_owned(), "utf-8"),
            Err(_) => (STANDARD.encode(&value[..value.len().min(MAX_SHOWN)]), "base64"),
        };
        Self {
            name: beginning(&String::from_utf8_lossy(name)).to_owned(),
            value: value_shown,
            encoding,
            length: value.len(),
            truncated: value.len() > MAX_SHOWN,
        }
    }
}

/// As much of a text as is shown, in whole characters.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(MAX_SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Ids begin with the broker's time; those that somebody made up may lie beyond any calendar.
fn time_of(id: Position) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(id.millis) * 1_000_000).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roundtrip::broker::LetterId;
    use roundtrip::{CorrelationId, OperationName};
    use serde_json::{Value, json};

    use super::*;

    fn letter() -> StoredLetter {
        StoredLetter {
            id: LetterId::parse(b"1763687432117-0").unwrap(),
            operation: OperationName::first(),
            entry: Position::parse(b"1763687400000-7"),
            reason: "it never worked".to_owned(),
            attempts: 5,
            last_error: "a panic".to_owned(),
            replayable: true,
            fields: Vec::new(),
        }
    }

    fn shown(letter: &StoredLetter) -> Value {
        serde_json::to_value(Letter::from(letter)).unwrap()
    }

    #[test]
    fn a_letter_is_shown_with_its_times_and_its_request() {
        let id = CorrelationId::new().to_string();
        let fields = vec![("requestId".into(), id.clone().into())];
        let expected = json!({
            "id": "1763687432117-0", "requestId": id, "operation": "weather", "reason": "it never worked", "attempts": 5,
            "lastError": "a panic", "acceptedAt": "2025-11-21T01:10:00Z", "deadLetteredAt": "2025-11-21T01:10:32.117Z",
            "replayable": true,
            "fields": [{"name": "requestId", "value": id, "encoding": "utf-8", "length": 36, "truncated": false}],
        });
        assert_eq!(shown(&StoredLetter { fields, ..letter() }), expected);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let made_up = Position {
            millis: u64::MAX,
            sequence: 0,
        };
        let document = shown(&StoredLetter {
            id: LetterId::of(made_up),
            entry: None,
            fields: vec![("requestId".into(), "4711".into())],
            ..letter()
        });
        for member in ["requestId", "acceptedAt", "deadLetteredAt"] {
            assert_eq!(document[member], Value::Null, "{member}: {document}");
        }
    }

    #[test]
    fn what_is_no_text_is_shown_in_base64() {
        let field = Field::new(b"data\xff", b"\xff\x00");
        assert_eq!((field.value.as_str(), field.encoding), ("/wA=", "base64"));
        assert_eq!((field.length, field.truncated), (2, false));
        assert_eq!(field.name, "data\u{fffd}");
    }

    #[test]
    fn long_values_are_cut_and_their_length_is_told() {
        let fits = Field::new(b"data", &[b'x'; MAX_SHOWN]);
        assert_eq!((fits.value.len(), fits.truncated), (MAX_SHOWN, false));
        // Two bytes each, beginning at an odd place: the limit falls into a character.
        let text = format!("x{}", "ö".repeat(MAX_SHOWN));
        let cut = Field::new(b"data", text.as_bytes());
        assert_eq!((cut.value.len(), cut.encoding), (MAX_SHOWN - 1, "utf-8"));
        assert_eq!((cut.length, cut.truncated), (2 * MAX_SHOWN + 1, true));
        let cut = Field::new(b"data", &[0xff; 3 * MAX_SHOWN]);
        assert_eq!(STANDARD.decode(&cut.value).unwrap(), vec![0xff; MAX_SHOWN]);
        assert_eq!((cut.length, cut.truncated), (3 * MAX_SHOWN, true));
    }
}
