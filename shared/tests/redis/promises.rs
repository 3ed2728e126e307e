//! Records of requests whose result will not come, and wishes that are over.

use super::*;

/// Makes everything due that would be due one day.
async fn let_time_pass(server: &RedisServer, requests: &[&Request]) {
    for request in requests {
        let id = request.id.to_string();
        server
            .command(&["ZADD", "weather-results-expiry", "XX", "1", &id])
            .await
            .unwrap();
    }
}

async fn sweep(records: &dyn ResultStore) -> Purged {
    records.purge_expired().await.unwrap()
}

#[tokio::test]
async fn a_record_ends_whose_request_is_in_nobodys_hands_any_more() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    harness.broker.heartbeat(&requester).await.unwrap();
    let (lost, at_work, waiting) = (
        kept(&requester, Keep::Only),
        kept(&requester, Keep::Only),
        kept(&requester, Keep::Only),
    );
    for request in [&lost, &at_work] {
        accepted_and_claimed(&harness, &me, request, None).await;
    }
    harness.records.submit(&[acceptance(&waiting, None)]).await.unwrap();
    let lost_entry = harness
        .server
        .command(&["HGET", &format!("weather-result:{}", lost.id), "entry"])
        .await;
    let Some(redis::Value::BulkString(entry)) = lost_entry else {
        panic!("no entry")
    };
    let entry = String::from_utf8(entry).unwrap();
    harness
        .server
        .command(&["XACK", "weather-requests", "processing-group", &entry])
        .await
        .unwrap();
    harness
        .server
        .command(&["XDEL", "weather-requests", &entry])
        .await
        .unwrap();

    assert_eq!(
        sweep(harness.records.as_ref()).await,
        Purged::default(),
        "its time is not over"
    );
    let_time_pass(&harness.server, &[&lost, &at_work, &waiting]).await;
    assert_eq!(sweep(harness.records.as_ref()).await, Purged { removed: 0, ended: 1 });
    let ended = record(harness.records.as_ref(), lost.id).await.unwrap();
    assert_eq!(ended.status, Status::Expired);
    assert!(matches!(ended.outcome, Some(Err(fault)) if fault.code == FaultCode::Expired));
    for request in [&at_work, &waiting] {
        assert_eq!(
            record(harness.records.as_ref(), request.id).await.unwrap().status,
            Status::Queued
        );
    }
    assert_eq!(
        sweep(harness.records.as_ref()).await,
        Purged::default(),
        "they are looked at again later"
    );
    let_time_pass(&harness.server, &[&lost]).await;
    assert_eq!(sweep(harness.records.as_ref()).await, Purged { removed: 1, ended: 0 });
}

#[tokio::test]
async fn a_record_waits_for_a_reply_that_nobody_has_read_yet() {
    let (harness, me, away) = (harness().await, Consumer::unique("w"), ReplyTo::unique("away"));
    harness.broker.heartbeat(&away).await.unwrap();
    let sent = request(&away);
    let entries = harness.broker.publish(std::slice::from_ref(&sent)).await.unwrap();
    let delivery = harness.broker.claim(&me, 1).await.unwrap().remove(0);
    harness
        .records
        .create_record(sent.id, Some(entries[0]), sent.budget, &away)
        .await
        .unwrap();
    harness.broker.settle(&[answered(&delivery)]).await.unwrap();
    harness
        .server
        .command(&["ZADD", "weather-requesters", "1", away.as_str()])
        .await
        .unwrap();
    let_time_pass(&harness.server, &[&sent]).await;
    assert_eq!(sweep(harness.records.as_ref()).await, Purged::default());
    replies::looks(&harness, &ReplyTo::unique("there")).await;
    assert_eq!(
        record(harness.records.as_ref(), sent.id).await.unwrap().status,
        Status::Succeeded
    );
}

#[tokio::test]
async fn a_wish_to_end_goes_with_the_settlement_and_with_the_deadline() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    harness.broker.heartbeat(&requester).await.unwrap();
    let sent = [
        request(&requester),
        request(&requester),
        kept(&requester, Keep::WithReply),
    ];
    let mut entries = harness.broker.publish(&sent[..2]).await.unwrap();
    let mut deliveries = harness.broker.claim(&me, 2).await.unwrap();
    deliveries.push(accepted_and_claimed(&harness, &me, &sent[2], None).await);
    entries.push(deliveries[2].receipt.entry);
    for (request, entry) in sent.iter().zip(&entries) {
        let asked = harness.records.cancel(request.id, Some(*entry)).await.unwrap();
        assert_eq!(asked, CancelOutcome::Requested);
        let score = ["ZSCORE", "weather-cancelling", &request.id.to_string()];
        let Some(redis::Value::BulkString(score)) = harness.server.command(&score).await else {
            panic!("no wish")
        };
        let score: f64 = String::from_utf8(score).unwrap().parse().unwrap();
        let deadline = entry.at.millis as f64 + 30_000.0;
        assert!(
            (deadline..deadline + 300_000.0).contains(&score),
            "{score} is not after {deadline}"
        );
    }
    let asked: Vec<_> = sent.iter().map(|request| request.id).collect();
    let mut known = harness.records.cancelling(&asked).await.unwrap();
    known.sort_unstable();
    assert_eq!(known, asked);
    let settlements: Vec<_> = deliveries
        .iter()
        .map(|delivery| answered(delivery).asked_to_end(true))
        .collect();
    harness.broker.settle(&settlements).await.unwrap();
    assert_eq!(harness.server.number(&["ZCARD", "weather-cancelling"]).await, 0);
    harness
        .server
        .command(&["ZADD", "weather-cancelling", "1", "x"])
        .await
        .unwrap();
    sweep(harness.records.as_ref()).await;
    assert_eq!(harness.server.number(&["ZCARD", "weather-cancelling"]).await, 0);
}

#[tokio::test]
async fn a_page_is_full_although_records_expired_that_nobody_swept() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let requests = [(); 30].map(|()| kept(&requester, Keep::Only));
    let asked: Vec<_> = requests.iter().map(|request| acceptance(request, None)).collect();
    harness.records.submit(&asked).await.unwrap();
    for request in &requests[5..25] {
        harness
            .server
            .command(&["DEL", &format!("weather-result:{}", request.id)])
            .await
            .unwrap();
    }
    for status in [None, Some(Status::Queued)] {
        let page = harness.records.list_records(status, None, 7).await.unwrap();
        let newest = requests[25..].iter().chain(&requests[3..5]);
        let mut newest: Vec<_> = newest.map(|request| request.id).collect();
        newest.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(page.iter().map(|record| record.id).collect::<Vec<_>>(), newest);
    }
}

#[tokio::test]
async fn a_record_that_something_is_wrong_with_stops_nothing_else() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    harness.broker.heartbeat(&requester).await.unwrap();
    let requests = [(); 3].map(|()| kept(&requester, Keep::WithReply));
    let mut deliveries = Vec::new();
    for request in &requests {
        deliveries.push(accepted_and_claimed(&harness, &me, request, None).await);
    }
    let key = |request: &Request| format!("weather-result:{}", request.id);
    harness.server.command(&["DEL", &key(&requests[0])]).await.unwrap();
    harness.server.command(&["SET", &key(&requests[0]), "x"]).await.unwrap();
    harness
        .server
        .command(&["HDEL", &key(&requests[1]), "ttl", "max"])
        .await
        .unwrap();
    let settlements: Vec<_> = deliveries.iter().map(answered).collect();
    harness.broker.settle(&settlements).await.unwrap();
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 0);
    assert_eq!(
        harness
            .server
            .number(&["XLEN", &format!("weather-responses:{requester}")])
            .await,
        3
    );
    assert_eq!(
        record(harness.records.as_ref(), requests[2].id).await.unwrap().status,
        Status::Succeeded
    );
    let all: Vec<_> = requests.iter().collect();
    let_time_pass(&harness.server, &all).await;
    assert_eq!(sweep(harness.records.as_ref()).await, Purged { removed: 1, ended: 0 });
}

#[tokio::test]
async fn a_reply_key_that_is_no_stream_costs_no_other_reply() {
    let (harness, me) = (harness().await, Consumer::unique("w"));
    let (wrong, missing, well) = (ReplyTo::unique("a"), ReplyTo::unique("b"), ReplyTo::unique("c"));
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let broker = connect(&url, Duration::from_secs(60), Durability::Volatile).broker;
    let key = |requester: &ReplyTo| format!("weather-responses:{requester}");
    let sent = [&wrong, &missing, &well].map(request);
    broker.publish(&sent).await.unwrap();
    let settlements: Vec<_> = broker.claim(&me, 3).await.unwrap().iter().map(answered).collect();
    harness
        .server
        .command(&["DEL", &key(&wrong), &key(&missing)])
        .await
        .unwrap();
    harness.server.command(&["SET", &key(&wrong), "x"]).await.unwrap();
    broker.settle(&settlements).await.unwrap();
    assert_eq!(
        harness.server.number(&["XLEN", &key(&missing)]).await,
        1,
        "owed, and paid"
    );
    assert_eq!(harness.server.number(&["XLEN", &key(&well)]).await, 1);
    // Nor does it stop the adoption of what others left.
    for gone in [&wrong, &missing] {
        harness
            .server
            .command(&["ZADD", "weather-requesters", "1", gone.as_str()])
            .await
            .unwrap();
    }
    let adopted = replies::looks(&harness, &ReplyTo::unique("there")).await;
    assert_eq!((adopted.removed, adopted.adopted), (1, 1));
}
