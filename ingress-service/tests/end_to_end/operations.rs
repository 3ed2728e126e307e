//! Two operations on one pair: the weather, and the echo of docs/adding-an-operation.md.

use reqwest::{Client, Method, RequestBuilder};
use roundtrip::CorrelationId;
use serde_json::{Value, json};
use testbed::{RedisServer, until};

use crate::client::{self, Answer, send};
use crate::harness::{Plan, Service, echo_ingress, echo_proxy, embedded, proxy};
use crate::streams::{DEAD_LETTERS, add};

const TOKEN: &str = "correct-horse-battery-staple";

/// An ingress and a worker that know both.
struct Stage {
    redis: RedisServer,
    ingress: Service,
    proxy: Service,
    client: Client,
}

async fn stage(worker: impl FnOnce(Plan) -> Plan) -> Stage {
    let redis = RedisServer::spawn().await;
    let (ingress, worker) = (
        echo_ingress(&redis.url()),
        worker(echo_proxy(&redis.url())).with("ADMIN_TOKEN", TOKEN),
    );
    let (ingress, proxy) = tokio::join!(ingress.start(), worker.start());
    Stage {
        redis,
        ingress,
        proxy,
        client: client::new(),
    }
}

impl Stage {
    fn echo(&self, text: &str) -> RequestBuilder {
        let url = format!("{}/echo", self.ingress.url);
        self.client.post(url).json(&json!({ "text": text }))
    }

    async fn weather(&self) -> Answer {
        let request = client::city(&self.client, &self.ingress.url, "Oslo", "Sentrum");
        send(request).await.unwrap()
    }

    async fn see(&self, path: &str) -> Answer {
        client::get(&format!("{}{path}", self.ingress.url)).await
    }

    async fn text(&self, url: &str) -> String {
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }

    async fn letters(&self, method: Method, path: &str) -> Answer {
        let url = format!("{}/admin/dead-letters{path}", self.proxy.url);
        send(self.client.request(method, url).bearer_auth(TOKEN)).await.unwrap()
    }
}

#[tokio::test]
async fn each_operation_answers_its_callers_and_is_seen_for_itself() {
    let stage = stage(|worker| worker).await;
    let said = send(stage.echo("hello")).await.unwrap();
    assert_eq!((said.status, &said.body), (200, &json!({"text": "hello"})), "{said:?}");
    let forecast = stage.weather().await;
    assert_eq!(
        (forecast.status, &forecast.body["city"]),
        (200, &json!("Oslo")),
        "{forecast:?}"
    );
    for queue in ["echo-requests", "weather-requests"] {
        assert_eq!(stage.redis.number(&["XLEN", queue]).await, 0, "{queue}");
    }
    let document = stage.see("/openapi.json").await.body;
    assert!(document["paths"]["/echo"]["post"].is_object(), "{document}");
    let seen = stage.see("/healthz").await.body;
    let queues: Vec<_> = seen["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| &queue["operation"])
        .collect();
    assert_eq!(queues, ["weather", "echo"], "{seen}");
    for (service, metric) in [
        (&stage.ingress, "roundtrip_reply_latency_seconds_count"),
        (&stage.proxy, "roundtrip_proxy_requests_total"),
    ] {
        let text = stage.text(&format!("{}/metrics", service.url)).await;
        for operation in ["weather", "echo"] {
            let label = format!("operation=\"{operation}\"");
            let counted = |line: &&str| line.starts_with(metric) && line.contains(&label) && line.ends_with(" 1");
            assert!(
                text.lines().any(|line| counted(&line)),
                "{metric} of {operation}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn an_input_that_does_not_fit_is_refused_with_where_and_why() {
    let stage = stage(|worker| worker).await;
    let url = format!("{}/echo", stage.ingress.url);
    let refused = send(stage.client.post(&url).json(&json!({"text": 7}))).await.unwrap();
    refused.assert_problem(422, "/problems/validation-failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "/text", "{refused:?}");
    let broken = stage
        .client
        .post(&url)
        .header("content-type", "application/json")
        .body("{");
    send(broken)
        .await
        .unwrap()
        .assert_problem(400, "/problems/malformed-body");
}

#[tokio::test]
async fn a_promise_is_kept_watched_and_listed_under_its_operation() {
    let stage = stage(|worker| worker).await;
    let promised = send(stage.echo("later").header("Prefer", "respond-async"))
        .await
        .unwrap();
    assert_eq!(
        (promised.status, &promised.body["operation"]),
        (202, &json!("echo")),
        "{promised:?}"
    );
    let location = promised.header("location").to_owned();
    let ended = send(
        stage
            .client
            .get(format!("{}{location}", stage.ingress.url))
            .header("Prefer", "wait=30"),
    );
    let ended = ended.await.unwrap();
    assert_eq!(ended.body["status"], "succeeded", "{ended:?}");
    assert_eq!(ended.body["operation"], "echo", "{ended:?}");
    assert_eq!(ended.body["result"], json!({"text": "later"}), "{ended:?}");
    let events = stage.text(&format!("{}{location}/events", stage.ingress.url)).await;
    assert!(events.contains("event: succeeded"), "{events}");
    let weather = client::city(&stage.client, &stage.ingress.url, "Oslo", "Sentrum").header("Prefer", "respond-async");
    assert_eq!(send(weather).await.unwrap().status, 202);
    let listed = stage.see("/requests").await.body;
    let operations: Vec<_> = listed["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["operation"])
        .collect();
    assert_eq!(operations, ["weather", "echo"], "{listed}");
}

#[tokio::test]
async fn a_promise_that_has_not_begun_is_cancelled() {
    // A worker that knows only the weather leaves an echo where it is.
    let redis = RedisServer::spawn().await;
    let (ingress, proxy) = (echo_ingress(&redis.url()), proxy(&redis.url()));
    let (ingress, proxy) = tokio::join!(ingress.start(), proxy.start());
    let stage = Stage {
        redis,
        ingress,
        proxy,
        client: client::new(),
    };
    assert_eq!(stage.weather().await.status, 200);
    let promised = send(stage.echo("never").header("Prefer", "respond-async"))
        .await
        .unwrap();
    assert_eq!(promised.status, 202, "{promised:?}");
    let url = format!("{}{}", stage.ingress.url, promised.header("location"));
    assert_eq!(client::get(&url).await.body["status"], "queued");
    let cancelled = send(stage.client.delete(&url)).await.unwrap();
    assert!([200, 202, 204].contains(&cancelled.status), "{cancelled:?}");
    let ended = client::get(&url).await;
    assert_eq!(
        (&ended.body["status"], &ended.body["operation"]),
        (&json!("cancelled"), &json!("echo"))
    );
    until("its entry is gone", async || {
        stage.redis.number(&["XLEN", "echo-requests"]).await == 0
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_names_its_operation_and_goes_back_to_its_queue() {
    let stage = stage(|worker| worker).await;
    let id = CorrelationId::new().to_string();
    let replies = "weather-responses:by-hand";
    let make = ["XGROUP", "CREATE", replies, "made-by-hand", "$", "MKSTREAM"];
    stage.redis.command(&make).await.unwrap();
    let letter = [
        ("reason", "the handler panicked"),
        ("attempts", "3"),
        ("entryId", "1763687432117-0"),
        ("requestId", &id),
        ("replyTo", "by-hand"),
        ("budgetMs", "5000"),
        ("traceparent", ""),
        ("data", r#"{"text":"again"}"#),
        ("operation", "echo"),
    ];
    add(&stage.redis, DEAD_LETTERS, &letter).await;
    let page = stage.letters(Method::GET, "").await.body;
    assert_eq!(page["items"][0]["operation"], "echo", "{page}");
    let letter = page["items"][0]["id"].as_str().unwrap().to_owned();
    let replayed = stage.letters(Method::POST, &format!("/{letter}/replay")).await;
    assert_eq!(replayed.status, 202, "{replayed:?}");
    until("the request is answered", async || {
        stage.redis.number(&["XLEN", replies]).await == 1
    })
    .await;
    let answers = crate::streams::entries(&stage.redis, replies).await;
    let data: Value = serde_json::from_str(crate::streams::field(&answers[0], "data")).unwrap();
    assert_eq!(data, json!({"text": "again"}));
}

#[tokio::test]
async fn a_sick_upstream_breaks_the_circuit_of_its_own_operation_only() {
    // Nobody listens where the weather is asked for.
    let nobody = format!("http://{}", testbed::free_address());
    let stage = stage(|worker| {
        worker
            .with("WEATHER_PROVIDER", "open-meteo")
            .with("OPEN_METEO_GEOCODING_URL", &nobody)
            .with("OPEN_METEO_FORECAST_URL", &nobody)
    })
    .await;
    let metrics = format!("{}/metrics", stage.proxy.url);
    until("the circuit of the weather is open", async || {
        let sick = stage.weather().await;
        assert!([502, 503].contains(&sick.status), "{sick:?}");
        let text = stage.text(&metrics).await;
        let state = |line: &str| line.starts_with("roundtrip_upstream_circuit_state{operation=\"weather\"} 0");
        text.lines().any(state)
    })
    .await;
    // Those calls wait for the upstream's pause to be over, and nobody else does.
    let sick: Vec<_> = (0..20)
        .map(|_| client::city(&stage.client, &stage.ingress.url, "Oslo", "Sentrum"))
        .collect();
    let sick = tokio::spawn(futures_util::future::join_all(sick.into_iter().map(send)));
    for _ in 0..50 {
        assert_eq!(send(stage.echo("well")).await.unwrap().status, 200);
    }
    sick.abort();
    let text = stage.text(&metrics).await;
    assert!(
        text.contains("roundtrip_upstream_circuit_state{operation=\"echo\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn both_work_inside_one_process_too() {
    let ingress = echo_ingress("memory://").start().await;
    let said = client::new()
        .post(format!("{}/echo", ingress.url))
        .json(&json!({"text": "inside"}));
    assert_eq!(send(said).await.unwrap().body, json!({"text": "inside"}));
    assert_eq!(client::call(&ingress.url).await.status, 200);
    // Who knows no echo says so.
    let plain = embedded().start().await;
    let unknown = client::new()
        .post(format!("{}/echo", plain.url))
        .json(&json!({"text": "?"}));
    assert_eq!(send(unknown).await.unwrap().status, 404);
}

#[test]
fn the_guide_shows_the_example_as_it_is() {
    let guide = include_str!("../../../docs/adding-an-operation.md");
    let example = include_str!("../../examples/echo.rs");
    let blocks: Vec<_> = guide
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 3, "{blocks:?}");
    for block in blocks {
        assert!(example.contains(block.trim_end()), "not in examples/echo.rs:\n{block}");
    }
}
