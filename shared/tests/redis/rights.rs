//! Users that may not do everything.

use super::*;

/// A backend as a user with these rules.
async fn as_user(server: &RedisServer, rules: &[&str]) -> Backend {
    let setting = ["ACL", "SETUSER", "app", "reset", "on", ">pw"];
    server.command(&[&setting, rules].concat()).await.unwrap();
    let url = server.url().replace("redis://", "redis://app:pw@");
    connect(&url.parse().unwrap(), Duration::from_secs(60), Durability::Volatile)
}

#[tokio::test]
async fn a_user_without_channels_does_all_the_work() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let user = as_user(&harness.server, &["~test-*", "+@all"]).await;
    let asked = kept(&requester, Keep::Only);
    let outcomes = user.records.accept(&[acceptance(&asked, Some(1))]).await.unwrap();
    assert!(matches!(outcomes[0], Ok(Accepted::As(_))), "{outcomes:?}");
    let delivery = user.broker.claim(&me, 1).await.unwrap().remove(0);
    assert_eq!(user.records.begin(asked.id, 1).await.unwrap(), broker::Begun::Go);
    assert_eq!(user.records.cancel(asked.id, None).await.unwrap(), Cancelled::Asked);
    user.broker.settle(&[answered(&delivery)]).await.unwrap();
    assert_eq!(
        record(user.records.as_ref(), asked.id).await.unwrap().status,
        Status::Succeeded
    );
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 0);
}

#[tokio::test]
async fn a_request_that_is_refused_for_any_missing_right_never_runs() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    for missing in ["-xadd", "-zadd", "-hset", "-pexpireat", "-set", "-publish"] {
        let user = as_user(&harness.server, &["~test-*", "+@all", missing]).await;
        let asked = acceptance(&kept(&requester, Keep::Only), Some(1));
        let accepted = user.records.accept(&[asked]).await;
        let outcome = accepted.and_then(|mut outcomes| outcomes.remove(0));
        let length = harness.server.command(&["XLEN", "test-requests"]).await;
        let refused = outcome.is_err();
        assert_eq!(refused, missing != "-publish", "{missing}: {outcome:?}");
        let expected = if refused { 0 } else { 1 };
        assert_eq!(length, Some(redis::Value::Int(expected)), "{missing}");
        let left = format!("{:?}", harness.server.command(&["KEYS", "test-result*"]).await);
        assert_eq!(left.contains("test-result"), !refused, "{missing}: {left}");
        assert_eq!(
            harness
                .server
                .number(&["EXISTS", &format!("test-key:{}", "01".repeat(32))])
                .await,
            expected
        );
    }
}

#[tokio::test]
async fn a_worker_that_may_not_end_deliveries_writes_no_replies_and_no_letters() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    harness.broker.attend(&requester).await.unwrap();
    for missing in ["-xdel", "-xack"] {
        let user = as_user(&harness.server, &["~test-*", "&*", "+@all", missing]).await;
        let asked = kept(&requester, Keep::WithReply);
        let delivery = accepted_and_claimed(&harness, &me, &asked, None).await;
        let letter = DeadLetter {
            reason: "test".into(),
            attempts: 1,
            last_error: String::new(),
            fields: Vec::new(),
        };
        let outcome = Err(Fault::new(FaultCode::DeadLettered, "test"));
        let reply = (requester.clone(), Reply { id: asked.id, outcome });
        let given_up = Settlement::dead_letter(delivery.receipt.clone(), letter, Some(reply)).keeping(Keep::WithReply);
        for settlement in [answered(&delivery), given_up] {
            for _ in 0..3 {
                let error = user.broker.settle(std::slice::from_ref(&settlement)).await.unwrap_err();
                assert_eq!(error.kind(), BrokerErrorKind::Rejected, "{missing}: {error:?}");
            }
        }
        assert_eq!(
            harness.server.number(&["XLEN", "test-dead-letters"]).await,
            0,
            "{missing}"
        );
        assert_eq!(
            harness
                .server
                .number(&["XLEN", &format!("test-responses:{requester}")])
                .await,
            0
        );
        assert_eq!(
            record(harness.records.as_ref(), asked.id).await.unwrap().status,
            Status::Queued
        );
        harness.broker.settle(&[answered(&delivery)]).await.unwrap();
        harness.broker.replies(&requester).next().await.unwrap();
        harness
            .server
            .command(&["DEL", &format!("test-responses:{requester}")])
            .await
            .unwrap();
        harness.broker.attend(&requester).await.unwrap();
    }
}
