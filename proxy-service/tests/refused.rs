//! A Redis that refuses what settles: work is not done again and again, and goes on when it is allowed again.
#![allow(clippy::unwrap_used)]

mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proxy_service::job::Job;
use proxy_service::metrics::WorkerMetrics;
use proxy_service::workers::Workers;
use roundtrip::broker::{self, Backend, BrokerOptions, Durability, Retention};
use roundtrip::service::metrics::Metrics;
use roundtrip::test_util::RedisServer;
use roundtrip::{Budget, CorrelationId, Keep, ReplyTo, Request};
use rstest::rstest;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use setup::{LONG, echo, options};

const LEASE: Duration = Duration::from_secs(1);

fn connect(server: &RedisServer) -> Backend {
    let options = BrokerOptions {
        operation: "weather",
        lease: LEASE,
        durability: Durability::Volatile,
        retention: Retention::default(),
    };
    broker::connect(&server.url().parse().unwrap(), options)
}

async fn publish(backend: &Backend, requester: &ReplyTo, all: &[(&'static str, Keep)]) {
    let request = |(data, keep): &(&'static str, Keep)| Request {
        id: CorrelationId::new(),
        reply_to: requester.clone(),
        budget: Budget::new(LONG),
        traceparent: None,
        keep: *keep,
        data: Bytes::from_static(data.as_bytes()),
    };
    let requests: Vec<_> = all.iter().map(request).collect();
    backend.broker.publish(&requests).await.unwrap();
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} within a minute");
        sleep(Duration::from_millis(20)).await;
    }
}

#[rstest]
#[case("xdel")]
#[case("xack")]
#[tokio::test]
async fn what_cannot_be_settled_is_not_done_again_and_nothing_more_is_claimed(#[case] command: &str) {
    let server = RedisServer::spawn().await;
    let (backend, requester) = (connect(&server), ReplyTo::unique("test"));
    backend.broker.attend(&requester).await.unwrap();
    server
        .command(&["ACL", "SETUSER", "default", &format!("-{command}")])
        .await
        .unwrap();
    let (runs, metrics) = (Arc::new(AtomicUsize::new(0)), Metrics::new());
    let counted = runs.clone();
    let handler = service_fn(move |job: Job| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(job.request.data != "poison", "a mistake in the handler");
            echo(job).await
        }
    });
    let (flags, worker_metrics) = (options(&["--lease", "1s"]), WorkerMetrics::new(&metrics));
    let workers = Workers::new(handler, &flags, worker_metrics.clone());
    let ended = CancellationToken::new();
    let (broker, records) = (backend.broker.clone(), backend.records.clone());
    let running = workers.start(broker, records, &flags, &worker_metrics, &ended);

    let first = [
        ("1", Keep::No),
        ("2", Keep::No),
        ("3", Keep::WithReply),
        ("poison", Keep::No),
    ];
    publish(&backend, &requester, &first).await;
    until("all are done", || runs.load(Ordering::SeqCst) >= first.len()).await;
    until("it says so", || metrics.encode().contains("proxy_settlement_refused 1")).await;
    // A claim that was waiting may still bring something; after that nothing does.
    sleep(LEASE).await;
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
    until("it says so", || metrics.encode().contains("proxy_settlement_refused 0")).await;
    running.drain(LONG).await;
    assert_eq!(server.number(&["XLEN", "weather-requests"]).await, 0);
}
