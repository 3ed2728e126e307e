//! What becomes of an idempotency key when its request fails.

use std::time::Duration;

use tokio::time::sleep;

use crate::client::{self, metric, send};
use crate::harness::embedded;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_key_whose_request_expired_in_the_queue_runs_anew() {
    let upstream = Upstream::start().await;
    let service = upstream.behind(embedded()).with("TERMINALS", "1").start().await;
    let client = client::new();
    let call = || client::city(&client, &service.url, "Oslo", "");
    let before = call().header("Prefer", "respond-async");
    assert_eq!(send(before).await.unwrap().status, 202);
    upstream.has_begun(1).await;
    let keyed = || call().header("Idempotency-Key", "order-1");
    // Behind what takes longer than it may wait.
    let queued = keyed().header("Prefer", "respond-async").header("Request-Timeout", "1");
    let queued = send(queued).await.unwrap();
    let location = format!("{}{}", service.url, queued.header("location"));
    sleep(Duration::from_secs(1)).await;
    upstream.open();
    let ended = client.get(&location).header("Prefer", "wait=30");
    let ended = send(ended).await.unwrap();
    assert_eq!(
        (&ended.body["status"], &ended.body["attempts"]),
        (&"expired".into(), &0.into())
    );
    assert_eq!(ended.body["problem"]["retryable"], true, "{ended:?}");

    let again = send(keyed()).await.unwrap();
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (200, ""),
        "{again:?}"
    );
    let third = send(keyed()).await.unwrap();
    assert_eq!(
        (third.header("idempotency-replayed"), &third.body),
        ("true", &again.body)
    );
}

#[tokio::test]
async fn a_fault_that_a_key_stands_for_is_not_retryable() {
    let service = embedded()
        .with("WEATHER_PROVIDER", "open-meteo")
        // Nothing listens there.
        .with("OPEN_METEO_GEOCODING_URL", "http://127.0.0.1:1")
        .start()
        .await;
    let client = client::new();
    let call = || client::city(&client, &service.url, "Oslo", "");
    let keyed = || call().header("Idempotency-Key", "order-1");
    let first = send(keyed()).await.unwrap();
    first.assert_problem(502, "/problems/upstream-failed");
    assert_eq!(first.body["retryable"], false, "{first:?}");
    let replayed = send(keyed()).await.unwrap();
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(replayed.body, first.body);
    let id = first.body["requestId"].as_str().unwrap();
    let stored = send(client.get(format!("{}/requests/{id}/result", service.url)))
        .await
        .unwrap();
    assert_eq!(stored.body, first.body);
    let shown = send(client.get(format!("{}/requests/{id}", service.url)))
        .await
        .unwrap();
    assert_eq!(shown.body["problem"], first.body);

    // Without a key, or with another one, it may go better.
    let plain = send(call()).await.unwrap();
    plain.assert_problem(502, "/problems/upstream-failed");
    assert_eq!(plain.body["retryable"], true, "{plain:?}");
}

#[tokio::test]
async fn a_full_memory_is_said_and_loses_nothing() {
    let service = embedded().with("MEMORY_LIMIT", "1MiB").start().await;
    let client = client::new();
    let call = || client::city(&client, &service.url, "Oslo", "");
    let keyed = || call().header("Idempotency-Key", "order-1");
    let first = send(keyed()).await.unwrap();
    assert_eq!(first.status, 200);
    let mut promised = Vec::new();
    let refused = loop {
        let answer = send(call().header("Prefer", "respond-async")).await.unwrap();
        match answer.status {
            202 => promised.push(answer.header("location").to_owned()),
            _ => break answer,
        }
        assert!(promised.len() < 1000, "a mebibyte does not hold so many");
    };
    refused.assert_problem(503, "/problems/broker-unavailable");
    assert_eq!(refused.body["retryable"], true);
    assert!(!refused.header("retry-after").is_empty() && !refused.header("location").starts_with('/'));
    for location in promised {
        let kept = client
            .get(format!("{}{location}", service.url))
            .header("Prefer", "wait=30");
        assert_eq!(send(kept).await.unwrap().body["status"], "succeeded", "{location}");
    }
    let replayed = send(keyed()).await.unwrap();
    assert_eq!(
        (replayed.header("idempotency-replayed"), &replayed.body),
        ("true", &first.body)
    );
    // Who needs nothing kept is served: no breaker opens.
    for _ in 0..10 {
        let more = send(call().header("Idempotency-Key", "another")).await.unwrap();
        assert!([200, 503].contains(&more.status), "{more:?}");
        assert_eq!(send(call()).await.unwrap().status, 200);
    }
    assert!(
        metric(
            &service.url,
            "roundtrip_ingress_refused_total{reason=\"broker_unavailable\"}"
        )
        .await
            >= 1.0
    );
}
