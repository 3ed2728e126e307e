//! The Redis backend passes the conformance suite, and what only it can get wrong.
#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod clock;
mod counts;
mod durability;
mod faults;
mod full;
mod group;
mod letters;
mod promises;
mod replies;
mod rights;
mod sizes;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::conformance::{FirstQueue as _, FirstRecords as _, Harness};
use roundtrip::broker::{
    self, Acceptance, Accepted, Backend, Broker, BrokerErrorKind, BrokerOptions, BrokerUrl, CancelOutcome, Consumer,
    DeadLetter, DeadLetters, Delivery, Durability, EntryId, IdempotencyKey, Maintained, Position, Purged, Record,
    ResultStore, Retention, Role, Settlement, Status,
};
use roundtrip::{Budget, CorrelationId, Fault, FaultCode, Keep, OperationName, Origin, Reply, ReplyTo, Request};
use testbed::{RedisServer, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Redis {
    server: RedisServer,
    broker: Arc<dyn Broker>,
    dead_letters: Arc<dyn DeadLetters>,
    records: Arc<dyn ResultStore>,
}

#[async_trait]
impl Harness for Redis {
    fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.dead_letters.clone()
    }

    fn records(&self) -> Arc<dyn ResultStore> {
        self.records.clone()
    }

    fn records_kept(&self, retention: Retention) -> Arc<dyn ResultStore> {
        let options = BrokerOptions {
            retention,
            ..options(Duration::from_millis(40), Durability::Volatile)
        };
        broker::connect(&self.server.url().parse().unwrap(), options).records
    }

    async fn cut(&self) {
        self.server.cut_connections().await;
    }

    async fn put_malformed(&self) {
        self.server
            .command(&["XADD", "weather-requests", "*", "garbage", "1"])
            .await
            .unwrap();
    }

    async fn counts_completed(&self) -> bool {
        let stream = self.server.command(&["XINFO", "STREAM", "weather-requests"]).await;
        format!("{stream:?}").contains("entries-added")
    }
}

fn connect(url: &BrokerUrl, lease: Duration, durability: Durability) -> Backend {
    broker::connect(url, options(lease, durability))
}

fn options(lease: Duration, durability: Durability) -> BrokerOptions {
    BrokerOptions {
        lease,
        durability,
        retention: Retention::default(),
    }
}

async fn harness() -> Redis {
    let server = RedisServer::spawn().await;
    let url: BrokerUrl = server.url().parse().unwrap();
    // A lease as short as the suite's idle time, so that a worker that lost it notices.
    let Backend {
        broker,
        dead_letters,
        records,
    } = connect(&url, Duration::from_millis(40), Durability::Volatile);
    broker.prepare().await.unwrap();
    Redis {
        server,
        broker,
        dead_letters,
        records,
    }
}

roundtrip::broker_conformance!(harness());

fn request(reply_to: &ReplyTo) -> Request {
    Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: reply_to.clone(),
        budget: Budget::new(Duration::from_secs(30)),
        traceparent: None,
        keep: Keep::No,
        data: "{}".into(),
    }
}

/// A request with a record, published; returns it as it was claimed.
async fn accepted_and_claimed(redis: &Redis, me: &Consumer, request: &Request, key: Option<u8>) -> Delivery {
    let accepted = redis.records.submit(&[acceptance(request, key)]).await.unwrap();
    assert!(matches!(accepted[0], Ok(Accepted::As(_))), "{accepted:?}");
    redis.broker.claim(me, 1).await.unwrap().remove(0)
}

fn acceptance(request: &Request, key: Option<u8>) -> Acceptance {
    Acceptance {
        request: request.clone(),
        key: key.map(|name| IdempotencyKey {
            name: [name; 32],
            fingerprint: [0; 32],
        }),
    }
}

fn kept(reply_to: &ReplyTo, keep: Keep) -> Request {
    Request {
        keep,
        ..request(reply_to)
    }
}

fn answered(delivery: &Delivery) -> Settlement {
    let request = delivery.content.as_ref().unwrap();
    let reply = Reply::new(request.id, Origin::default(), Ok("{\"done\":true}".into()));
    Settlement::reply(delivery.receipt.clone(), request.reply_to.clone(), reply).keeping(request.keep)
}

/// The settlement of a delivery that the service gave up on: a dead letter, and the fault for who waits.
fn given_up(delivery: &Delivery) -> Settlement {
    let request = delivery.content.as_ref().unwrap();
    let letter = DeadLetter {
        reason: "test".into(),
        attempts: 1,
        last_error: String::new(),
        fields: Vec::new(),
    };
    let outcome = Err(Fault::new(FaultCode::DeadLettered, "test"));
    let reply = Reply::new(request.id, Origin::default(), outcome);
    Settlement::dead_letter(
        delivery.receipt.clone(),
        letter,
        Some((request.reply_to.clone(), reply)),
    )
    .keeping(request.keep)
}

/// A broker that doubts nobody's lease, and nothing it holds: for facts in which no time is meant to pass.
fn unhurried(server: &RedisServer) -> Arc<dyn Broker> {
    connect(
        &server.url().parse().unwrap(),
        Duration::from_secs(3600),
        Durability::Volatile,
    )
    .broker
}

async fn record(records: &dyn ResultStore, id: CorrelationId) -> Option<Record> {
    records.records(&[id]).await.unwrap().remove(0)
}
