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
