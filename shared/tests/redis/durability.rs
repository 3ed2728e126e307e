//! What a write must have reached.

use super::*;

const TRIM: [&str; 4] = ["XTRIM", "weather-requests", "MAXLEN", "0"];

#[tokio::test]
async fn a_server_without_a_file_is_refused_where_one_is_asked_for() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let requests = [request(&ReplyTo::unique("a"))];
    let with_file = connect(&url, Duration::from_secs(6), Durability::Aof).broker;
    with_file.publish(&requests).await.unwrap();
    harness
        .server
        .command(&["CONFIG", "SET", "appendonly", "no"])
        .await
        .unwrap();
    let without = connect(&url, Duration::from_secs(6), Durability::Aof).broker;
    let error = without.publish(&requests).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("DURABILITY=aof"), "{cause}");
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 1);
}

#[tokio::test]
async fn a_write_that_too_few_replicas_confirm_is_refused_and_never_runs() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let broker = connect(&url, Duration::from_secs(6), one).broker;
    for count in [1, 3] {
        let requests = vec![request(&ReplyTo::unique("a")); count];
        until("the server says in time that it took them back", async || {
            let error = broker.publish(&requests).await.unwrap_err();
            let left = harness.server.number(&["XLEN", "weather-requests"]).await;
            harness.server.command(&TRIM).await.unwrap();
            match error.kind() {
                BrokerErrorKind::Unavailable => assert_eq!(left, 0, "taken back"),
                kind => assert_eq!(kind, BrokerErrorKind::Unconfirmed, "{error:?}"),
            }
            !error.may_have_applied()
        })
        .await;
    }
    let replica = RedisServer::spawn().await;
    let port = harness.server.address.port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let requests = vec![request(&ReplyTo::unique("a")); 2];
    let mut unknown = 0;
    while let Err(error) = broker.publish(&requests).await {
        assert!(std::time::Instant::now() < deadline, "the replica never confirms");
        unknown += i64::from(error.may_have_applied());
    }
    let accepted = harness.server.number(&["XLEN", "weather-requests"]).await;
    assert!(
        (2..=2 + 2 * unknown).contains(&accepted),
        "{accepted}, {unknown} unknown"
    );
    assert_eq!(replica.number(&["XLEN", "weather-requests"]).await, accepted);
}

#[tokio::test]
async fn a_request_that_was_claimed_before_its_replicas_failed_has_an_unknown_outcome() {
    let (harness, me) = (harness().await, Consumer::unique("me"));
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let broker = connect(&url, Duration::from_secs(6), one).broker;
    let requests = [request(&ReplyTo::unique("a"))];
    until("it is claimed before it is taken back", async || {
        // Of an earlier try.
        harness.server.command(&TRIM).await.unwrap();
        let claiming = harness.broker.claim(&me, 1);
        let (claimed, published) = tokio::join!(claiming, broker.publish(&requests));
        let (runs, error) = (!claimed.unwrap().is_empty(), published.unwrap_err());
        assert!(error.may_have_applied() || !runs, "it runs: {error:?}");
        runs
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_server_was_demoted_while_it_waited_has_an_unknown_outcome() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let backend = connect(&url, Duration::from_secs(6), Durability::Replicated(NonZeroU32::MIN));
    let requester = ReplyTo::unique("a");
    let left = async || harness.server.command(&["XLEN", "weather-requests"]).await != Some(redis::Value::Int(0));
    let demoted_in_between = async |with_record: bool| {
        let publishing = async {
            match with_record {
                false => backend.broker.publish(&vec![request(&requester); 3]).await.unwrap_err(),
                true => {
                    let asked = acceptance(&kept(&requester, Keep::Only), Some(1));
                    let mut outcomes = backend.records.submit(&[asked]).await.unwrap();
                    outcomes.remove(0).unwrap_err()
                }
            }
        };
        let demoting = async {
            while !left().await {}
            harness.server.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
            std::future::pending().await
        };
        let error = tokio::select! {
            error = publishing => error,
            () = demoting => unreachable!("it waits for the publisher"),
        };
        // Whoever is demoted takes nothing back.
        let left = left().await;
        assert!(
            error.may_have_applied() || !left,
            "with a record: {with_record}, {error:?}"
        );
        harness.server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
        harness.server.command(&["DEL", "weather-requests"]).await.unwrap();
        left
    };
    for with_record in [false, true] {
        until("the server is demoted before the request is taken back", async || {
            demoted_in_between(with_record).await
        })
        .await;
    }
}

#[tokio::test]
async fn what_misses_its_tier_is_taken_back_with_its_record_and_its_key() {
    let (harness, requester) = (harness().await, ReplyTo::unique("a"));
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let records = connect(&url, Duration::from_secs(6), one).records;
    let (keyed, plain) = (kept(&requester, Keep::WithReply), kept(&requester, Keep::Only));
    until("the server says in time that it took them back", async || {
        harness.server.command(&["FLUSHALL"]).await.unwrap();
        let asked = [acceptance(&keyed, Some(7)), acceptance(&plain, None)];
        let Ok(outcomes) = records.submit(&asked).await else {
            return false;
        };
        let kinds = outcomes.into_iter().map(|outcome| outcome.unwrap_err().kind());
        let kinds: Vec<_> = kinds.collect();
        let late = kinds.contains(&BrokerErrorKind::Unconfirmed);
        assert!(late || kinds == [BrokerErrorKind::Unavailable; 2], "{kinds:?}");
        !late
    })
    .await;
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 0);
    for request in [&keyed, &plain] {
        assert_eq!(record(records.as_ref(), request.id).await, None);
    }
    let left = harness.server.command(&["KEYS", "*"]).await.unwrap();
    let left = format!("{left:?}");
    assert!(
        !left.contains("weather-result") && !left.contains("weather-key"),
        "{left}"
    );
}
