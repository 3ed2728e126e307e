//! The Redis backend passes the conformance suite, and what only it can get wrong.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::conformance::Harness;
use roundtrip::broker::{
    self, Backend, Broker, BrokerErrorKind, BrokerOptions, BrokerUrl, Consumer, DeadLetters, Durability, Settlement,
    Tidied,
};
use roundtrip::test_util::{RedisServer, free_port};
use roundtrip::{Budget, CorrelationId, Reply, ReplyTo, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Redis {
    server: RedisServer,
    broker: Arc<dyn Broker>,
    dead_letters: Arc<dyn DeadLetters>,
}

#[async_trait]
impl Harness for Redis {
    fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.dead_letters.clone()
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
}

fn connect(url: &BrokerUrl, lease: Duration, durability: Durability) -> Backend {
    let options = BrokerOptions {
        operation: "test",
        lease,
        durability,
    };
    broker::connect(url, options)
}

async fn harness() -> Redis {
    let server = RedisServer::spawn().await;
    let url: BrokerUrl = server.url().parse().unwrap();
    // A lease as short as the suite's idle time, so that a worker that lost it notices.
    let Backend { broker, dead_letters } = connect(&url, Duration::from_millis(40), Durability::Volatile);
    broker.prepare().await.unwrap();
    Redis {
        server,
        broker,
        dead_letters,
    }
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
    let broker = connect(&url, Duration::from_secs(6), Durability::Volatile).broker;
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
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 0);
    harness.broker.publish(&batch).await.unwrap();
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 3);
}

#[tokio::test]
async fn a_settlement_whose_answer_was_lost_is_repeated_without_a_second_reply() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let (port, mute) = mutable_path_to(harness.server.url()).await;
    let url: BrokerUrl = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let broker = connect(&url, Duration::from_secs(60), Durability::Volatile).broker;
    broker.attend(&requester).await.unwrap();
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
        assert_eq!(
            harness.broker.claim(&me, 10).await.unwrap_err().kind(),
            BrokerErrorKind::GroupLost
        );
        assert!(harness.broker.prepare().await.unwrap(), "it was missing");
        assert!(!harness.broker.prepare().await.unwrap(), "now it is there");
        deliveries.extend(harness.broker.claim(&me, 10).await.unwrap());
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
async fn entries_deleted_while_they_were_pending_are_forgotten() {
    for reclaimed in [false, true] {
        let me = Consumer::unique("w");
        let harness = harness_with_trimmed_entries(&me).await;
        let (heir, found) = match reclaimed {
            true => {
                let heir = Consumer::unique("h");
                let found = harness.broker.reclaim(&heir, Duration::ZERO, 10).await.unwrap();
                (heir, found)
            }
            false => {
                let found = harness.broker.recover(&me, &HashSet::new(), 10).await.unwrap();
                (me, found)
            }
        };
        let attempts: Vec<_> = found.iter().map(|one| (one.entry, 2)).collect();
        let delivered = harness.broker.redeliver(&heir, &attempts).await.unwrap();
        assert!(delivered.is_empty(), "{delivered:?}");
        let pending = ["XPENDING", "test-requests", "processing-group", "-", "+", "10"];
        let pending = harness.server.command(&pending).await;
        assert_eq!(format!("{pending:?}"), "Some(array([]))", "nothing is left pending");
    }
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
    let broker = connect(&url.parse().unwrap(), Duration::from_secs(6), Durability::Volatile).broker;
    let error = broker.ping().await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Rejected);
    assert!(!format!("{error:?}").contains("wrong-secret"));
}

/// A consumer group as it stands: names of its consumers.
async fn consumers(server: &RedisServer) -> String {
    let consumers = ["XINFO", "CONSUMERS", "test-requests", "processing-group"];
    format!("{:?}", server.command(&consumers).await.unwrap())
}

#[tokio::test]
async fn a_dead_consumer_is_forgotten_once_it_holds_nothing() {
    let (harness, dead, heir) = (harness().await, Consumer::unique("dead"), Consumer::unique("heir"));
    harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    assert_eq!(harness.broker.claim(&dead, 1).await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let silent = Duration::from_millis(50);
    let tidied = harness.broker.tidy(&heir, silent).await.unwrap();
    assert_eq!(tidied, Tidied::default(), "its work would be discarded with it");
    assert_eq!(harness.broker.reclaim(&heir, silent, 1).await.unwrap().len(), 1);
    assert_eq!(harness.broker.tidy(&heir, silent).await.unwrap().consumers, 1);
    let left = consumers(&harness.server).await;
    assert!(!left.contains(dead.as_str()) && left.contains(heir.as_str()), "{left}");
}

#[tokio::test]
async fn entries_that_no_claim_would_find_are_brought_back() {
    let (harness, careless, me) = (harness().await, Consumer::unique("careless"), Consumer::unique("me"));
    let broker = &harness.broker;
    let batch: Vec<_> = (0..120).map(|_| request(&ReplyTo::unique("a"))).collect();
    broker.publish(&batch).await.unwrap();
    let held = broker.claim(&me, 40).await.unwrap();
    broker.claim(&careless, 80).await.unwrap();
    // Somebody cleans up by hand, and with the consumer go the entries it held.
    let delete = [
        "XGROUP",
        "DELCONSUMER",
        "test-requests",
        "processing-group",
        careless.as_str(),
    ];
    harness.server.command(&delete).await.unwrap();
    let silent = Duration::from_secs(60);
    let mut found = 0;
    while found < 80 {
        assert!(broker.tidy(&me, silent).await.unwrap().rescued > 0, "{found} found");
        let dropped = broker.reclaim(&me, silent, 100).await.unwrap();
        assert!(dropped.iter().all(|one| one.deliveries == 0), "{dropped:?}");
        let attempts: Vec<_> = dropped.iter().map(|one| (one.entry, 1)).collect();
        found += broker.redeliver(&me, &attempts).await.unwrap().len();
    }
    assert_eq!(found, 80, "and none of the {} that are at work", held.len());
    assert_eq!(broker.tidy(&me, silent).await.unwrap(), Tidied::default());
}

#[tokio::test]
async fn requests_from_before_a_group_that_begins_at_the_end_are_served() {
    let (harness, me) = (harness().await, Consumer::unique("me"));
    let group = ["test-requests", "processing-group"];
    harness
        .server
        .command(&["XGROUP", "DESTROY", group[0], group[1]])
        .await
        .unwrap();
    harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    harness
        .server
        .command(&["XGROUP", "CREATE", group[0], group[1], "$"])
        .await
        .unwrap();
    assert!(harness.broker.claim(&me, 1).await.unwrap().is_empty());
    assert_eq!(
        harness.broker.tidy(&me, Duration::from_secs(60)).await.unwrap().rescued,
        1
    );
    assert_eq!(
        harness
            .broker
            .reclaim(&me, Duration::from_secs(60), 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn what_a_dead_requester_leaves_is_removed_after_its_absence() {
    let (harness, dead, there) = (harness().await, ReplyTo::unique("dead"), ReplyTo::unique("there"));
    for requester in [&dead, &there] {
        assert_eq!(harness.broker.attend(requester).await.unwrap(), 0);
    }
    let stream = |requester: &ReplyTo| format!("test-responses:{requester}");
    assert_eq!(harness.server.number(&["EXISTS", &stream(&dead)]).await, 1);
    // It said something last when the clock began.
    harness
        .server
        .command(&["ZADD", "test-requesters", "1", dead.as_str()])
        .await
        .unwrap();
    assert_eq!(harness.broker.attend(&there).await.unwrap(), 1);
    assert_eq!(harness.server.number(&["EXISTS", &stream(&dead)]).await, 0);
    assert_eq!(harness.server.number(&["EXISTS", &stream(&there)]).await, 1);
    assert_eq!(harness.server.number(&["ZCARD", "test-requesters"]).await, 1);
    harness.broker.replies(&there).close().await.unwrap();
    assert_eq!(harness.server.number(&["EXISTS", "test-requesters"]).await, 0);
}

#[tokio::test]
async fn a_server_without_a_file_is_refused_where_one_is_asked_for() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let requests = [request(&ReplyTo::unique("a"))];
    let with_file = connect(&url, Duration::from_secs(6), Durability::Aof).broker;
    with_file.publish(&requests).await.unwrap();
    harness
        .server
        .command(&["CONFIG", "SET", "appendonly", "no"])
        .await
        .unwrap();
    let without = connect(&url, Duration::from_secs(6), Durability::Aof).broker;
    let error = without.publish(&requests).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("DURABILITY=aof"), "{cause}");
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 1);
}

#[tokio::test]
async fn a_write_that_too_few_replicas_confirm_is_refused_and_never_runs() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let broker = connect(&url, Duration::from_secs(6), one).broker;
    for count in [1, 3] {
        let requests = vec![request(&ReplyTo::unique("a")); count];
        let error = broker.publish(&requests).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Unavailable, "{error:?}");
        assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 0, "taken back");
    }
    let replica = RedisServer::spawn().await;
    let port = harness.server.port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let requests = vec![request(&ReplyTo::unique("a")); 2];
    let mut unknown = 0;
    while let Err(error) = broker.publish(&requests).await {
        assert!(std::time::Instant::now() < deadline, "the replica never confirms");
        unknown += i64::from(error.may_have_applied());
    }
    let accepted = harness.server.number(&["XLEN", "test-requests"]).await;
    assert!(
        (2..=2 + 2 * unknown).contains(&accepted),
        "{accepted}, {unknown} unknown"
    );
    assert_eq!(replica.number(&["XLEN", "test-requests"]).await, accepted);
}

#[tokio::test]
async fn a_request_that_was_claimed_before_its_replicas_failed_has_an_unknown_outcome() {
    let (harness, me) = (harness().await, Consumer::unique("me"));
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let broker = connect(&url, Duration::from_secs(6), one).broker;
    let claiming = harness.broker.claim(&me, 1);
    let requests = [request(&ReplyTo::unique("a"))];
    let (claimed, published) = tokio::join!(claiming, broker.publish(&requests));
    assert_eq!(claimed.unwrap().len(), 1);
    assert!(published.unwrap_err().may_have_applied(), "it runs");
}
