//! Counting and weighing help admission; where they do not work, everything else does.

use roundtrip::broker::{CancelOutcome, Settlement};
use roundtrip::{Fault, FaultCode};

use super::*;

/// Ends a request in each way that is counted; returns what was counted.
async fn discard(broker: &dyn Broker, records: &dyn ResultStore, scripted: bool) -> u64 {
    let (me, requester) = (Consumer::unique("w"), ReplyTo::unique("r"));
    let mut sent = vec![request(&requester); 3];
    for request in &mut sent {
        request.id = CorrelationId::new();
    }
    if scripted {
        sent[1].keep = Keep::WithReply;
    }
    let entries = broker.publish(&sent).await.unwrap();
    let mut settlements = Vec::new();
    while settlements.len() < 2 {
        for delivery in broker.claim(&me, 2 - settlements.len()).await.unwrap() {
            let request = delivery.content.unwrap();
            let outcome = Err(Fault::new(FaultCode::Expired, "too late"));
            let reply = Reply::new(request.id, Origin::default(), outcome);
            settlements.push(Settlement::reply(delivery.receipt, requester.clone(), reply).keeping(request.keep));
        }
    }
    broker.settle(&settlements).await.unwrap();
    let cancelled = records.cancel(sent[2].id, Some(entries[2])).await.unwrap();
    assert_eq!(cancelled, CancelOutcome::Cancelled);
    let depth = broker.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.claimed), (0, 0));
    depth.discarded
}

#[tokio::test]
async fn a_counter_that_cannot_be_written_costs_only_the_count() {
    let harness = harness().await;
    harness
        .server
        .command(&["SET", "weather-counts", "no hash"])
        .await
        .unwrap();
    let (broker, records) = (harness.broker.as_ref(), harness.records.as_ref());
    assert_eq!(discard(broker, records, true).await, 0);
    harness.server.command(&["DEL", "weather-counts"]).await.unwrap();
    assert_eq!(discard(broker, records, true).await, 3);
}

#[tokio::test]
async fn a_user_who_may_neither_count_nor_weigh_settles_all_the_same() {
    let harness = harness().await;
    let rule = "ACL SETUSER limited on >secret ~weather-* +@all -hincrby -memory";
    let mut rule: Vec<_> = rule.split(' ').collect();
    // Redis before 7 gives channels to all, and knows no other way.
    rule.push("allchannels");
    harness.server.command(&rule).await.unwrap();
    let url = harness.server.url().replace("redis://", "redis://limited:secret@");
    let backend = connect(&url.parse().unwrap(), Duration::from_secs(6), Durability::Volatile);
    assert_eq!(
        discard(backend.broker.as_ref(), backend.records.as_ref(), false).await,
        0
    );
    assert_eq!(backend.broker.depth().await.unwrap().bytes, 0);
}
