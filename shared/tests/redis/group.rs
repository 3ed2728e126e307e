//! The consumer group, as others may have left it.

use super::*;

#[tokio::test]
async fn a_lost_group_is_made_again_and_serves_what_waits() {
    let (harness, me) = (harness().await, Consumer::unique("w"));
    let _ = harness.broker.claim(&me, 1).await.unwrap();
    for loss in [
        &["XGROUP", "DESTROY", "weather-requests", "processing-group"][..],
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
        let id = deliveries[0].receipt.entry.at.to_string();
        harness
            .server
            .command(&["XACK", "weather-requests", "processing-group", &id])
            .await
            .unwrap();
        harness
            .server
            .command(&["XDEL", "weather-requests", &id])
            .await
            .unwrap();
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
        .command(&["XTRIM", "weather-requests", "MAXLEN", "0"])
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
        let pending = ["XPENDING", "weather-requests", "processing-group", "-", "+", "10"];
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
        harness.broker.deregister(consumer).await.unwrap();
    }
    let consumers = harness
        .server
        .command(&["XINFO", "CONSUMERS", "weather-requests", "processing-group"])
        .await
        .unwrap();
    let text = format!("{consumers:?}");
    assert!(!text.contains(idle.as_str()), "{text}");
    assert!(
        text.contains(busy.as_str()),
        "its work would be discarded with it: {text}"
    );
}

/// A consumer group as it stands: names of its consumers.
async fn consumers(server: &RedisServer) -> String {
    let consumers = ["XINFO", "CONSUMERS", "weather-requests", "processing-group"];
    format!("{:?}", server.command(&consumers).await.unwrap())
}

#[tokio::test]
async fn a_dead_consumer_is_forgotten_once_it_holds_nothing() {
    let (harness, dead, heir) = (harness().await, Consumer::unique("dead"), Consumer::unique("heir"));
    harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    assert_eq!(harness.broker.claim(&dead, 1).await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let silent = Duration::from_millis(50);
    let tidied = harness.broker.maintain(&heir, 4, silent).await.unwrap();
    assert_eq!(tidied, Maintained::default(), "its work would be discarded with it");
    until("its work is taken over", async || {
        harness.broker.reclaim(&heir, silent, 1).await.unwrap().len() == 1
    })
    .await;
    assert_eq!(harness.broker.maintain(&heir, 4, silent).await.unwrap().consumers, 1);
    let left = consumers(&harness.server).await;
    assert!(!left.contains(dead.as_str()) && left.contains(heir.as_str()), "{left}");
}

#[tokio::test]
async fn tidying_takes_nothing_that_waits() {
    let (harness, me) = (harness().await, Consumer::unique("me"));
    let batch = vec![request(&ReplyTo::unique("a")); 3];
    harness.broker.publish(&batch).await.unwrap();
    for _ in 0..3 {
        let tidied = harness.broker.maintain(&me, 4, Duration::from_secs(60)).await.unwrap();
        assert_eq!(tidied, Maintained::default());
    }
    let depth = harness.broker.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.claimed), (3, 0));
    let names = consumers(&harness.server).await;
    assert!(names.contains(me.as_str()), "it has given a sign of life: {names}");
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
        "weather-requests",
        "processing-group",
        careless.as_str(),
    ];
    harness.server.command(&delete).await.unwrap();
    let silent = Duration::from_secs(60);
    let mut found = 0;
    while found < 80 {
        assert!(
            broker.maintain(&me, 4, silent).await.unwrap().rescued > 0,
            "{found} found"
        );
        let dropped = broker.reclaim(&me, silent, 100).await.unwrap();
        assert!(dropped.iter().all(|one| one.deliveries == 0), "{dropped:?}");
        let attempts: Vec<_> = dropped.iter().map(|one| (one.entry, 1)).collect();
        found += broker.redeliver(&me, &attempts).await.unwrap().len();
    }
    assert_eq!(found, 80, "and none of the {} that are at work", held.len());
    assert_eq!(broker.maintain(&me, 4, silent).await.unwrap(), Maintained::default());
}

#[tokio::test]
async fn requests_from_before_a_group_that_begins_at_the_end_are_served() {
    let (harness, me) = (harness().await, Consumer::unique("me"));
    let group = ["weather-requests", "processing-group"];
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
        harness
            .broker
            .maintain(&me, 4, Duration::from_secs(60))
            .await
            .unwrap()
            .rescued,
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
async fn the_servers_memory_and_its_limit_are_known() {
    let harness = harness().await;
    let unlimited = harness.broker.depth().await.unwrap().memory.unwrap();
    assert!(unlimited.used > 100_000, "{unlimited:?}");
    assert_eq!(unlimited.max, 0);
    let limit = ["CONFIG", "SET", "maxmemory", "200mb"];
    harness.server.command(&limit).await.unwrap();
    assert_eq!(
        harness.broker.depth().await.unwrap().memory.unwrap().max,
        200 * 1024 * 1024
    );
}

/// Puts so many entries into the stream and has `holder` hold them; their ids are `1-1`, `1-2`, …
async fn hold(server: &RedisServer, holder: &Consumer, from: usize, count: usize) {
    const HOLD: &str = r"
        for i = ARGV[2], ARGV[3] do redis.call('XADD', KEYS[1], '1-' .. i, 'no', 'request') end
        redis.call('XREADGROUP', 'GROUP', 'processing-group', ARGV[1], 'COUNT', 2000, 'STREAMS', KEYS[1], '>')
        return redis.status_reply('OK')";
    server.command(&["CONFIG", "SET", "appendonly", "no"]).await.unwrap();
    for first in (from..from + count).step_by(2000) {
        let last = (from + count - 1).min(first + 1999).to_string();
        let first = first.to_string();
        let hold = ["EVAL", HOLD, "1", "weather-requests", holder.as_str(), &first, &last];
        server.command(&hold).await.unwrap();
    }
}

#[tokio::test]
async fn however_much_is_held_all_of_it_is_renewed_and_handed_back() {
    const HELD: usize = 60_000;
    let (harness, me) = (harness().await, Consumer::unique("me"));
    hold(&harness.server, &me, 1, HELD).await;
    let receipt = |n: usize| roundtrip::broker::Receipt {
        entry: entry(n),
        consumer: me.clone(),
        claimed: tokio::time::Instant::now(),
    };
    let mut receipts: Vec<_> = (1..=HELD).map(receipt).collect();
    receipts.push(receipt(HELD + 1));
    let broker = unhurried(&harness.server);
    assert_eq!(broker.renew(&me, &receipts).await.unwrap(), HELD);
    broker.deregister(&me).await.unwrap();
    let heir = Consumer::unique("heir");
    let mut taken = 0;
    for _ in 0..HELD / 1000 {
        taken += broker.reclaim(&heir, DAY, 1000).await.unwrap().len();
    }
    assert_eq!(taken, HELD);
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn entry(n: usize) -> EntryId {
    let (millis, sequence) = (1, n as u64);
    EntryId::of(OperationName::first(), Position { millis, sequence })
}

async fn reclaimed(broker: &dyn Broker, consumer: &Consumer, max: usize) -> Vec<u64> {
    let dropped = broker.reclaim(consumer, DAY, max).await.unwrap();
    dropped.iter().map(|one| one.entry.at.sequence).collect()
}

#[tokio::test]
async fn one_scan_finds_what_was_dropped_behind_much_that_is_at_work() {
    let (harness, busy, heir) = (harness().await, Consumer::unique("busy"), Consumer::unique("heir"));
    let broker = unhurried(&harness.server);
    hold(&harness.server, &busy, 1, 1500).await;
    broker.release(&busy, &[entry(700), entry(1400)]).await.unwrap();
    assert_eq!(reclaimed(broker.as_ref(), &heir, 1).await, [700]);
    assert_eq!(reclaimed(broker.as_ref(), &heir, 16).await, [1400]);
    // What the last scan has passed is found by the next.
    broker.release(&heir, &[entry(700), entry(1400)]).await.unwrap();
    let one = reclaimed(broker.as_ref(), &heir, 1).await;
    broker.release(&heir, &[entry(one[0] as usize)]).await.unwrap();
    let mut both = reclaimed(broker.as_ref(), &heir, 16).await;
    both.sort_unstable();
    assert_eq!(both, [700, 1400]);
    // Round to where it began, and not further.
    let all = broker.reclaim(&heir, Duration::ZERO, 1500).await.unwrap();
    let entries: HashSet<_> = all.iter().map(|one| one.entry).collect();
    assert_eq!((all.len(), entries.len()), (1500, 1500));
}

#[tokio::test]
async fn a_scan_is_bounded_and_the_next_goes_on_behind_it() {
    let (harness, busy, heir) = (harness().await, Consumer::unique("busy"), Consumer::unique("heir"));
    let broker = unhurried(&harness.server);
    hold(&harness.server, &busy, 1, 10_000).await;
    broker.release(&busy, &[entry(9_000)]).await.unwrap();
    let mut scans = 1;
    while reclaimed(broker.as_ref(), &heir, 1).await.is_empty() {
        scans += 1;
    }
    assert_eq!(scans, 5);
}

#[tokio::test]
async fn orphans_behind_much_that_is_held_are_found_while_others_wait() {
    let (harness, careless, me) = (harness().await, Consumer::unique("careless"), Consumer::unique("me"));
    hold(&harness.server, &me, 1, 4000).await;
    hold(&harness.server, &careless, 4001, 2000).await;
    hold(&harness.server, &me, 6001, 2000).await;
    for id in 8001..8201 {
        let holder = if id % 2 == 0 { &me } else { &careless };
        hold(&harness.server, holder, id, 1).await;
    }
    let delete = [
        "XGROUP",
        "DELCONSUMER",
        "weather-requests",
        "processing-group",
        careless.as_str(),
    ];
    harness.server.command(&delete).await.unwrap();
    harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    let mut rescued = 0;
    for _ in 0..4 {
        let tidied = harness.broker.maintain(&me, 4, Duration::from_secs(60)).await.unwrap();
        rescued += tidied.rescued;
    }
    assert_eq!(rescued, 2100);
    let depth = harness.broker.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.claimed), (1, 8200));
}
