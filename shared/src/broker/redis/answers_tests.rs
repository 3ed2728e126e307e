//! Each call, with answers that do not fit it: an error, never a value. See `scripted.rs` for how answers are written.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::errors::MISFIT;
use super::scripted::Scripted;
use crate::broker::conformance::{FirstQueue as _, FirstRecords as _};
use crate::broker::{
    Acceptance, Broker, BrokerError, BrokerErrorKind, Consumer, DeadLetter, DeadLetters, Durability, EntryId, LetterId,
    Position, Receipt, ResultStore, Role, Settlement, Status,
};
use crate::message::{Budget, CorrelationId, Keep, Origin, Reply, ReplyTo, Request};
use crate::operation::OperationName;

pub(super) const ENTRY: Position = Position { millis: 1, sequence: 0 };
pub(super) fn entry() -> EntryId {
    EntryId::of(OperationName::first(), ENTRY)
}

pub(super) const TIME: &str = "*2 $1700000000 $0";

/// Makes a call for each of these answers.
macro_rules! misfits {
    ($($name:ident($broker:ident) $call:expr; $($answer:expr),+;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                for answer in [$($answer.to_string()),+] {
                    let server = Scripted::start().await;
                    server.answer(&answer);
                    let $broker = server.broker(Durability::Volatile);
                    let outcome = $call.await;
                    refused(&answer, &outcome);
                    assert_eq!(cause(&outcome.unwrap_err()), MISFIT, "{answer}");
                }
            }
        )+
    };
}

fn refused<T: std::fmt::Debug>(answer: &str, outcome: &Result<T, BrokerError>) {
    let kind = outcome.as_ref().map_err(BrokerError::kind);
    assert_eq!(kind.err(), Some(BrokerErrorKind::Unconfirmed), "{answer}: {outcome:?}");
}

/// The cause at the end of the chain.
fn cause(error: &BrokerError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

misfits! {
    publishing_one(broker) broker.publish(&[request()]);
        ":0 | :7", ":0 | _", ":0 | $no-id";
    publishing_some(broker) broker.publish(&[request(), request()]);
        ":0 | +OK | +QUEUED | +QUEUED | :7", ":0 | +OK | +QUEUED | +QUEUED | *1 $1-0",
        ":0 | +OK | +QUEUED | +QUEUED | *2 $1-0 :7", ":0 | +OK | +QUEUED | +QUEUED | _";
    making_the_group(broker) broker.prepare();
        ":7", "_", "*0";
    claiming(broker) broker.claim(&consumer(), 1);
        format!(":7 | {TIME}"), format!("*1 *2 $key :7 | {TIME}"), format!("*1 *2 $key *1 :7 | {TIME}"),
        format!("*1 *2 $key *1 *2 $1-0 *2 $field :7 | {TIME}"), "_ | :7", "_ | *2 $a $b", format!("*2 :1 :2 | {TIME}");
    claiming_what_is_due(broker) broker.claim_due(&consumer(), Duration::ZERO, 1);
        ":7", "_", "*2 :1 :2", format!("*2 {TIME} :7"), format!("*2 {TIME} _");
    recovering(broker) broker.recover(&consumer(), &HashSet::new(), 1);
        ":7", "_", "*1 :7", "*1 *3 $1-0 $me :5", "*1 *4 $1-0 $me :5 $many", "*1 *4 $no-id $me :5 :1";
    reclaiming(broker) broker.reclaim(&consumer(), Duration::ZERO, 1);
        ":7", "_", "*0", "*1 :1700000000000", "*2 $now $0-0", "*2 :1700000000000 $no-id",
        "*3 :1700000000000 $0-0 $1-0", "*4 :1700000000000 $0-0 $1-0 _";
    delivering_again(broker) broker.redeliver(&consumer(), &[(entry(), 2)]);
        format!(":7 | {TIME} | *0"), format!("_ | {TIME} | *0"), format!("*1 $no-id | {TIME} | *0"), "*0 | :7 | *0",
        format!("*1 $1-0 | {TIME} | :7"), format!("*1 $1-0 | {TIME} | *1 *2 $1-0 *2 $field :7");
    renewing(broker) broker.renew(&consumer(), &[receipt()]);
        ":7", "_", "*1 :1", "*2 $many :1700000000000", "*2 :1 $now";
    handing_back(broker) broker.release(&consumer(), &[entry()]);
        "_", "*0", "$done";
    leaving(broker) broker.deregister(&consumer());
        ":7", "_", "*0", "$no-id";
    maintaining(broker) broker.maintain(&consumer(), 1, Duration::ZERO);
        ":7", "_", "*2 :0 :0", "*2 $none $0-0", "*1 :0", "*2 :0 $no-id";
    looking_for_gaps(broker) broker.maintain(&consumer(), 1, Duration::ZERO);
        "*2 :0 $5-0 | :7", "*2 :0 $5-0 | _", "*2 :0 $5-0 | *1 :7", "*2 :0 $5-0 | *1 *4 $no-id $me :5 :1";
    looking_between(broker) broker.maintain(&consumer(), 1, Duration::ZERO);
        "*2 :0 $5-0 | *0 | :7", "*2 :0 $5-0 | *0 | *1 :7", "*2 :0 $5-0 | *0 | *1 *2 $1-0 *2 $field :7";
    rescuing(broker) broker.maintain(&consumer(), 1, Duration::ZERO);
        "*2 :0 $5-0 | *0 | *1 *2 $1-0 *2 $a $b | _", "*2 :0 $5-0 | *0 | *1 *2 $1-0 *2 $a $b | *0";
    settling(broker) broker.settle(&[settlement()]);
        "+OK | +QUEUED | +QUEUED | +QUEUED | :7", "+OK | +QUEUED | +QUEUED | +QUEUED | _",
        "+OK | +QUEUED | +QUEUED | +QUEUED | *1 $1-0", "+OK | +QUEUED | +QUEUED | +QUEUED | *3 :7 :1 :1";
    settling_by_script(broker) broker.settle(&[letter()]);
        "_ | :1", "*0 | :1", "$done | :1", ":9 | :1";
    saying_that_we_are_there(broker) broker.heartbeat(&requester());
        ":7", "_", "*0", "*3 :0 :0 :0", "*4 :0 :0 :0 :0", "*4 :0 :0 :0 *1 $name", "*4 _ :0 :0 *0";
    reading_replies(broker) broker.replies(&requester()).next();
        ":0 | :7", ":0 | *1 :7", ":0 | *1 *2 $key :7", ":0 | *1 *2 $key *1 *2 $no-id *0";
    removing_the_reply_stream(broker) broker.replies(&requester()).close();
        "_", "*0", "$none";
    measuring(broker) broker.depth();
        ":7", "_", "*0", "*11 _ :-1 :0 :-1 :0 $ :0 :0 :-1 :0 :0", "*11 :0 :-1 :0 :-1 :0 :7 :0 :0 :-1 :0 :0";
    asking_for_rights(broker) broker.shortcomings(Role::Worker);
        ":7", "_", "*1 $one", "*1 :0", "*1 :999";
    asking_what_is_evicted(broker) broker.shortcomings(Role::Requester);
        "*0 | :7", "*0 | _", "*0 | *0";
    pinging(broker) broker.ping();
        ":7", "_", "*0";
    listing_letters(broker) broker.letters(None, 10);
        ":7", "_", "*1 :7", "*1 *2 $1-0 :7", "*1 *2 $no-id *0", "*1 *2 $1-0 *1 $name";
    reading_a_letter(broker) broker.letter(LetterId::of(ENTRY));
        ":7", "_";
    replaying(broker) broker.replay(LetterId::of(ENTRY));
        format!("{} | :7", stored_letter()), format!("{} | *0", stored_letter()), format!("{} | $no-id", stored_letter());
    discarding(broker) broker.discard(LetterId::of(ENTRY));
        "_", "*0", "$none";
    submitting(broker) async { broker.submit(&[acceptance()]).await?.remove(0) };
        ":0 | :7", ":0 | _", ":0 | *1 $none", ":0 | *2 $as $no-id", ":0 | *2 $known $nobody";
    making_a_record(broker) broker.create_record(CorrelationId::new(), None, budget(), &requester());
        "_", "*0", "$done";
    beginning(broker) broker.start(CorrelationId::new(), 1);
        "_", "*0", "$done", ":2", ":-1";
    noting_progress(broker) broker.note_progress(CorrelationId::new(), &crate::broker::Progress::new(1, ""));
        "_", "*0", "$done";
    completing(broker) broker.complete(&[reply()]);
        ":7", "*0", "$queued | _", "$queued | *0", "$queued | $one";
    storing(broker) broker.store(&[reply()]);
        "_", "*0", "$done";
    reading_records(broker) broker.records(&[CorrelationId::new()]);
        ":7", "_", "*1 $name", "*2 $name :7";
    listing_records(broker) broker.list_records(Some(Status::Queued), None, 1);
        "+OK | +QUEUED | :7", "+OK | +QUEUED | *0", "+OK | +QUEUED | *1 :7", "+OK | +QUEUED | *1 *1 :7";
    reading_listed_records(broker) broker.list_records(Some(Status::Queued), None, 1);
        listed(":7"), listed("_"), listed("*0"), listed("*1 $queued");
    cancelling_a_request(broker) broker.cancel(CorrelationId::new(), None);
        ":7", "*0", "_ | :7", "_ | _", "_ | *0";
    asking_what_is_cancelled(broker) broker.cancelling(&[CorrelationId::new()]);
        ":7", "_", "*0", "*2 _ _", "*1 :7";
    purging(broker) broker.purge_expired();
        ":7", "_", "*0", "*1 :0", "*2 :0 $none", "*2 :0 :-1";
}

#[tokio::test]
async fn what_was_taken_back_is_not_guessed() {
    let tier = Durability::Replicated(NonZeroU32::MIN);
    for answer in ["_", "*0", "$one"] {
        let server = Scripted::start().await;
        let broker = server.broker(tier);
        server.answer(&format!(":0 | $1-0 | :0 | {answer}"));
        refused(answer, &broker.publish(&[request()]).await);
        let answer = format!(":0 | *2 $as $1-0 | :0 | {answer}");
        server.answer(&answer);
        refused(&answer, &broker.submit(&[acceptance()]).await.unwrap().remove(0));
    }
}

#[tokio::test]
async fn whether_there_is_a_file_is_not_guessed() {
    for answer in [":7", "_", "*0"] {
        let server = Scripted::start().await;
        server.answer(&format!("*0 | $ | {answer}"));
        let broker = server.broker(Durability::Aof);
        refused(answer, &broker.shortcomings(Role::Requester).await);
    }
}

pub(super) fn consumer() -> Consumer {
    Consumer::unique("worker")
}

fn requester() -> ReplyTo {
    "web-1".parse().unwrap()
}

fn budget() -> Budget {
    Budget::new(Duration::from_secs(1))
}

pub(super) fn request() -> Request {
    Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: requester(),
        budget: budget(),
        traceparent: None,
        keep: Keep::No,
        data: "{}".into(),
    }
}

pub(super) fn acceptance() -> Acceptance {
    Acceptance {
        request: request(),
        key: None,
    }
}

fn reply() -> Reply {
    Reply::new(CorrelationId::new(), Origin::default(), Ok("{}".into()))
}

fn receipt() -> Receipt {
    Receipt {
        entry: entry(),
        consumer: consumer(),
        claimed: Instant::now(),
    }
}

pub(super) fn settlement() -> Settlement {
    Settlement::reply(receipt(), requester(), reply())
}

fn letter() -> Settlement {
    let letter = DeadLetter {
        reason: "poison".to_owned(),
        attempts: 3,
        last_error: String::new(),
        fields: Vec::new(),
    };
    Settlement::dead_letter(receipt(), letter, None)
}

/// A letter that can be put back.
fn stored_letter() -> String {
    let id = CorrelationId::new();
    format!("*1 *2 $1-0 *8 $requestId ${id} $replyTo $web-1 $budgetMs $1 $data ${{}}")
}

/// The index of one record, and then its fields.
fn listed(fields: &str) -> String {
    format!("+OK | +QUEUED | *1 *1 ${} | {fields}", CorrelationId::new())
}
