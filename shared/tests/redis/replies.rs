//! Reply streams, and who removes them.

use super::*;

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
async fn a_reply_is_written_although_somebody_deleted_everything() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let broker = &harness.broker;
    let mut replies = broker.replies(&requester);
    for by_script in [false, true] {
        broker.attend(&requester).await.unwrap();
        harness.server.command(&["FLUSHALL"]).await.unwrap();
        broker.prepare().await.unwrap();
        broker.publish(&[request(&requester)]).await.unwrap();
        let delivery = broker.claim(&me, 1).await.unwrap().remove(0);
        if by_script {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let id = delivery.content.unwrap().id;
        let reply = Reply {
            id,
            outcome: Ok("{}".into()),
        };
        let settlement = Settlement::reply(delivery.receipt, requester.clone(), reply);
        broker.settle(&[settlement]).await.unwrap();
        assert_eq!(replies.next().await.unwrap()[0].id, id, "by script: {by_script}");
    }
}

#[tokio::test]
async fn a_stream_that_a_reply_made_is_removed_with_the_others() {
    let (harness, me) = (harness().await, Consumer::unique("w"));
    let (broker, there) = (&harness.broker, ReplyTo::unique("there"));
    // Somebody who publishes by hand, and never says that it is there.
    let by_hand = request(&ReplyTo::unique("by-hand"));
    let fields = by_hand
        .fields()
        .into_iter()
        .map(|(name, value)| [name.into(), value.to_vec()]);
    let mut add = redis::cmd("XADD");
    add.arg("test-requests")
        .arg("*")
        .arg(fields.flatten().collect::<Vec<_>>());
    let client = redis::Client::open(harness.server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: String = add.query_async(&mut connection).await.unwrap();
    let delivery = broker.claim(&me, 1).await.unwrap().remove(0);
    let reply = Reply {
        id: by_hand.id,
        outcome: Ok("{}".into()),
    };
    let requester = by_hand.reply_to;
    let settlement = Settlement::reply(delivery.receipt, requester.clone(), reply);
    broker.settle(&[settlement]).await.unwrap();
    let stream = format!("test-responses:{requester}");
    assert_eq!(harness.server.number(&["XLEN", &stream]).await, 1, "its reply is there");
    assert_eq!(
        broker.attend(&there).await.unwrap().removed,
        0,
        "it has time to read it"
    );
    let score = ["ZSCORE", "test-requesters", requester.as_str()];
    let last = harness.server.command(&score).await;
    assert!(last.is_some_and(|last| last != redis::Value::Nil), "its time runs");
}

#[tokio::test]
async fn what_a_dead_requester_leaves_is_removed_after_its_absence() {
    let (harness, dead, there) = (harness().await, ReplyTo::unique("dead"), ReplyTo::unique("there"));
    for requester in [&dead, &there] {
        assert_eq!(harness.broker.attend(requester).await.unwrap().removed, 0);
    }
    let stream = |requester: &ReplyTo| format!("test-responses:{requester}");
    assert_eq!(harness.server.number(&["EXISTS", &stream(&dead)]).await, 1);
    // It said something last when the clock began.
    harness
        .server
        .command(&["ZADD", "test-requesters", "1", dead.as_str()])
        .await
        .unwrap();
    assert_eq!(harness.broker.attend(&there).await.unwrap().removed, 1);
    assert_eq!(harness.server.number(&["EXISTS", &stream(&dead)]).await, 0);
    assert_eq!(harness.server.number(&["EXISTS", &stream(&there)]).await, 1);
    assert_eq!(harness.server.number(&["ZCARD", "test-requesters"]).await, 1);
    harness.broker.replies(&there).close().await.unwrap();
    assert_eq!(harness.server.number(&["EXISTS", "test-requesters"]).await, 0);
}
