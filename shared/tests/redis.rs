//! The Redis backend passes the conformance suite, and what only it can get wrong.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::conformance::Harness;
use roundtrip::broker::{self, Broker, BrokerErrorKind, BrokerUrl, Consumer, Settlement};
use roundtrip::test_util::{RedisServer, free_port};
use roundtrip::{Budget, CorrelationId, Reply, ReplyTo, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Redis {
    server: RedisServer,
    broker: Arc<dyn Broker>,
}

#[async_trait]
impl Harness for Redis {
    fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    async fn cut(&self) {
        self.server.cut_connections().await;
    }

    async fn put_malformed(&self) {
        self.server
            .command(&["XADD", "test-requests", "*", "garbage", "1"])
            .await
            .unwrap();
    }

    async fn counts_completed(&self) -> bool {
        let stream = self
            .server
            .command(&["XINFO", "STREAM", "test-requests"])
            .await
            .unwrap();
        format!("{stream:?}").contains("entries-added")
    }
}

async fn harness() -> Redis {
    let server = RedisServer::spawn().await;
    let url: BrokerUrl = server.url().parse().unwrap();
    // A lease as short as the suite's idle time, so that a worker that lost it notices.
    let broker = broker::connect(&url, "test", Duration::from_millis(40));
    Redis { server, broker }
}

roundtrip::broker_conformance!(harness());

fn request(reply_to: &ReplyTo) -> Request {
    Request {
        id: CorrelationId::new(),
        reply_to: reply_to.clone(),
        budget: Budget::new(Duration::from_secs(30)),
        traceparent: None,
        data: "{}".into(),
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_a_definite_failure_within_a_second() {
    let url: BrokerUrl = format!("redis://127.0.0.1:{}", free_port()).parse().unwrap();
    let broker = broker::connect(&url, "test", Duration::from_secs(6));
    let started = std::time::Instant::now();
    let error = broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(error.to_string(), "could not publish to the request stream");
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_within_a_second_and_the_outcome_is_unknown() {
    let harness = harness().await;
    harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    harness
        .server
        .command(&["CLIENT", "PAUSE", "1500", "ALL"])
        .await
        .unwrap();
    let started = std::time::Instant::now();
    let error = harness
        .broker
        .publish(&[request(&ReplyTo::unique("a"))])
        .await
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(error.may_have_applied());
}

#[tokio::test]
async fn a_full_server_refuses_a_batch_whole() {
    let harness = harness().await;
    harness
        .server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    let batch = vec![request(&ReplyTo::unique("a")); 3];
    let error = harness.broker.publish(&batch).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Unavailable);
    harness
        .server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    assert_eq!(harness.server.number(&["EXISTS", "test-requests"]).await, 0);
    harness.broker.publish(&batch).await.unwrap();
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 3);
}

#[tokio::test]
async fn a_settlement_whose_answer_was_lost_is_repeated_without_a_second_reply() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let (port, mute) = mutable_path_to(harness.server.url()).await;
    let url: BrokerUrl = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let broker = broker::connect(&url, "test", Duration::from_secs(60));
    let sent = request(&requester);
    broker.publish(std::slice::from_ref(&sent)).await.unwrap();
    let mut deliveries = Vec::new();
    while deliveries.is_empty() {
        deliveries = broker.claim(&me, 1).await.unwrap();
    }
    let reply = Reply {
        id: sent.id,
        outcome: Ok("{}".into()),
    };
    let settlement = [Settlement::reply(
        deliveries[0].receipt.clone(),
        requester.clone(),
        reply,
    )];
    mute.store(true, Ordering::Relaxed);
    assert!(broker.settle(&settlement).await.unwrap_err().may_have_applied());
    mute.store(false, Ordering::Relaxed);
    let responses = format!("test-responses:{requester}");
    assert_eq!(
        harness.server.number(&["XLEN", &responses]).await,
        1,
        "the first try had worked"
    );
    broker.settle(&settlement).await.unwrap();
    assert_eq!(harness.server.number(&["XLEN", &responses]).await, 1);
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 0);
}

/// A port that leads to the server, and a switch that keeps its answers from coming back.
async fn mutable_path_to(server: String) -> (u16, Arc<AtomicBool>) {
    let server = server.trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, mute) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
    let muted = mute.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(&server).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let muted = muted.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    if !muted.load(Ordering::Relaxed) && to_client.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, mute)
}

#[tokio::test]
async fn a_lost_group_is_made_again_and_serves_what_waits() {
    let (harness, me) = (harness().await, Consumer::unique("w"));
    let _ = harness.broker.claim(&me, 1).await.unwrap();
    for loss in [
        &["XGROUP", "DESTROY", "test-requests", "processing-group"][..],
        &["FLUSHALL"],
    ] {
        harness.server.command(loss).await.unwrap();
        harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
        let mut deliveries = Vec::new();
        for _ in 0..3 {
            deliveries.extend(harness.broker.claim(&me, 10).await.unwrap());
        }
        assert_eq!(deliveries.len(), 1, "{loss:?}");
        let id = deliveries[0].receipt.entry.to_string();
        harness
            .server
            .command(&["XACK", "test-requests", "processing-group", &id])
            .await
            .unwrap();
        harness.server.command(&["XDEL", "test-requests", &id]).await.unwrap();
    }
}

/// A harness whose consumer holds two entries that were trimmed from the stream meanwhile.
async fn harness_with_trimmed_entries(holder: &Consumer) -> Redis {
    let harness = harness().await;
    let batch = vec![request(&ReplyTo::unique("a")); 2];
    harness.broker.publish(&batch).await.unwrap();
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(harness.broker.claim(holder, 2).await.unwrap());
    }
    harness
        .server
        .command(&["XTRIM", "test-requests", "MAXLEN", "0"])
        .await
        .unwrap();
    harness
}

#[tokio::test]
async fn own_entries_deleted_while_they_were_pending_are_forgotten() {
    let me = Consumer::unique("w");
    let harness = harness_with_trimmed_entries(&me).await;
    assert!(
        harness
            .broker
            .recover(&me, &HashSet::new(), 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(harness.broker.depth().await.unwrap().claimed, 0);
}

#[tokio::test]
async fn dropped_entries_deleted_while_they_were_pending_are_forgotten() {
    let (dead, heir) = (Consumer::unique("w"), Consumer::unique("h"));
    let harness = harness_with_trimmed_entries(&dead).await;
    assert!(
        harness
            .broker
            .reclaim(&heir, Duration::ZERO, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let pending = harness
        .server
        .command(&["XPENDING", "test-requests", "processing-group", "-", "+", "10"])
        .await;
    assert_eq!(format!("{pending:?}"), "Some(array([]))", "nothing is left pending");
}

#[tokio::test]
async fn a_consumer_with_nothing_in_hand_is_forgotten_when_it_leaves() {
    let (harness, idle, busy) = (harness().await, Consumer::unique("idle"), Consumer::unique("busy"));
    let _ = harness.broker.claim(&idle, 1).await.unwrap();
    let _ = harness.broker.claim(&idle, 1).await.unwrap();
    harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    while harness.broker.claim(&busy, 1).await.unwrap().is_empty() {}
    for consumer in [&idle, &busy] {
        harness.broker.leave(consumer).await.unwrap();
    }
    let consumers = harness
        .server
        .command(&["XINFO", "CONSUMERS", "test-requests", "processing-group"])
        .await
        .unwrap();
    let text = format!("{consumers:?}");
    assert!(!text.contains(idle.as_str()), "{text}");
    assert!(
        text.contains(busy.as_str()),
        "its work would be discarded with it: {text}"
    );
}

#[tokio::test]
async fn read_replies_are_trimmed() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let stream = format!("test-responses:{requester}");
    let id = CorrelationId::new().to_string();
    for _ in 0..3 {
        harness
            .server
            .command(&["XADD", &stream, "*", "requestId", &id, "status", "ok", "data", "{}"])
            .await
            .unwrap();
    }
    harness
        .server
        .command(&["XADD", &stream, "*", "no", "reply"])
        .await
        .unwrap();
    let mut replies = harness.broker.replies(&requester);
    assert_eq!(replies.next().await.unwrap().len(), 3);
    assert_eq!(
        harness.server.number(&["XLEN", &stream]).await,
        4,
        "nothing goes before it was handed out"
    );
    assert!(replies.next().await.unwrap().is_empty());
    assert_eq!(harness.server.number(&["XLEN", &stream]).await, 0);
    replies.close().await.unwrap();
    assert_eq!(harness.server.number(&["EXISTS", &stream]).await, 0);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let harness = harness().await;
    harness
        .server
        .command(&["CONFIG", "SET", "requirepass", "right"])
        .await
        .unwrap();
    let url = harness.server.url().replace("redis://", "redis://:wrong-secret@");
    let broker = broker::connect(&url.parse().unwrap(), "test", Duration::from_secs(6));
    let error = broker.ping().await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Rejected);
    assert!(!format!("{error:?}").contains("wrong-secret"));
}
