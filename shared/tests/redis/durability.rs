//! What a write must have reached.

use super::*;

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
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 1);
}

#[tokio::test]
async fn a_write_that_too_few_replicas_confirm_is_refused_and_never_runs() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let broker = connect(&url, Duration::from_secs(6), one).broker;
    for count in [1, 3] {
        let requests = vec![request(&ReplyTo::unique("a")); count];
        let error = broker.publish(&requests).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Unavailable, "{error:?}");
        assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 0, "taken back");
    }
    let replica = RedisServer::spawn().await;
    let port = harness.server.port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let requests = vec![request(&ReplyTo::unique("a")); 2];
    let mut unknown = 0;
    while let Err(error) = broker.publish(&requests).await {
        assert!(std::time::Instant::now() < deadline, "the replica never confirms");
        unknown += i64::from(error.may_have_applied());
    }
    let accepted = harness.server.number(&["XLEN", "test-requests"]).await;
    assert!(
        (2..=2 + 2 * unknown).contains(&accepted),
        "{accepted}, {unknown} unknown"
    );
    assert_eq!(replica.number(&["XLEN", "test-requests"]).await, accepted);
}

#[tokio::test]
async fn a_request_that_was_claimed_before_its_replicas_failed_has_an_unknown_outcome() {
    let (harness, me) = (harness().await, Consumer::unique("me"));
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let broker = connect(&url, Duration::from_secs(6), one).broker;
    let claiming = harness.broker.claim(&me, 1);
    let requests = [request(&ReplyTo::unique("a"))];
    let (claimed, published) = tokio::join!(claiming, broker.publish(&requests));
    assert_eq!(claimed.unwrap().len(), 1);
    assert!(published.unwrap_err().may_have_applied(), "it runs");
}

#[tokio::test]
async fn a_request_whose_server_was_demoted_while_it_waited_has_an_unknown_outcome() {
    let harness = harness().await;
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let backend = connect(&url, Duration::from_secs(6), Durability::Replicated(NonZeroU32::MIN));
    let requester = ReplyTo::unique("a");
    for with_record in [false, true] {
        harness.server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
        let publishing = async {
            match with_record {
                false => backend.broker.publish(&vec![request(&requester); 3]).await.unwrap_err(),
                true => {
                    let asked = acceptance(&kept(&requester, Keep::Only), Some(1));
                    let mut outcomes = backend.records.accept(&[asked]).await.unwrap();
                    outcomes.remove(0).unwrap_err()
                }
            }
        };
        let demoting = async {
            while harness.server.command(&["XLEN", "test-requests"]).await == Some(redis::Value::Int(0)) {}
            harness.server.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
        };
        let (error, ()) = tokio::join!(publishing, demoting);
        assert!(error.may_have_applied(), "with a record: {with_record}, {error:?}");
        harness.server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
        harness.server.command(&["DEL", "test-requests"]).await.unwrap();
    }
}

#[tokio::test]
async fn what_misses_its_tier_is_taken_back_with_its_record_and_its_key() {
    let (harness, requester) = (harness().await, ReplyTo::unique("a"));
    let url: BrokerUrl = harness.server.url().parse().unwrap();
    let one = Durability::Replicated(NonZeroU32::MIN);
    let records = connect(&url, Duration::from_secs(6), one).records;
    let (keyed, plain) = (kept(&requester, Keep::WithReply), kept(&requester, Keep::Only));
    let outcomes = records
        .accept(&[acceptance(&keyed, Some(7)), acceptance(&plain, None)])
        .await
        .unwrap();
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind(), BrokerErrorKind::Unavailable);
    }
    assert_eq!(harness.server.number(&["XLEN", "test-requests"]).await, 0);
    for request in [&keyed, &plain] {
        assert_eq!(record(records.as_ref(), request.id).await, None);
    }
    let left = harness.server.command(&["KEYS", "*"]).await.unwrap();
    let left = format!("{left:?}");
    assert!(!left.contains("test-result") && !left.contains("test-key"), "{left}");
}
