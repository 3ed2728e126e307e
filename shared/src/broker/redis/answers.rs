//! What the server answers to the rare calls, read into types. The rule: a wrong shape is an error, never a value. The
//! library's own types are not as strict: `u64` reads -1 as a large number, and `Vec` reads nil as an empty list.

use bytes::Bytes;
use redis::{FromRedisValue, ParsingError, Value, from_redis_value};

use crate::broker::Position;
use crate::broker::redis::codec::Fields;

/// A number that is not negative.
pub(super) struct Count(pub(super) u64);

/// A list.
pub(super) struct List<T>(pub(super) Vec<T>);

/// A list of names, each with its value.
pub(super) struct Pairs(pub(super) Fields);

/// The last entry that was looked at; an empty text where there are no more.
pub(super) struct Last(pub(super) Option<Position>);

impl FromRedisValue for Count {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let number = from_redis_value::<i64>(value)?;
        u64::try_from(number).map(Self).map_err(|_| "a negative count".into())
    }
}

impl<T: FromRedisValue> FromRedisValue for List<T> {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let items = items(value)?;
        items
            .into_iter()
            .map(from_redis_value)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromRedisValue for Pairs {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let items = items(value)?;
        let mut fields = Fields::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let Some(name) = items.next() {
            let value = items.next().ok_or("a name without a value")?;
            fields.push((from_redis_value(name)?, from_redis_value(value)?));
        }
        Ok(Self(fields))
    }
}

impl FromRedisValue for Position {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let text: Bytes = from_redis_value(value)?;
        Self::parse(&text).ok_or_else(|| "not an entry's id".into())
    }
}

impl FromRedisValue for Last {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match value {
            Value::BulkString(text) if text.is_empty() => Ok(Self(None)),
            value => from_redis_value(value).map(|entry| Self(Some(entry))),
        }
    }
}

fn items(value: Value) -> Result<Vec<Value>, ParsingError> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err("not a list".into()),
    }
}
