//! Messages as stream fields, and back. Always the same fields in the same order, so that Redis stores
//! their names once per node; whatever was put in by hand is read in any order.

use std::borrow::Cow;

use bytes::Bytes;

use crate::broker::redis::connection::resp::{Commands, Cursor};

use crate::broker::{LetterId, Malformed, Position};
use crate::message::{Budget, CorrelationId, Fault, FaultCode, Keep, Origin, Reply, ReplyTo, Request, Tenant};
use crate::operation::OperationName;

const REQUEST_ID: &str = "requestId";
const REPLY_TO: &str = "replyTo";
const BUDGET: &str = "budgetMs";
const TRACEPARENT: &str = "traceparent";
const STATUS: &str = "status";
const DATA: &str = "data";
/// Only in requests of which something is kept.
const KEEP: &str = "keep";
/// Only where it is not the first operation.
pub(super) const OPERATION: &str = "operation";
/// Only where it is not the default tenant.
pub(super) const TENANT: &str = "tenant";
/// Only in the reply to a request that was given up. Written by a script, which learns the letter's id.
pub(super) const DEAD_LETTER: &str = "deadLetter";

const STATUS_OK: &str = "ok";
const STATUS_FAULT: &str = "fault";

/// The fields of one stream entry, as they came.
pub(super) type Fields = Vec<(Bytes, Bytes)>;

/// A place that takes a command's arguments one by one.
pub(super) trait Arguments {
    fn push(&mut self, argument: &[u8]);
}

impl Arguments for Commands {
    fn push(&mut self, argument: &[u8]) {
        self.arg(argument);
    }
}

impl Arguments for Vec<Vec<u8>> {
    fn push(&mut self, argument: &[u8]) {
        Vec::push(self, argument.to_vec());
    }
}

/// How many arguments a request takes, names and values.
pub(super) fn request_arguments(request: &Request) -> usize {
    10 + 2 * usize::from(request.keep != Keep::No) + origin_arguments(&request.origin)
}

/// How many arguments a reply takes, names and values.
pub(super) fn reply_arguments(reply: &Reply) -> usize {
    6 + origin_arguments(&reply.origin)
}

fn origin_arguments(origin: &Origin) -> usize {
    2 * usize::from(!origin.operation.goes_without_saying()) + 2 * usize::from(origin.tenant.name().is_some())
}

/// What is said of an operation and a tenant, each empty where nothing is.
pub(super) fn origin(origin: &Origin) -> [&str; 2] {
    let operation = match origin.operation.goes_without_saying() {
        true => "",
        false => origin.operation.as_str(),
    };
    [operation, origin.tenant.name().unwrap_or_default()]
}

fn write_origin(arguments: &mut impl Arguments, of: &Origin) {
    for (name, value) in [OPERATION, TENANT].into_iter().zip(origin(of)) {
        if !value.is_empty() {
            write(arguments, name, value.as_bytes());
        }
    }
}

/// Reads what a reply or a record is of. What is no name is nobody's, and counts as unsaid.
pub(super) fn read_origin(fields: &Fields) -> Origin {
    let text = |name| std::str::from_utf8(field(fields, name)?).ok();
    Origin {
        operation: operation(fields),
        tenant: text(TENANT).and_then(|name| name.parse().ok()).unwrap_or_default(),
    }
}

/// The operation that fields name.
pub(super) fn operation(fields: &Fields) -> OperationName {
    let name = field(fields, OPERATION).and_then(|name| std::str::from_utf8(name).ok());
    let known = name.and_then(|name| OperationName::of(name).ok());
    known.unwrap_or_else(OperationName::first)
}

pub(super) fn write_request(arguments: &mut impl Arguments, request: &Request) {
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = request.id.as_uuid().as_hyphenated().encode_lower(&mut id);
    write(arguments, REQUEST_ID, id.as_bytes());
    write(arguments, REPLY_TO, request.reply_to.as_str().as_bytes());
    write(
        arguments,
        BUDGET,
        itoa::Buffer::new().format(request.budget.as_millis()).as_bytes(),
    );
    write(
        arguments,
        TRACEPARENT,
        request.traceparent.as_deref().unwrap_or_default().as_bytes(),
    );
    write(arguments, DATA, &request.data);
    if let Some(keep) = request.keep.as_str() {
        write(arguments, KEEP, keep.as_bytes());
    }
    write_origin(arguments, &request.origin);
}

pub(super) fn write_reply(arguments: &mut impl Arguments, reply: &Reply) {
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = reply.id.as_uuid().as_hyphenated().encode_lower(&mut id);
    write(arguments, REQUEST_ID, id.as_bytes());
    let (status, data) = outcome(reply);
    write(arguments, STATUS, status.as_bytes());
    write(arguments, DATA, &data);
    write_origin(arguments, &reply.origin);
}

/// A reply's status, and its data.
pub(super) fn outcome(reply: &Reply) -> (&'static str, Cow<'_, [u8]>) {
    match &reply.outcome {
        Ok(data) => (STATUS_OK, Cow::Borrowed(data)),
        Err(fault) => {
            let data = serde_json::to_vec(fault).expect("a fault has only text and numbers");
            (STATUS_FAULT, Cow::Owned(data))
        }
    }
}

fn write(arguments: &mut impl Arguments, name: &str, value: &[u8]) {
    arguments.push(name.as_bytes());
    arguments.push(value);
}

/// The largest data of a message, in bytes: no ingress accepts a larger body.
pub(super) const MAX_DATA: usize = 64 * 1024 * 1024;

/// What is kept of an entry that is no request: nobody needs more to see what it was, and it is written back
/// as a dead letter.
const MAX_KEPT_FIELDS: usize = 64;
const MAX_KEPT_VALUE: usize = 64 * 1024;

/// Reads a request from the fields of an entry in an operation's queue, or says what is wrong with it. The queue says
/// what it is of, whatever the entry says.
pub(super) fn read_request(operation: OperationName, fields: Fields) -> Result<Request, Malformed> {
    let id = field(&fields, REQUEST_ID).and_then(|value| CorrelationId::parse(value));
    let reply_to = field(&fields, REPLY_TO)
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|name| name.parse::<ReplyTo>().ok());
    let budget = field(&fields, BUDGET).and_then(|value| Budget::parse(value));
    let data = field(&fields, DATA).cloned();
    let tenant = tenant(&fields);
    let problem = match (&id, &reply_to, budget, &data) {
        (None, ..) => "field requestId: a UUID is expected, with hyphens and in lower case",
        (_, None, ..) => "field replyTo: 1 to 64 characters of A-Z a-z 0-9 . _ - are expected",
        (_, _, None, _) => "field budgetMs: a whole number from 0 to 86400000 is expected",
        (.., None) => "field data: a JSON document is expected",
        (.., Some(data)) if data.len() > MAX_DATA => "field data: at most 64 MiB are expected",
        _ if tenant.is_none() => "field tenant: 1 to 64 characters of A-Z a-z 0-9 . _ - are expected",
        _ => "",
    };
    if problem.is_empty()
        && let (Some(id), Some(reply_to), Some(budget), Some(data)) = (id, &reply_to, budget, data)
        && let Some(tenant) = tenant
    {
        return Ok(Request {
            id,
            origin: Origin { operation, tenant },
            reply_to: reply_to.clone(),
            budget,
            traceparent: traceparent(&fields),
            keep: field(&fields, KEEP).map_or(Keep::No, |name| Keep::parse(name)),
            // A copy: a slice would keep the whole read alive for as long as the work on one request takes.
            data: Bytes::copy_from_slice(&data),
        });
    }
    Err(Malformed {
        reason: problem.to_owned(),
        requester: id.zip(reply_to),
        fields: cut(fields),
    })
}

/// What there is to say of an entry that was not read to its end, from the fields before that.
pub(super) fn unread_request(fields: Fields, too_large: bool) -> Malformed {
    let id = field(&fields, REQUEST_ID).and_then(|value| CorrelationId::parse(value));
    let reply_to = field(&fields, REPLY_TO)
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|name| name.parse::<ReplyTo>().ok());
    let reason = match too_large {
        true => "the entry: at most 64 MiB of data are expected",
        false => "the entry: the server sends it too slowly, and more than once",
    };
    Malformed {
        reason: reason.to_owned(),
        requester: id.zip(reply_to),
        fields: cut(fields),
    }
}

fn cut(fields: Fields) -> Fields {
    let cut = |bytes: Bytes| Bytes::copy_from_slice(&bytes[..bytes.len().min(MAX_KEPT_VALUE)]);
    let kept = fields.into_iter().take(MAX_KEPT_FIELDS);
    kept.map(|(name, value)| (cut(name), cut(value))).collect()
}

/// Whose request it is; `None` where that is no name.
fn tenant(fields: &Fields) -> Option<Tenant> {
    match field(fields, TENANT) {
        None => Some(Tenant::default()),
        Some(name) => std::str::from_utf8(name).ok()?.parse().ok(),
    }
}

/// A traceparent is ASCII and short; anything else is ignored, as its specification asks.
fn traceparent(fields: &Fields) -> Option<std::sync::Arc<str>> {
    let value = field(fields, TRACEPARENT)?;
    let valid = (1..=256).contains(&value.len()) && value.is_ascii();
    valid.then(|| std::str::from_utf8(value).ok().map(Into::into)).flatten()
}

/// Reads a reply from an entry's fields; `None` when it is none.
pub(super) fn read_reply(fields: &Fields) -> Option<Reply> {
    let id = CorrelationId::parse(field(fields, REQUEST_ID)?)?;
    let outcome = read_outcome(field(fields, STATUS)?, field(fields, DATA)?, field(fields, DEAD_LETTER));
    Some(Reply::new(id, read_origin(fields), outcome))
}

/// The reply in place of one that was not read to its end; `None` when it does not even say whose it is.
pub(super) fn unread_reply(fields: &Fields, too_large: bool) -> Option<Reply> {
    let id = CorrelationId::parse(field(fields, REQUEST_ID)?)?;
    let detail = match too_large {
        true => "the answer is larger than 64 MiB",
        false => "the answer is too large to be read in time",
    };
    let fault = Fault::new(FaultCode::ResultTooLarge, detail);
    Some(Reply::new(id, read_origin(fields), Err(fault)))
}

/// Reads a reply's outcome from its status, its data, and the letter it became. Every status but `ok` is a fault, as it
/// is for the scripts: whoever waits hears of it, whatever a foreign worker wrote.
pub(super) fn read_outcome(status: &[u8], data: &Bytes, letter: Option<&Bytes>) -> Result<Bytes, Fault> {
    if status == STATUS_OK.as_bytes() {
        return Ok(data.clone());
    }
    Err(Fault {
        dead_letter: letter.and_then(|id| LetterId::parse(id)).map(|id| id.to_string()),
        ..read_fault(data)
    })
}

fn read_fault(data: &[u8]) -> Fault {
    serde_json::from_slice(data).unwrap_or_else(|_| {
        Fault::new(
            FaultCode::Internal,
            "the worker reported a fault that could not be read",
        )
    })
}

pub(super) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Bytes> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Reads the answer of XREAD or XREADGROUP on one stream: nothing, or `[[key, [entry, …]]]`. Entries that
/// were deleted meanwhile have no fields and are left out.
pub(super) fn read_stream(answer: &mut Cursor) -> Option<Vec<(Position, Fields)>> {
    if answer.list_or_nil()? == 0 {
        return Some(Vec::new());
    }
    let (_pair, _key) = (answer.list()?, answer.text()?);
    read_range(answer)
}

/// Reads the answer of XRANGE: `[[id, [name, value, …]], …]`.
pub(super) fn read_range(answer: &mut Cursor) -> Option<Vec<(Position, Fields)>> {
    let count = answer.list()?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let (id, fields, whole) = read_one(answer)?;
        if !whole {
            return None;
        }
        if !fields.is_empty() {
            entries.push((id, fields));
        }
    }
    Some(entries)
}

/// Reads one entry, as far as it goes: its id, its fields, and whether these are all.
#[inline]
pub(super) fn read_one(answer: &mut Cursor) -> Option<(Position, Fields, bool)> {
    answer.list()?;
    let id = Position::parse(&answer.text()?)?;
    let count = answer.list_or_nil()? / 2;
    let mut fields = Vec::with_capacity(count.min(MAX_KEPT_FIELDS));
    for _ in 0..count {
        let (Some(name), Some(value)) = (answer.text(), answer.text()) else {
            return Some((id, fields, false));
        };
        fields.push((name, value));
    }
    Some((id, fields, true))
}

/// Reads the answer of TIME as milliseconds since the Unix epoch.
pub(super) fn read_time(answer: &mut Cursor) -> Option<u64> {
    answer.list()?;
    Some(answer.number()? * 1000 + answer.number()? / 1000)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
