//! A server without memory: it refuses what is new, and lets go on what frees.

use super::*;

async fn fill(server: &RedisServer) {
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
}

#[tokio::test]
async fn what_was_accepted_is_settled_on_a_full_server() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    // Long enough that quick work is settled plainly.
    let broker = connect(&url, Duration::from_secs(60), Durability::Volatile).broker;
    broker.heartbeat(&requester).await.unwrap();
    let plain = [request(&requester), request(&requester)];
    broker.publish(&plain).await.unwrap();
    let mut settlements: Vec<_> = broker.claim(&me, 2).await.unwrap().iter().map(answered).collect();
    let with_record = kept(&requester, Keep::WithReply);
    let delivery = accepted_and_claimed(&harness, &me, &with_record, Some(1)).await;
    settlements.push(answered(&delivery));
    let poison = kept(&requester, Keep::Only);
    let delivery = accepted_and_claimed(&harness, &me, &poison, None).await;
    settlements.push(given_up(&delivery));

    fill(&harness.server).await;
    assert!(broker.publish(&plain).await.unwrap_err().is_full());
    assert_eq!(
        harness.records.start(with_record.id, 1).await.unwrap(),
        broker::Started::Proceed
    );
    broker.settle(&settlements).await.unwrap();
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 0);
    assert_eq!(harness.server.number(&["XLEN", "weather-dead-letters"]).await, 1);
    let replies = broker.replies(&requester).next().await.unwrap();
    assert_eq!(replies.len(), 3);
    for (request, status) in [(with_record, Status::Succeeded), (poison, Status::Failed)] {
        assert_eq!(
            record(harness.records.as_ref(), request.id).await.unwrap().status,
            status
        );
    }
    broker.heartbeat(&requester).await.expect("who is there can say so");
}

#[tokio::test]
async fn late_results_promises_and_wishes_are_kept_on_a_full_server() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let sent = [request(&requester), request(&requester)];
    let entries = harness.broker.publish(&sent).await.unwrap();
    harness.broker.claim(&me, 2).await.unwrap();
    fill(&harness.server).await;
    let kept = harness
        .records
        .create_record(sent[0].id, Some(entries[0]), sent[0].budget, &requester)
        .await;
    kept.unwrap();
    let reply = Reply::new(sent[0].id, Origin::default(), Ok("{}".into()));
    assert_eq!(harness.records.complete(&[reply]).await.unwrap(), 1);
    let asked = harness.records.cancel(sent[1].id, Some(entries[1])).await.unwrap();
    assert_eq!(asked, CancelOutcome::Requested);
}

#[tokio::test]
async fn a_refused_request_leaves_nothing_and_says_nothing_of_its_neighbours() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let requests = [(); 5].map(|()| kept(&requester, Keep::Only));
    // A key that holds something else fails one of the scripts halfway.
    let taken = format!("weather-result:{}", requests[2].id);
    harness.server.command(&["SET", &taken, "x"]).await.unwrap();
    let asked: Vec<_> = requests
        .iter()
        .enumerate()
        .map(|(n, request)| acceptance(request, Some(n as u8)))
        .collect();
    let outcomes = harness.records.submit(&asked).await.unwrap();
    let accepted: Vec<_> = outcomes
        .iter()
        .map(|outcome| matches!(outcome, Ok(Accepted::As(_))))
        .collect();
    assert_eq!(accepted, [true, true, false, true, true]);
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 4);
    fill(&harness.server).await;
    let late = [(); 3].map(|()| acceptance(&kept(&requester, Keep::Only), Some(9)));
    for outcome in harness.records.submit(&late).await.unwrap() {
        let error = outcome.unwrap_err();
        assert!(error.is_full(), "{error:?}");
    }
    harness
        .server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 4);
    assert_eq!(harness.server.number(&["ZCARD", "weather-results:queued"]).await, 4);
    let again = harness.records.submit(&late[..1]).await.unwrap();
    assert!(
        matches!(again[0], Ok(Accepted::As(_))),
        "its key names nothing: {again:?}"
    );
}

#[tokio::test]
async fn the_group_can_be_made_on_a_full_server() {
    let harness = harness().await;
    harness.broker.publish(&[request(&ReplyTo::unique("r"))]).await.unwrap();
    let destroy = ["XGROUP", "DESTROY", "weather-requests", "processing-group"];
    harness.server.command(&destroy).await.unwrap();
    fill(&harness.server).await;
    assert!(harness.broker.prepare().await.unwrap());
    assert!(!harness.broker.prepare().await.unwrap(), "it is there");
    assert_eq!(harness.broker.claim(&Consumer::unique("w"), 1).await.unwrap().len(), 1);
}
