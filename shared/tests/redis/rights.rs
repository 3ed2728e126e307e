//! Users that may not do everything.

use super::*;

/// A backend as a user with these rules.
async fn as_user(server: &RedisServer, rules: &[&str]) -> Backend {
    let setting = ["ACL", "SETUSER", "app", "reset", "resetchannels", "on", ">pw"];
    server.command(&[&setting, rules].concat()).await.unwrap();
    let url = server.url().replace("redis://", "redis://app:pw@");
    connect(&url.parse().unwrap(), Duration::from_secs(60), Durability::Volatile)
}

#[tokio::test]
async fn a_user_without_channels_does_all_the_work() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let user = as_user(&harness.server, &["~weather-*", "+@all"]).await;
    let asked = kept(&requester, Keep::Only);
    let outcomes = user.records.submit(&[acceptance(&asked, Some(1))]).await.unwrap();
    assert!(matches!(outcomes[0], Ok(Accepted::As(_))), "{outcomes:?}");
    let delivery = user.broker.claim(&me, 1).await.unwrap().remove(0);
    assert_eq!(user.records.start(asked.id, 1).await.unwrap(), broker::Started::Proceed);
    assert_eq!(
        user.records.cancel(asked.id, None).await.unwrap(),
        CancelOutcome::Requested
    );
    user.broker.settle(&[answered(&delivery)]).await.unwrap();
    assert_eq!(
        record(user.records.as_ref(), asked.id).await.unwrap().status,
        Status::Succeeded
    );
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 0);
}

#[tokio::test]
async fn a_request_that_is_refused_for_any_missing_right_never_runs() {
    let (harness, requester) = (harness().await, ReplyTo::unique("r"));
    for missing in ["-xadd", "-zadd", "-hset", "-pexpireat", "-set", "-publish"] {
        let user = as_user(&harness.server, &["~weather-*", "+@all", missing]).await;
        let asked = acceptance(&kept(&requester, Keep::Only), Some(1));
        let accepted = user.records.submit(&[asked]).await;
        let outcome = accepted.and_then(|mut outcomes| outcomes.remove(0));
        let length = harness.server.command(&["XLEN", "weather-requests"]).await;
        let refused = outcome.is_err();
        assert_eq!(refused, missing != "-publish", "{missing}: {outcome:?}");
        let expected = if refused { 0 } else { 1 };
        assert_eq!(length, Some(redis::Value::Int(expected)), "{missing}");
        let left = format!("{:?}", harness.server.command(&["KEYS", "weather-result*"]).await);
        assert_eq!(left.contains("weather-result"), !refused, "{missing}: {left}");
        assert_eq!(
            harness
                .server
                .number(&["EXISTS", &format!("weather-key:{}", "01".repeat(32))])
                .await,
            expected
        );
    }
}

#[tokio::test]
async fn a_worker_that_may_not_end_deliveries_writes_no_replies_and_no_letters() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    harness.broker.heartbeat(&requester).await.unwrap();
    for missing in ["-xdel", "-xack"] {
        let user = as_user(&harness.server, &["~weather-*", "&*", "+@all", missing]).await;
        let asked = kept(&requester, Keep::WithReply);
        let delivery = accepted_and_claimed(&harness, &me, &asked, None).await;
        for settlement in [answered(&delivery), given_up(&delivery)] {
            for _ in 0..3 {
                let error = user.broker.settle(std::slice::from_ref(&settlement)).await.unwrap_err();
                assert_eq!(error.kind(), BrokerErrorKind::Rejected, "{missing}: {error:?}");
            }
        }
        assert_eq!(
            harness.server.number(&["XLEN", "weather-dead-letters"]).await,
            0,
            "{missing}"
        );
        assert_eq!(
            harness
                .server
                .number(&["XLEN", &format!("weather-responses:{requester}")])
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
            .command(&["DEL", &format!("weather-responses:{requester}")])
            .await
            .unwrap();
        harness.broker.heartbeat(&requester).await.unwrap();
    }
}

async fn missing(backend: &Backend, role: Role) -> Vec<String> {
    let shortcomings = backend.broker.shortcomings(role).await.unwrap();
    shortcomings.into_iter().map(|one| one.what).collect()
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_and_asking_changes_nothing() {
    let harness = harness().await;
    harness.broker.publish(&[request(&ReplyTo::unique("r"))]).await.unwrap();
    let before = format!("{:?}", harness.server.command(&["DEBUG", "DIGEST"]).await);
    let whole = as_user(&harness.server, &["~weather-*", "&weather-*", "+@all"]).await;
    for role in [Role::Requester, Role::Worker] {
        assert_eq!(missing(&whole, role).await, [""; 0], "{role:?}");
    }
    for (rule, role, named) in [
        ("-xadd", Role::Requester, "XADD on weather-requests"),
        ("-xack", Role::Worker, "XACK on weather-requests"),
        ("-xdel", Role::Worker, "XDEL on weather-requests"),
        ("-xclaim", Role::Worker, "XCLAIM on weather-requests"),
        ("-hset", Role::Worker, "HSET on weather-result:none"),
        ("-set", Role::Requester, "SET on weather-key:none"),
        ("-eval", Role::Requester, "EVAL on scripts"),
        ("-zmscore", Role::Worker, "ZMSCORE on weather-cancelling"),
        ("-xread", Role::Requester, "XREAD on weather-responses:none"),
    ] {
        let user = as_user(&harness.server, &["~weather-*", "&weather-*", "+@all", rule]).await;
        let missing = missing(&user, role).await;
        assert!(missing.iter().any(|what| what.ends_with(named)), "{rule}: {missing:?}");
    }
    let elsewhere = as_user(&harness.server, &["~weather-r*", "&*", "+@all"]).await;
    let missing_keys = missing(&elsewhere, Role::Worker).await;
    assert!(
        missing_keys
            .iter()
            .any(|what| what.ends_with("XADD on weather-dead-letters")),
        "{missing_keys:?}"
    );
    assert_eq!(
        format!("{:?}", harness.server.command(&["DEBUG", "DIGEST"]).await),
        before
    );
}

#[tokio::test]
async fn a_channel_that_is_missing_is_named_and_is_not_fatal() {
    let harness = harness().await;
    let user = as_user(&harness.server, &["~weather-*", "resetchannels", "+@all"]).await;
    for role in [Role::Requester, Role::Worker] {
        let shortcomings = user.broker.shortcomings(role).await.unwrap();
        assert_eq!(shortcomings.len(), 1, "{shortcomings:?}");
        assert!(shortcomings[0].what.ends_with("PUBLISH on weather-changes") && !shortcomings[0].is_fatal);
    }
}

#[tokio::test]
async fn a_server_that_would_remove_what_was_accepted_is_named() {
    let harness = harness().await;
    let set = async |name: &str, value: &str| {
        harness.server.command(&["CONFIG", "SET", name, value]).await.unwrap();
    };
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let backend = connect(&url, Duration::from_secs(6), Durability::Volatile);
    set("maxmemory", "1gb").await;
    assert_eq!(missing(&backend, Role::Requester).await, [""; 0]);
    set("maxmemory-policy", "allkeys-lru").await;
    let shortcomings = backend.broker.shortcomings(Role::Requester).await.unwrap();
    assert!(
        shortcomings[0].what.contains("noeviction") && !shortcomings[0].is_fatal,
        "{shortcomings:?}"
    );
    set("maxmemory", "0").await;
    assert_eq!(missing(&backend, Role::Requester).await, [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_missing_is_named() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let backend = connect(&url, Duration::from_secs(6), Durability::Aof);
    assert_eq!(missing(&backend, Role::Requester).await, [""; 0]);
    harness
        .server
        .command(&["CONFIG", "SET", "appendonly", "no"])
        .await
        .unwrap();
    let named = missing(&backend, Role::Requester).await;
    assert!(
        named[0].contains("DURABILITY=aof") && named[0].contains("appendonly no"),
        "{named:?}"
    );
}

#[tokio::test]
async fn a_password_that_was_changed_is_no_passing_refusal() {
    let harness = harness().await;
    let user = as_user(&harness.server, &["~*", "&*", "+@all"]).await;
    user.broker.ping().await.unwrap();
    harness
        .server
        .command(&["ACL", "SETUSER", "app", "resetpass", ">other"])
        .await
        .unwrap();
    harness.server.cut_connections().await;
    let requests = [request(&ReplyTo::unique("r"))];
    for error in [
        user.broker.ping().await.unwrap_err(),
        user.broker.publish(&requests).await.unwrap_err(),
        user.broker.ping().await.unwrap_err(),
    ] {
        assert!(error.is_outage(), "{error:?}");
    }
    assert_eq!(user.broker.ping().await.unwrap_err().kind(), BrokerErrorKind::Denied);
}

#[tokio::test]
async fn what_is_refused_halfway_leaves_nothing_that_is_written_again() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    harness.broker.heartbeat(&requester).await.unwrap();
    for missing in ["-hset", "-zadd", "-pexpireat", "-zrem", "-xpending"] {
        let user = as_user(&harness.server, &["~weather-*", "&*", "+@all", missing]).await;
        let asked = kept(&requester, Keep::WithReply);
        let delivery = accepted_and_claimed(&harness, &me, &asked, None).await;
        let mut refused = 0;
        for settlement in [answered(&delivery), given_up(&delivery)] {
            for _ in 0..3 {
                refused += u32::from(user.broker.settle(std::slice::from_ref(&settlement)).await.is_err());
            }
        }
        assert!(refused > 0, "{missing}");
        let replies = format!("weather-responses:{requester}");
        let written = harness.server.number(&["XLEN", &replies]).await;
        let letters = harness.server.number(&["XLEN", "weather-dead-letters"]).await;
        let left = harness.server.number(&["XLEN", "weather-requests"]).await;
        // Settled at last, or not at all: never a reply or a letter for each try.
        assert_eq!((written, letters), (1 - left, 0), "{missing}");
        harness.server.command(&["FLUSHALL"]).await.unwrap();
        harness.broker.prepare().await.unwrap();
        harness.broker.heartbeat(&requester).await.unwrap();
    }
}

#[tokio::test]
async fn who_may_not_see_who_holds_a_request_neither_ends_it_nor_takes_it_back() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let user = as_user(&harness.server, &["~weather-*", "&*", "+@all", "-xpending"]).await;
    let asked = kept(&requester, Keep::WithReply);
    accepted_and_claimed(&harness, &me, &asked, None).await;
    user.records.cancel(asked.id, None).await.unwrap_err();
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 1);
    let url = harness.server.url().replace("redis://", "redis://app:pw@");
    let one = Durability::Replicated(std::num::NonZeroU32::MIN);
    let replicated = connect(&url.parse().unwrap(), Duration::from_secs(6), one);
    let outcome = replicated
        .records
        .submit(&[acceptance(&kept(&requester, Keep::Only), None)])
        .await;
    let error = outcome.and_then(|mut all| all.remove(0)).unwrap_err();
    assert!(error.may_have_applied(), "{error:?}");
    let error = replicated.broker.publish(&[request(&requester)]).await.unwrap_err();
    assert!(error.may_have_applied(), "{error:?}");
}
