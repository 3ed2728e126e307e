//! Workers on a real Redis: one that refuses what settles, and looks into what others dropped.
#![allow(clippy::unwrap_used)]

mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proxy_service::failure::Failure;
use proxy_service::handler::Job;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::{self, Backend, BrokerOptions, Consumer, Durability, Retention};
use roundtrip::observe::metrics::Metrics;
use roundtrip::{Budget, CorrelationId, FaultCode, Keep, Origin, ReplyTo, Request};
use rstest::rstest;
use testbed::{RedisServer, until};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use setup::{LONG, echo, options, pool};

const LEASE: Duration = Duration::from_secs(1);

fn connect(server: &RedisServer) -> Backend {
    let options = BrokerOptions {
        lease: LEASE,
        durability: Durability::Volatile,
        retention: Retention::default(),
    };
    broker::connect(&server.url().parse().unwrap(), options)
}

fn request(requester: &ReplyTo, data: &'static str, keep: Keep, budget: Duration) -> Request {
    Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: requester.clone(),
        budget: Budget::new(budget),
        traceparent: None,
        keep,
        data: Bytes::from_static(data.as_bytes()),
    }
}

async fn publish(backend: &Backend, requester: &ReplyTo, all: &[(&'static str, Keep)]) {
    let requests: Vec<_> = all
        .iter()
        .map(|(data, keep)| request(requester, data, *keep, LONG))
        .collect();
    backend.broker.publish(&requests).await.unwrap();
}

/// Whether no command waits on the server.
async fn is_idle(server: &RedisServer) -> bool {
    let clients = server.command(&["INFO", "clients"]).await;
    format!("{clients:?}").contains("blocked_clients:0")
}

#[rstest]
#[case("xdel")]
#[case("xack")]
#[tokio::test]
async fn what_cannot_be_settled_is_not_done_again_and_nothing_more_is_claimed(#[case] command: &str) {
    let server = RedisServer::spawn().await;
    let (backend, requester) = (connect(&server), ReplyTo::unique("test"));
    backend.broker.heartbeat(&requester).await.unwrap();
    server
        .command(&["ACL", "SETUSER", "default", &format!("-{command}")])
        .await
        .unwrap();
    let (runs, metrics) = (Arc::new(AtomicUsize::new(0)), Metrics::new());
    let counted = runs.clone();
    let handler = move |job: Job| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(job.request.data != "poison", "a mistake in the handler");
            echo(job).await
        }
    };
    let flags = options(&["--lease", "1s"]);
    let workers = pool(handler, &flags, &metrics);
    let ended = CancellationToken::new();
    let (broker, records) = (backend.broker.clone(), backend.records.clone());
    let running = workers.start(broker, records, &flags, &ended);

    let first = [
        ("1", Keep::No),
        ("2", Keep::No),
        ("3", Keep::WithReply),
        ("poison", Keep::No),
    ];
    publish(&backend, &requester, &first).await;
    until("all are done", async || runs.load(Ordering::SeqCst) >= first.len()).await;
    until("it says so", async || {
        metrics.encode().contains("roundtrip_proxy_settlement_refused 1")
    })
    .await;
    // A claim that was waiting may still bring something; after that nothing does.
    until("no claim waits", async || is_idle(&server).await).await;
    publish(&backend, &requester, &[("4", Keep::No), ("5", Keep::No)]).await;
    // Long enough for leases to run out, if nobody renewed them.
    sleep(LEASE * 4).await;
    assert_eq!(runs.load(Ordering::SeqCst), first.len(), "each was done once");
    assert_eq!(server.number(&["XLEN", "weather-dead-letters"]).await, 0);
    assert_eq!(
        server
            .number(&["XLEN", &format!("weather-responses:{}", requester.as_str())])
            .await,
        0
    );
    let depth = backend.broker.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.claimed), (2, first.len() as u64));
    assert!(*workers.settlement_refused().borrow());

    server
        .command(&["ACL", "SETUSER", "default", &format!("+{command}")])
        .await
        .unwrap();
    let mut replies = backend.broker.replies(&requester);
    let mut answered = 0;
    let reading = async {
        while answered < first.len() + 2 {
            answered += replies.next().await.unwrap().len();
        }
    };
    timeout(LONG, reading).await.expect("it goes on");
    assert_eq!(runs.load(Ordering::SeqCst), first.len() + 2);
    assert_eq!(server.number(&["XLEN", "weather-dead-letters"]).await, 1);
    until("it says so", async || {
        metrics.encode().contains("roundtrip_proxy_settlement_refused 0")
    })
    .await;
    running.drain(LONG).await;
    assert_eq!(server.number(&["XLEN", "weather-requests"]).await, 0);
}

#[tokio::test]
async fn what_expires_is_told_while_all_terminals_are_busy_and_a_look_is_no_attempt() {
    let server = RedisServer::spawn().await;
    let (backend, requester) = (connect(&server), ReplyTo::unique("test"));
    backend.broker.heartbeat(&requester).await.unwrap();
    let flags = options(&["--lease", "1s", "--terminals", "1"]);
    let hanging = |_: Job| std::future::pending::<Result<Bytes, Failure>>();
    let workers = pool(hanging, &flags, &Metrics::new());
    publish(&backend, &requester, &[("hangs", Keep::No)]).await;
    let (broker, records) = (backend.broker.clone(), backend.records.clone());
    let running = workers.start(broker, records, &flags, &CancellationToken::new());
    // Its one terminal is busy, so it claims no more.
    until("it is claimed", async || {
        backend.broker.depth().await.unwrap().claimed > 0
    })
    .await;
    let dead = Consumer::unique("dead");
    let mut dropped = Vec::new();
    for (data, budget) in [("soon", LEASE * 4), ("later", LONG)] {
        let request = request(&requester, data, Keep::No, budget);
        backend.broker.publish(std::slice::from_ref(&request)).await.unwrap();
        assert_eq!(backend.broker.claim(&dead, 1).await.unwrap().len(), 1);
        dropped.push(request);
    }

    let mut replies = backend.broker.replies(&requester);
    let told = async {
        loop {
            if let Some(reply) = replies.next().await.unwrap().pop() {
                return reply;
            }
        }
    };
    let told = timeout(LONG, told).await.expect("it is told");
    assert_eq!(
        (told.id, told.outcome.unwrap_err().code),
        (dropped[0].id, FaultCode::Expired)
    );
    running.drain(Duration::ZERO).await;
    let (mut left, deadline) = (Vec::new(), Instant::now() + LONG);
    while left.len() < 2 && Instant::now() < deadline {
        left.extend(backend.broker.reclaim(&dead, LONG * 60, 10).await.unwrap());
    }
    assert_eq!(left.iter().map(|one| one.deliveries).collect::<Vec<_>>(), [1, 1]);
}
