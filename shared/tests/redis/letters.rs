//! Letters that somebody wrote, or changed, by hand.

use roundtrip::broker::{Acceptance, IdempotencyKey, Replayed};
use roundtrip::{Fault, FaultCode};

use super::*;

/// A letter of a request, as `XADD` takes it.
fn letter<'a>(ours: &[&'a str], id: &'a str) -> Vec<&'a str> {
    let theirs = [
        "requestId",
        id,
        "replyTo",
        "me",
        "budgetMs",
        "3600000",
        "traceparent",
        "",
        "data",
        "{}",
    ];
    let command = ["XADD", "weather-dead-letters", "*"];
    [&command[..], ours, &theirs].concat()
}

#[tokio::test]
async fn a_replay_puts_back_only_what_was_given_up() {
    let redis = harness().await;
    let id = CorrelationId::new().to_string();
    let complete = ["reason", "r", "attempts", "3", "entryId", "1-0", "lastError", ""];
    let no_entry = ["reason", "r", "attempts", "3", "entryId", "unknown", "lastError", ""];
    for ours in [&complete[..], &no_entry, &[]] {
        redis.server.command(&letter(ours, &id)).await.unwrap();
        let kept = redis.dead_letters.letters(None, 1).await.unwrap().remove(0);
        assert!(kept.replayable, "{kept:?}");
        let replayed = redis.dead_letters.replay(kept.id).await.unwrap();
        let Replayed::As(entry) = replayed else {
            panic!("{ours:?}: {replayed:?}");
        };
        let entry = entry.at.to_string();
        let put_back = redis
            .server
            .command(&["XRANGE", "weather-requests", &entry, &entry])
            .await;
        let put_back = format!("{:?}", put_back.unwrap());
        assert!(put_back.contains("requestId") && put_back.contains(&id), "{put_back}");
        for name in ["reason", "attempts", "entryId", "lastError"] {
            assert!(!put_back.contains(name), "{ours:?}: {put_back}");
        }
        assert_eq!(redis.server.number(&["XLEN", "weather-dead-letters"]).await, 0);
    }
}

#[tokio::test]
async fn a_replay_gives_the_idempotency_key_the_time_of_the_new_budget() {
    let redis = harness().await;
    let request = Request {
        keep: Keep::Only,
        ..request(&ReplyTo::unique("gone"))
    };
    let key = IdempotencyKey {
        name: [1; 32],
        fingerprint: [1; 32],
    };
    let id = request.id.to_string();
    let acceptance = Acceptance {
        request,
        key: Some(key),
    };
    redis.records.submit(&[acceptance]).await.unwrap();
    let given_up = Reply::new(
        CorrelationId::parse(id.as_bytes()).unwrap(),
        Origin::default(),
        Err(Fault::new(FaultCode::DeadLettered, "")),
    );
    redis.records.complete(&[given_up]).await.unwrap();
    let name = format!("weather-key:{}", "01".repeat(32));
    redis.server.command(&["PEXPIRE", &name, "600000"]).await.unwrap();
    redis.server.command(&letter(&[], &id)).await.unwrap();
    let letter = redis.dead_letters.letters(None, 1).await.unwrap().remove(0);
    redis.dead_letters.replay(letter.id).await.unwrap();
    let left = redis.server.number(&["PTTL", &name]).await;
    assert!(left > 600_000, "{left} ms are left, less than the budget of an hour");
}
