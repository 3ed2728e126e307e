//! Reply streams, and who removes them.

use super::*;

#[tokio::test]
async fn read_replies_are_trimmed() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    let stream = format!("weather-responses:{requester}");
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
    // The second is never certain that it still holds what it settles, and asks first.
    let mut replies = harness.broker.replies(&requester);
    for (broker, by_script) in [(&unhurried(&harness.server), false), (&harness.broker, true)] {
        broker.heartbeat(&requester).await.unwrap();
        harness.server.command(&["FLUSHALL"]).await.unwrap();
        broker.prepare().await.unwrap();
        broker.publish(&[request(&requester)]).await.unwrap();
        let delivery = broker.claim(&me, 1).await.unwrap().remove(0);
        if by_script {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let id = delivery.content.unwrap().id;
        let reply = Reply::new(id, Origin::default(), Ok("{}".into()));
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
    add.arg("weather-requests")
        .arg("*")
        .arg(fields.flatten().collect::<Vec<_>>());
    let client = redis::Client::open(harness.server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: String = add.query_async(&mut connection).await.unwrap();
    let delivery = broker.claim(&me, 1).await.unwrap().remove(0);
    let reply = Reply::new(by_hand.id, Origin::default(), Ok("{}".into()));
    let requester = by_hand.reply_to;
    let settlement = Settlement::reply(delivery.receipt, requester.clone(), reply);
    broker.settle(&[settlement]).await.unwrap();
    let stream = format!("weather-responses:{requester}");
    assert_eq!(harness.server.number(&["XLEN", &stream]).await, 1, "its reply is there");
    assert_eq!(
        broker.heartbeat(&there).await.unwrap().removed,
        0,
        "it has time to read it"
    );
    let score = ["ZSCORE", "weather-requesters", requester.as_str()];
    let last = harness.server.command(&score).await;
    assert!(last.is_some_and(|last| last != redis::Value::Nil), "its time runs");
}

#[tokio::test]
async fn what_a_dead_requester_leaves_is_removed_after_its_absence() {
    let (harness, dead, there) = (harness().await, ReplyTo::unique("dead"), ReplyTo::unique("there"));
    for requester in [&dead, &there] {
        assert_eq!(harness.broker.heartbeat(requester).await.unwrap().removed, 0);
    }
    let stream = |requester: &ReplyTo| format!("weather-responses:{requester}");
    assert_eq!(harness.server.number(&["EXISTS", &stream(&dead)]).await, 1);
    // It said something last when the clock began.
    harness
        .server
        .command(&["ZADD", "weather-requesters", "1", dead.as_str()])
        .await
        .unwrap();
    assert_eq!(looks(&harness, &there).await.removed, 1);
    assert_eq!(harness.server.number(&["EXISTS", &stream(&dead)]).await, 0);
    assert_eq!(harness.server.number(&["EXISTS", &stream(&there)]).await, 1);
    assert_eq!(harness.server.number(&["ZCARD", "weather-requesters"]).await, 1);
    harness.broker.replies(&there).close().await.unwrap();
    assert_eq!(harness.server.number(&["EXISTS", "weather-requesters"]).await, 0);
}

/// Looks often enough to judge who is gone.
pub(crate) async fn looks(harness: &Redis, there: &ReplyTo) -> broker::Adoption {
    let mut all = broker::Adoption::default();
    for _ in 0..11 {
        let one = harness.broker.heartbeat(there).await.unwrap();
        all.removed += one.removed;
        all.adopted += one.adopted;
    }
    all
}

#[tokio::test]
async fn who_says_something_between_two_looks_is_not_gone() {
    let (harness, slow, there) = (harness().await, ReplyTo::unique("slow"), ReplyTo::unique("there"));
    // The server stood still, or its clock was set: everybody is silent for too long, until they say something.
    for score in 1..30 {
        harness
            .server
            .command(&["ZADD", "weather-requesters", &score.to_string(), slow.as_str()])
            .await
            .unwrap();
        for _ in 0..9 {
            assert_eq!(harness.broker.heartbeat(&there).await.unwrap().removed, 0);
        }
    }
    assert_eq!(looks(&harness, &there).await.removed, 1, "now it says nothing any more");
}

#[tokio::test]
async fn results_of_a_requester_that_seemed_gone_are_kept_without_a_record() {
    let (harness, me) = (harness().await, Consumer::unique("w"));
    let (frozen, there) = (ReplyTo::unique("frozen"), ReplyTo::unique("there"));
    harness.broker.heartbeat(&frozen).await.unwrap();
    let broker = unhurried(&harness.server);
    let sent = [request(&frozen), request(&frozen), request(&frozen)];
    let entries = broker.publish(&sent).await.unwrap();
    let deliveries = broker.claim(&me, 3).await.unwrap();
    broker.settle(&[answered(&deliveries[0])]).await.unwrap();
    harness
        .server
        .command(&["ZADD", "weather-requesters", "1", frozen.as_str()])
        .await
        .unwrap();
    assert_eq!(looks(&harness, &there).await.adopted, 1);
    // Settled when it is known to be gone: plainly, and by the script of those who are not certain.
    broker.settle(&[answered(&deliveries[1])]).await.unwrap();
    let late = answered(&deliveries[2]).asked_to_end(true);
    broker.settle(&[late]).await.unwrap();
    for (request, entry) in sent.iter().zip(entries) {
        // It wakes up, and its caller's time is over.
        let promised = harness
            .records
            .create_record(request.id, Some(entry), request.budget, &frozen)
            .await;
        promised.unwrap();
        let record = record(harness.records.as_ref(), request.id).await.unwrap();
        assert_eq!(
            (record.status, record.outcome),
            (Status::Succeeded, Some(Ok("{\"done\":true}".into())))
        );
    }
}

#[tokio::test]
async fn however_many_replies_are_left_all_are_adopted() {
    const REPLIES: usize = 130;
    let (harness, me) = (harness().await, Consumer::unique("w"));
    let (dead, there) = (ReplyTo::unique("dead"), ReplyTo::unique("there"));
    harness.broker.heartbeat(&dead).await.unwrap();
    let sent: Vec<_> = (0..REPLIES).map(|_| request(&dead)).collect();
    harness.broker.publish(&sent).await.unwrap();
    let mut answers = Vec::new();
    while answers.len() < REPLIES {
        let deliveries = harness.broker.claim(&me, REPLIES).await.unwrap();
        answers.extend(deliveries.iter().map(answered));
    }
    harness.broker.settle(&answers).await.unwrap();
    let silent = ["ZADD", "weather-requesters", "1", dead.as_str()];
    harness.server.command(&silent).await.unwrap();
    // Some at a time.
    let adopted = looks(&harness, &there).await.adopted + looks(&harness, &there).await.adopted;
    assert_eq!(adopted, REPLIES as u64);
    for request in sent {
        let record = record(harness.records.as_ref(), request.id).await.unwrap();
        assert_eq!(record.status, Status::Succeeded);
    }
}

/// Its result is kept first because nobody reads its reply, and then as every other: with one thing known of both.
#[tokio::test]
async fn a_key_of_work_that_may_have_begun_stays_also_where_its_requester_is_gone() {
    let (harness, me, gone) = (harness().await, Consumer::unique("w"), ReplyTo::unique("gone"));
    let (server, stream) = (&harness.server, format!("weather-responses:{gone}"));
    server
        .command(&["ZADD", "weather-requesters-gone", "99999999999999", gone.as_str()])
        .await
        .unwrap();
    for (key, may_have_begun) in [(1, true), (2, false)] {
        let request = kept(&gone, Keep::WithReply);
        let delivery = accepted_and_claimed(&harness, &me, &request, Some(key)).await;
        server.command(&["DEL", &stream]).await.unwrap();
        let outcome = Err(Fault::new(FaultCode::Expired, "too late"));
        let mut settlement = answered(&delivery).perhaps_begun(may_have_begun);
        settlement.reply.as_mut().unwrap().1.outcome = outcome;
        harness.broker.settle(&[settlement]).await.unwrap();
        let record = record(harness.records.as_ref(), request.id).await.unwrap();
        assert_eq!((record.status, record.has_key), (Status::Expired, may_have_begun));
    }
    assert_eq!(server.number(&["EXISTS", &stream]).await, 0, "nobody would read it");
}

#[tokio::test]
async fn a_reply_that_could_not_be_written_is_owed_and_written_later() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let server = &harness.server;
    server
        .command(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"])
        .await
        .unwrap();
    let url = server.url().replace("redis://", "redis://app:pw@");
    let broker = connect(&url.parse().unwrap(), Duration::from_secs(60), Durability::Volatile).broker;
    let sent = request(&requester);
    broker.publish(std::slice::from_ref(&sent)).await.unwrap();
    let delivery = broker.claim(&me, 1).await.unwrap().remove(0);
    let stream = format!("weather-responses:{requester}");
    server.command(&["DEL", &stream]).await.unwrap();
    server.command(&["ACL", "SETUSER", "app", "-eval"]).await.unwrap();
    let settlement = [answered(&delivery)];
    broker.settle(&settlement).await.unwrap_err();
    assert_eq!(
        server.number(&["XLEN", "weather-requests"]).await,
        0,
        "it is settled, and its reply owed"
    );
    broker.settle(&settlement).await.unwrap_err();
    server.command(&["ACL", "SETUSER", "app", "+eval"]).await.unwrap();
    broker.settle(&settlement).await.unwrap();
    assert_eq!(server.number(&["XLEN", &stream]).await, 1);
}
