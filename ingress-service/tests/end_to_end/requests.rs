//! Requests that somebody asks for again: promised, kept, cancelled, watched; through whichever instance.

mod watching;

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use testbed::{RedisServer, Signal, until};

use crate::client::{self, Answer, metric, send};
use crate::harness::{Plan, Service, embedded, ingress, proxy};
use crate::streams;
use crate::upstream::Upstream;
use watching::events;

/// Two ingresses and a worker.
struct Stage {
    redis: RedisServer,
    one: Service,
    other: Service,
    proxy: Service,
    client: Client,
}

/// Whose worker takes `latency`.
async fn stage(latency: &str) -> Stage {
    stage_with(|plan| plan.with("SIMULATED_LATENCY", latency)).await
}

/// Whose worker takes as long as the upstream does.
async fn stage_behind(upstream: &Upstream, terminals: &str) -> Stage {
    stage_with(|plan| upstream.behind(plan).with("TERMINALS", terminals)).await
}

async fn stage_with(worker: impl FnOnce(Plan) -> Plan) -> Stage {
    let redis = RedisServer::spawn().await;
    // Whoever waits for the end of a drain waits for longer than a client does.
    let patient = || ingress(&redis.url()).with("DRAIN_TIMEOUT", "1h");
    let (one, other) = (patient(), patient());
    let proxy = worker(proxy(&redis.url()));
    let (one, other, proxy) = tokio::join!(one.start(), other.start(), proxy.start());
    Stage {
        redis,
        one,
        other,
        proxy,
        client: client::new(),
    }
}

impl Stage {
    fn city(&self, service: &Service) -> RequestBuilder {
        client::city(&self.client, &service.url, "Oslo", "Sentrum")
    }

    async fn ask_async(&self, service: &Service) -> String {
        let answer = send(self.city(service).header("Prefer", "respond-async"))
            .await
            .unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.header("preference-applied"), "respond-async");
        assert_eq!(answer.body["status"], "queued");
        answer.header("location").to_owned()
    }

    async fn get(&self, service: &Service, path: &str, prefer: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", service.url));
        send(request.header("Prefer", prefer)).await.unwrap()
    }

    async fn executed(&self) -> f64 {
        metric(&self.proxy.url, "roundtrip_proxy_requests_total{outcome=\"ok\"}").await
    }
}

fn text(answer: &Answer) -> String {
    answer.body.to_string()
}

#[tokio::test]
async fn who_waits_for_less_than_it_takes_is_promised_the_result_and_gets_it_anywhere() {
    let upstream = Upstream::start().await;
    let stage = stage_behind(&upstream, "64").await;
    let promised = send(stage.city(&stage.one).header("Prefer", "wait=0, wait=100"))
        .await
        .unwrap();
    assert_eq!(
        (promised.status, promised.header("preference-applied")),
        (202, "wait=0")
    );

    let slow = stage
        .city(&stage.one)
        .header("Prefer", "wait=1")
        .header("Request-Timeout", "600");
    // The work does not end before the wait is over.
    let promised = send(slow).await.unwrap();
    assert_eq!(promised.status, 202, "{promised:?}");
    assert!(promised.took >= Duration::from_secs(1), "{promised:?}");
    upstream.open();
    let fast = send(stage.city(&stage.one).header("Prefer", "wait=30")).await.unwrap();
    assert_eq!(
        (fast.status, fast.header("preference-applied")),
        (200, "wait=30"),
        "{fast:?}"
    );
    let location = promised.header("location");
    let done = stage.get(&stage.other, location, "wait=20").await;
    assert_eq!(
        (done.status, done.body["status"].as_str()),
        (200, Some("succeeded")),
        "{done:?}"
    );
    let result = stage.get(&stage.other, &format!("{location}/result"), "").await;
    assert_eq!(
        (result.status, result.header("content-type")),
        (200, "application/json")
    );
    assert_eq!(result.body, done.body["result"]);
    assert_eq!(result.body["requestId"], done.body["id"]);
    assert_eq!(result.body["city"], "Oslo");
}

#[tokio::test]
async fn a_call_that_times_out_says_where_its_result_will_be() {
    let redis = RedisServer::spawn().await;
    let upstream = Upstream::start().await;
    let service = ingress(&redis.url()).with("REQUEST_TIMEOUT", "500ms").start().await;
    let _proxy = upstream.behind(proxy(&redis.url())).start().await;
    let client = client::new();
    let call = client::city(&client, &service.url, "Oslo", "").header("Request-Timeout", "600");
    let answer = send(call.body(r#"{"city":"Oslo"}"#)).await.unwrap();
    answer.assert_problem(504, "/problems/reply-timeout");
    upstream.open();
    let location = answer.header("location").to_owned();
    let request = client
        .get(format!("{}{location}/result", service.url))
        .header("Prefer", "wait=30");
    let result = send(request).await.unwrap();
    assert_eq!(result.status, 200, "{result:?}");
    let early = client.get(format!("{}{location}", service.url));
    assert_eq!(send(early).await.unwrap().body["attempts"], 1);
}

#[tokio::test]
async fn a_plain_call_that_is_quick_leaves_no_key() {
    let stage = stage("0ms").await;
    for prefer in ["", "wait=10"] {
        let answer = send(stage.city(&stage.one).header("Prefer", prefer)).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let keys = stage.redis.command(&["KEYS", "weather-result*"]).await.unwrap();
    assert_eq!(keys, redis::Value::Array(Vec::new()));
}

#[tokio::test]
async fn one_key_is_one_execution_over_all_instances() {
    let upstream = Upstream::start().await;
    let stage = stage_behind(&upstream, "64").await;
    let before = stage.executed().await;
    let calls = (0..50).map(|n| {
        let service = if n % 2 == 0 { &stage.one } else { &stage.other };
        send(stage.city(service).header("Idempotency-Key", "\"order-4711\""))
    });
    // One works for all of them, as far as they have come.
    let opening = async {
        upstream.has_begun(1).await;
        upstream.open();
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), opening);
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(answers.iter().all(|answer| text(answer) == text(&answers[0])));
    assert_eq!(stage.executed().await - before, 1.0);
    let again = send(stage.city(&stage.one).header("Idempotency-Key", "order-4711"))
        .await
        .unwrap();
    assert_eq!(
        (again.header("idempotency-replayed"), text(&again)),
        ("true", text(&answers[0]))
    );

    let other = client::city(&stage.client, &stage.other.url, "Rome", "").json(&serde_json::json!({"city": "Rome"}));
    let conflict = send(other.header("Idempotency-Key", "order-4711")).await.unwrap();
    conflict.assert_problem(422, "/problems/idempotency-key-reused");
    let odd = send(stage.city(&stage.one).header("Idempotency-Key", "x".repeat(256)))
        .await
        .unwrap();
    odd.assert_problem(400, "/problems/malformed-idempotency-key");
    assert_eq!(stage.executed().await - before, 1.0);
}

#[tokio::test]
async fn what_a_killed_ingress_promised_is_kept() {
    let upstream = Upstream::start().await;
    let stage = stage_behind(&upstream, "64").await;
    let location = stage.ask_async(&stage.one).await;
    stage.one.signal(Signal::KILL);
    upstream.open();
    let done = stage.get(&stage.other, &location, "wait=30").await;
    assert_eq!(done.body["status"], "succeeded", "{done:?}");
}

#[tokio::test]
async fn what_is_queued_and_cancelled_never_runs() {
    let upstream = Upstream::start().await;
    let stage = stage_behind(&upstream, "1").await;
    let running = stage.ask_async(&stage.one).await;
    upstream.has_begun(1).await;
    let queued = stage.ask_async(&stage.one).await;
    let cancel = |path: &str| stage.client.delete(format!("{}{path}", stage.other.url));
    for _ in 0..2 {
        let cancelled = send(cancel(&queued)).await.unwrap();
        assert_eq!(
            (cancelled.status, cancelled.body["status"].as_str()),
            (200, Some("cancelled")),
            "{cancelled:?}"
        );
    }
    let result = stage.get(&stage.one, &format!("{queued}/result"), "").await;
    result.assert_problem(409, "/problems/cancelled");

    let asked = send(cancel(&running)).await.unwrap();
    assert_eq!(
        (asked.status, &asked.body["cancelRequested"]),
        (202, &Value::Bool(true)),
        "{asked:?}"
    );
    let ended = stage.get(&stage.one, &running, "wait=30").await;
    assert_eq!(ended.body["status"], "cancelled", "{ended:?}");
    assert_eq!(streams::pending(&stage.redis).await, 0);
    let over = metric(
        &stage.proxy.url,
        "roundtrip_proxy_requests_total{outcome=\"cancelled\"}",
    )
    .await
        + stage.executed().await;
    assert_eq!(over, 1.0, "only the first was ever begun");
    upstream.open();
    let finished = stage.ask_async(&stage.one).await;
    stage.get(&stage.one, &finished, "wait=30").await;
    send(cancel(&finished))
        .await
        .unwrap()
        .assert_problem(409, "/problems/already-finished");
}

#[tokio::test]
async fn work_for_a_caller_who_hung_up_is_ended_where_that_is_wanted() {
    let redis = RedisServer::spawn().await;
    let upstream = Upstream::start().await;
    let service = ingress(&redis.url())
        .with("ON_DISCONNECT", "cancel")
        .with("REQUEST_TIMEOUT", "1h")
        .start()
        .await;
    let proxy = upstream.behind(proxy(&redis.url())).with("CANCEL_GRACE", "50ms");
    let proxy = proxy.start().await;
    let url = service.url.clone();
    let caller = tokio::spawn(async move { client::call(&url).await });
    upstream.has_begun(1).await;
    caller.abort();
    until("the work is dropped", async || {
        metric(&proxy.url, "roundtrip_proxy_requests_total{outcome=\"cancelled\"}").await == 1.0
    })
    .await;
    assert_eq!(
        metric(&service.url, "roundtrip_ingress_cancellations_total{outcome=\"asked\"}").await,
        1.0
    );
}

#[tokio::test]
async fn what_is_not_known_is_not_found_without_a_hint() {
    let service = embedded().start().await;
    let client = client::new();
    let unknown = roundtrip::CorrelationId::new().to_string();
    for id in [unknown.as_str(), "1", "%00", "..%2f..%2fetc", &"x".repeat(2000)] {
        for path in ["", "/result", "/events"] {
            let answer = send(client.get(format!("{}/requests/{id}{path}", service.url)))
                .await
                .unwrap();
            answer.assert_problem(404, "/problems/unknown-request");
            assert_eq!(answer.body["detail"], "no request of this id is known", "{id}");
        }
    }
    for query in ["status=lost", "limit=0", "limit=101", "limit=x", "cursor=1"] {
        let answer = send(client.get(format!("{}/requests?{query}", service.url)))
            .await
            .unwrap();
        answer.assert_problem(422, "/problems/validation-failed");
        let name = query.split('=').next().unwrap();
        assert_eq!(answer.body["errors"][0]["parameter"], name, "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn embedded_requests_are_kept_listed_and_cancelled_as_well() {
    let upstream = Upstream::start().await;
    let service = upstream.behind(embedded()).with("TERMINALS", "1").start().await;
    let client = client::new();
    let ask = async || {
        let call = client::city(&client, &service.url, "Oslo", "").header("Prefer", "respond-async");
        send(call.body(r#"{"city":"Oslo"}"#))
            .await
            .unwrap()
            .header("location")
            .to_owned()
    };
    let first = ask().await;
    upstream.has_begun(1).await;
    let second = ask().await;
    let cancelled = send(client.delete(format!("{}{second}", service.url))).await.unwrap();
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    upstream.open();
    let done = client
        .get(format!("{}{first}", service.url))
        .header("Prefer", "wait=30");
    assert_eq!(send(done).await.unwrap().body["status"], "succeeded");
    let page = send(client.get(format!("{}/requests?limit=1", service.url)))
        .await
        .unwrap();
    let next = page.body["next"].as_str().unwrap();
    assert_eq!(page.body["requests"][0]["status"], "cancelled");
    // The last page says so, however full it is.
    for limit in [1, 5] {
        let page = send(client.get(format!("{}/requests?limit={limit}&cursor={next}", service.url)))
            .await
            .unwrap();
        assert_eq!(page.body["requests"][0]["status"], "succeeded");
        assert!(
            page.body["requests"][0].get("result").is_none() && page.body.get("next").is_none(),
            "{page:?}"
        );
    }
    let seen = events(&client, &format!("{}{first}/events", service.url), None).await;
    assert_eq!(seen.last().unwrap().0, "succeeded");
}

#[tokio::test]
async fn a_promise_is_kept_by_an_ingress_that_drains() {
    let upstream = Upstream::start().await;
    let stage = stage_behind(&upstream, "64").await;
    let call = stage.city(&stage.one).header("Prefer", "wait=60");
    let caller = tokio::spawn(async move { send(call).await.unwrap() });
    upstream.has_begun(1).await;
    stage.one.signal(Signal::TERM);
    let promised = caller.await.unwrap();
    assert_eq!(promised.status, 202, "{promised:?}");
    upstream.open();
    // Its stream goes with it; the reply finds the record.
    let done = stage.get(&stage.other, promised.header("location"), "wait=30").await;
    assert_eq!(done.body["status"], "succeeded", "{done:?}");
}
