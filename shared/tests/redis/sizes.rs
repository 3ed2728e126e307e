//! Entries that are larger than one call is made for: what is large is read alone, and what is too large is told.

use bytes::Bytes;
use roundtrip::FaultCode;
use roundtrip::broker::{Delivery, EntryId};

use super::*;

const MIB: usize = 1024 * 1024;

/// Appends entries with `data` of so many bytes, past every limit of time.
async fn put(server: &RedisServer, stream: &str, fields: &[(&str, &str)], bytes: usize) {
    let client = redis::Client::open(server.url()).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    let off = ["SET", "appendonly", "no"];
    let _: redis::Value = redis::cmd("CONFIG")
        .arg(&off)
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*").arg(fields).arg("data").arg(vec![b'7'; bytes]);
    let _: String = add.query_async(&mut connection).await.unwrap();
}

async fn put_request(server: &RedisServer, requester: &ReplyTo, bytes: usize) -> CorrelationId {
    let id = CorrelationId::new();
    let (text, requester) = (id.to_string(), requester.to_string());
    let fields = [
        ("requestId", text.as_str()),
        ("replyTo", requester.as_str()),
        ("budgetMs", "3600000"),
        ("traceparent", ""),
    ];
    put(server, "weather-requests", &fields, bytes).await;
    id
}

async fn put_reply(server: &RedisServer, requester: &ReplyTo, bytes: usize) -> CorrelationId {
    let id = CorrelationId::new();
    let fields = [("requestId", &*id.to_string()), ("status", "ok")];
    put(server, &format!("weather-responses:{requester}"), &fields, bytes).await;
    id
}

/// Works as a worker does: claims, and after an error recovers what it was given and does not hold.
async fn work_off(broker: &dyn Broker, count: usize) -> Vec<Delivery> {
    let me = Consumer::unique("w");
    let (mut all, mut turns, mut recover): (Vec<Delivery>, _, _) = (Vec::new(), 0, false);
    while all.len() < count {
        turns += 1;
        assert!(
            turns <= 3 * count,
            "after {turns} turns there are {} of {count}",
            all.len()
        );
        let found = match recover {
            true => recovered(broker, &me, &all, count).await,
            false => broker.claim(&me, count - all.len()).await,
        };
        recover = found.is_err();
        all.extend(found.unwrap_or_default());
    }
    all.sort_by_key(|delivery| delivery.receipt.entry);
    all
}

async fn recovered(
    broker: &dyn Broker,
    me: &Consumer,
    held: &[Delivery],
    max: usize,
) -> Result<Vec<Delivery>, roundtrip::BrokerError> {
    let held: HashSet<EntryId> = held.iter().map(|delivery| delivery.receipt.entry).collect();
    let lost = broker.recover(me, &held, max).await?;
    let attempts: Vec<_> = lost.iter().map(|one| (one.entry, one.deliveries.max(1))).collect();
    broker.redeliver(me, &attempts).await
}

/// A port that leads to the server over a link of so many bytes a second, for each connection.
async fn slow_path_to(server: &RedisServer, rate: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, server) = (listener.local_addr().unwrap().port(), server.address.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    tokio::time::sleep(Duration::from_micros((count * 1_000_000 / rate) as u64)).await;
                    if to_client.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

fn patient(port: u16) -> Arc<dyn Broker> {
    let url: BrokerUrl = format!("redis://127.0.0.1:{port}").parse().unwrap();
    connect(&url, Duration::from_secs(60), Durability::Volatile).broker
}

#[tokio::test]
async fn however_many_requests_wait_none_is_trimmed() {
    const BATCH: usize = 500;
    const BATCHES: u64 = 24;
    let harness = harness().await;
    let batch = vec![request(&ReplyTo::unique("a")); BATCH];
    let first = harness.broker.publish(&batch).await.unwrap()[0];
    for _ in 1..BATCHES {
        harness.broker.publish(&batch).await.unwrap();
    }
    let depth = harness.broker.depth().await.unwrap();
    assert_eq!(depth.waiting, BATCHES * BATCH as u64);
    let oldest = harness.broker.claim(&Consumer::unique("w"), 1).await.unwrap();
    assert_eq!(oldest[0].receipt.entry, first);
}

#[tokio::test]
async fn ten_large_entries_are_all_delivered() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(put_request(&harness.server, &requester, 20 * MIB).await);
    }
    sent.push(put_request(&harness.server, &requester, 2).await);
    // Each takes half a second on its way.
    let port = slow_path_to(&harness.server, 40 * MIB).await;
    let all = work_off(patient(port).as_ref(), sent.len()).await;
    let requests: Vec<_> = all.iter().map(|one| one.content.as_ref().unwrap()).collect();
    assert_eq!(requests.iter().map(|request| request.id).collect::<Vec<_>>(), sent);
    assert!(requests[..10].iter().all(|request| request.data.len() == 20 * MIB));
}

#[tokio::test]
async fn an_entry_too_large_to_be_read_is_set_aside_and_its_neighbours_are_served() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let first = put_request(&harness.server, &requester, 2).await;
    let huge = put_request(&harness.server, &requester, 100 * MIB).await;
    let last = put_request(&harness.server, &requester, 2).await;
    let all = work_off(patient(harness.server.address.port()).as_ref(), 3).await;
    assert_eq!(all[0].content.as_ref().unwrap().id, first);
    assert_eq!(all[2].content.as_ref().unwrap().id, last);
    let malformed = all[1].content.as_ref().unwrap_err();
    assert_eq!(
        malformed.requester,
        Some((huge, requester)),
        "its requester can be told"
    );
    assert!(malformed.reason.contains("64 MiB"), "{}", malformed.reason);
    let kept: usize = malformed.fields.iter().map(|(_, value)| value.len()).sum();
    assert!(kept < MIB, "{kept} bytes are kept of it");
}

#[tokio::test]
async fn a_large_reply_is_delivered_and_one_that_is_too_large_is_a_fault() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let mut replies = harness.broker.replies(&requester);
    let mut sent = Vec::new();
    for bytes in [2, 64 * MIB, 2, 100 * MIB, 3 * MIB, 2] {
        sent.push((put_reply(&harness.server, &requester, bytes).await, bytes));
    }
    let mut got: Vec<Reply> = Vec::new();
    for turn in 0.. {
        assert!(turn < 20, "{} of {} replies after {turn} reads", got.len(), sent.len());
        if got.len() >= sent.len() {
            break;
        }
        got.extend(replies.next().await.unwrap_or_default());
    }
    for ((id, bytes), reply) in sent.into_iter().zip(got) {
        assert_eq!(reply.id, id);
        match reply.outcome {
            Ok(data) => assert!(data.len() == bytes && bytes <= 64 * MIB, "{bytes}"),
            Err(fault) => assert_eq!((fault.code, bytes), (FaultCode::ResultTooLarge, 100 * MIB), "{fault:?}"),
        }
    }
}

#[tokio::test]
async fn a_large_reply_does_not_pin_its_neighbours() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let mut replies = harness.broker.replies(&requester);
    for bytes in [1000, 3 * MIB, 1000] {
        put_reply(&harness.server, &requester, bytes).await;
    }
    let mut got = Vec::new();
    while got.len() < 3 {
        got.extend(replies.next().await.unwrap());
    }
    let data: Vec<Bytes> = got.into_iter().map(|reply| reply.outcome.unwrap()).collect();
    assert!(
        data[0].is_unique() && data[2].is_unique(),
        "they share the large one's memory"
    );
    put_reply(&harness.server, &requester, 1000).await;
    let next = replies.next().await.unwrap().remove(0).outcome.unwrap();
    drop(data);
    assert!(
        replies.next().await.unwrap().is_empty(),
        "the connection is still the same"
    );
    assert_eq!(next.len(), 1000);
}

#[tokio::test]
async fn orphans_are_found_whatever_their_size() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    // One of them is larger than anything that is read.
    for mib in [8, 66, 1, 8, 8] {
        put_request(&harness.server, &requester, mib * MIB).await;
    }
    let end = ["XGROUP", "SETID", "weather-requests", "processing-group", "$"];
    harness.server.command(&end).await.unwrap();
    let (broker, me) = (patient(harness.server.address.port()), Consumer::unique("w"));
    let mut rescued = 0;
    until("all are found", async || {
        let tidied = broker.maintain(&me, 4, Duration::from_secs(60)).await;
        rescued += tidied.map_or(0, |tidied| tidied.rescued);
        rescued == 5
    })
    .await;
    let scripts = harness.server.command(&["INFO", "memory"]).await.unwrap();
    let text = String::from_utf8_lossy(match &scripts {
        redis::Value::BulkString(text) => text,
        other => panic!("{other:?}"),
    })
    .into_owned();
    let lua = text.lines().find_map(|line| line.strip_prefix("used_memory_lua:"));
    let lua: usize = lua.unwrap().trim().parse().unwrap();
    assert!(lua < MIB, "their data stays out of scripts: {lua} bytes");
}
