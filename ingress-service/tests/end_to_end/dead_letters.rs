//! Operators and dead letters: what was given up is found, looked at, put back or thrown away, by those who
//! have the token and nobody else.

mod access;

use reqwest::{Client, Method};
use roundtrip::CorrelationId;
use serde_json::{Value, json};
use testbed::{RedisServer, until};

use crate::client::{self, Answer, metric};
use crate::harness::{Service, embedded, ingress, proxy};
use crate::streams::{self, DEAD_LETTERS, REQUESTS, add, field};

const TOKEN: &str = "correct-horse-battery-staple";

/// When the request of a letter made by hand was accepted: 2025-11-21T01:10:32.117Z.
const ENTRY: &str = "1763687432117-0";

struct Stage {
    redis: RedisServer,
    proxy: Service,
    client: Client,
}

async fn stage() -> Stage {
    let redis = RedisServer::spawn().await;
    let proxy = proxy(&redis.url()).with("ADMIN_TOKEN", TOKEN).start().await;
    let client = client::new();
    Stage { redis, proxy, client }
}

impl Stage {
    async fn call(&self, method: Method, path: &str) -> Answer {
        let url = format!("{}/admin/dead-letters{path}", self.proxy.url);
        let request = self.client.request(method, url).bearer_auth(TOKEN);
        client::send(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).await
    }

    /// A letter as a worker leaves it; `city` becomes the request's data.
    async fn give_up(&self, id: &str, requester: &str, city: &str) {
        let data = json!({"city": city}).to_string();
        let letter = [
            ("reason", "the handler panicked"),
            ("attempts", "3"),
            ("entryId", ENTRY),
            ("lastError", "index out of bounds"),
            ("requestId", id),
            ("replyTo", requester),
            ("budgetMs", "5000"),
            ("traceparent", ""),
            ("data", &data),
        ];
        add(&self.redis, DEAD_LETTERS, &letter).await;
    }

    async fn kept(&self) -> i64 {
        self.redis.number(&["XLEN", DEAD_LETTERS]).await
    }

    /// The id of the newest letter.
    async fn newest(&self) -> String {
        let page = self.get("?limit=1").await;
        page.body["items"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn actions(&self, action: &str, outcome: &str) -> f64 {
        let name = format!("roundtrip_proxy_admin_actions_total{{action=\"{action}\",outcome=\"{outcome}\"}}");
        metric(&self.proxy.url, &name).await
    }
}

#[tokio::test]
async fn a_letter_that_is_replayed_is_worked_on_and_gone() {
    let (stage, id) = (stage().await, CorrelationId::new().to_string());
    let replies = "weather-responses:by-hand";
    let make = ["XGROUP", "CREATE", replies, "made-by-hand", "$", "MKSTREAM"];
    stage.redis.command(&make).await.unwrap();
    stage.give_up(&id, "by-hand", "Oslo").await;

    let page = stage.get("").await;
    assert_eq!((page.status, &page.body["next"]), (200, &Value::Null), "{page:?}");
    let item = &page.body["items"][0];
    let letter = item["id"].as_str().unwrap();
    let given_up = item["deadLetteredAt"].as_str().unwrap();
    assert!(given_up > "2026" && given_up.ends_with('Z'), "{item}");
    let expected = json!({
        "id": letter, "requestId": id, "operation": "weather", "reason": "the handler panicked", "attempts": 3,
        "lastError": "index out of bounds", "acceptedAt": "2025-11-21T01:10:32.117Z",
        "deadLetteredAt": given_up, "replayable": true,
    });
    assert_eq!(item, &expected);

    let shown = stage.get(&format!("/{letter}")).await;
    assert_eq!((shown.status, &shown.body["requestId"]), (200, &json!(id)), "{shown:?}");
    let fields = shown.body["fields"].as_array().unwrap();
    let names: Vec<_> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["requestId", "replyTo", "budgetMs", "traceparent", "data"]);
    let data = json!({
        "name": "data", "value": r#"{"city":"Oslo"}"#, "encoding": "utf-8", "length": 15, "truncated": false,
    });
    assert_eq!(fields[4], data);

    let replayed = stage.call(Method::POST, &format!("/{letter}/replay")).await;
    assert_eq!(
        (replayed.status, &replayed.body["requestId"]),
        (202, &json!(id)),
        "{replayed:?}"
    );
    let entry = replayed.body["entryId"].as_str().unwrap();
    assert!(entry > letter, "accepted anew, after it was given up: {replayed:?}");
    until("the request is answered", async || {
        stage.redis.number(&["XLEN", replies]).await == 1
    })
    .await;
    let answers = streams::entries(&stage.redis, replies).await;
    assert_eq!(
        (field(&answers[0], "requestId"), field(&answers[0], "status")),
        (id.as_str(), "ok")
    );
    assert_eq!(stage.redis.number(&["XLEN", REQUESTS]).await, 0);
    assert_eq!(stage.kept().await, 0);

    let again = stage.call(Method::POST, &format!("/{letter}/replay")).await;
    again.assert_problem(404, "/problems/not-found");
    assert_eq!(stage.actions("replay", "done").await, 1.0);
    assert_eq!(stage.actions("replay", "not_found").await, 1.0);
    let log = stage.proxy.stderr();
    let line = log.lines().find(|line| line.contains("an operator replayed")).unwrap();
    assert!(line.contains(letter) && line.contains(&id), "{line}");
    assert!(!log.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn what_is_no_request_is_shown_and_discarded_and_not_replayed() {
    let stage = stage().await;
    add(&stage.redis, REQUESTS, &[("garbage", "1")]).await;
    until("it is a dead letter", async || stage.kept().await == 1).await;
    let page = stage.get("").await;
    let item = &page.body["items"][0];
    assert_eq!((&item["replayable"], &item["requestId"]), (&json!(false), &Value::Null));
    assert!(item["reason"].as_str().unwrap().contains("requestId"), "{item}");
    let letter = format!("/{}", item["id"].as_str().unwrap());
    let shown = stage.get(&letter).await;
    assert_eq!(shown.body["fields"][0]["name"], "garbage", "{shown:?}");

    let replayed = stage.call(Method::POST, &format!("{letter}/replay")).await;
    replayed.assert_problem(409, "/problems/not-replayable");
    assert_eq!(stage.kept().await, 1, "it is still there");
    assert_eq!(stage.call(Method::DELETE, &letter).await.status, 204);
    assert_eq!(stage.kept().await, 0);
    let again = stage.call(Method::DELETE, &letter).await;
    again.assert_problem(404, "/problems/not-found");
    stage.get(&letter).await.assert_problem(404, "/problems/not-found");
    assert_eq!(stage.actions("replay", "not_replayable").await, 1.0);
    assert_eq!(stage.actions("discard", "done").await, 1.0);
    assert_eq!(stage.actions("discard", "not_found").await, 1.0);
    let log = stage.proxy.stderr();
    let line = log.lines().find(|line| line.contains("an operator discarded"));
    assert!(line.is_some_and(|line| line.contains(&letter[1..])), "{log}");
}

#[tokio::test]
async fn only_the_letter_that_is_named_is_discarded() {
    let stage = stage().await;
    let ids: Vec<_> = (0..3).map(|_| CorrelationId::new().to_string()).collect();
    for id in &ids {
        stage.give_up(id, "nobody", "Oslo").await;
    }
    let page = stage.get("").await;
    let middle = page.body["items"][1]["id"].as_str().unwrap();
    assert_eq!(stage.call(Method::DELETE, &format!("/{middle}")).await.status, 204);
    let page = stage.get("").await;
    let left: Vec<_> = page.body["items"].as_array().unwrap().iter().collect();
    let left: Vec<_> = left.iter().map(|item| item["requestId"].as_str().unwrap()).collect();
    assert_eq!(left, [&ids[2], &ids[0]]);
}

#[tokio::test]
async fn fifty_letters_are_read_in_pages_newest_first() {
    let stage = stage().await;
    let mut ids: Vec<_> = (0..50).map(|_| CorrelationId::new().to_string()).collect();
    for id in &ids {
        stage.give_up(id, "nobody", "Oslo").await;
    }
    ids.reverse();
    for (query, sizes) in [
        ("?", &[20, 20, 10][..]),
        ("?limit=25&", &[25, 25]),
        ("?limit=49&", &[49, 1]),
        ("?limit=50&", &[50]),
        ("?limit=100&", &[50]),
    ] {
        let (mut read, mut cursor) = (Vec::new(), String::new());
        for (number, size) in sizes.iter().enumerate() {
            let page = stage.get(&format!("{query}{cursor}")).await;
            let items = page.body["items"].as_array().unwrap();
            assert_eq!(items.len(), *size, "{query} {number}");
            read.extend(items.iter().map(|item| item["requestId"].as_str().unwrap().to_owned()));
            let next = page.body["next"].as_str();
            assert_eq!(next.is_none(), number + 1 == sizes.len(), "{query} {number}");
            cursor = format!("cursor={}", next.unwrap_or_default());
        }
        assert_eq!(read, ids, "{query}");
    }
    // `before` is the older name; of both the older letter counts.
    for query in ["?cursor=0-0", "?before=0-0", "?cursor=9999999999999-0&before=0-0"] {
        let page = stage.get(query).await;
        assert_eq!(page.body, json!({"items": [], "next": null}), "{query}: {page:?}");
    }
}

#[tokio::test]
async fn what_is_not_accepted_is_named() {
    let stage = stage().await;
    stage.give_up(&CorrelationId::new().to_string(), "nobody", "Oslo").await;
    for (method, path, parameter) in [
        (Method::GET, "?limit=0", "limit"),
        (Method::GET, "?limit=101", "limit"),
        (Method::GET, "?limit=ten", "limit"),
        (Method::GET, "?cursor=yesterday", "cursor"),
        (Method::GET, "?before=yesterday", "before"),
        (Method::GET, "?before=", "before"),
        (Method::GET, "?before=1-184467440737095516160", "before"),
        (Method::GET, "/4711", "id"),
        (Method::GET, "/%2B", "id"),
        (Method::DELETE, "/-", "id"),
        (Method::DELETE, "/1-0%20", "id"),
        (Method::POST, "/%24/replay", "id"),
    ] {
        let answer = stage.call(method, path).await;
        answer.assert_problem(422, "/problems/validation-failed");
        let error = &answer.body["errors"][0];
        assert_eq!(error["parameter"], parameter, "{path}: {answer:?}");
        assert!(
            error["detail"].as_str().unwrap().contains("is expected"),
            "{path}: {answer:?}"
        );
    }
    for (method, path) in [
        (Method::GET, "/1-0"),
        (Method::GET, "/18446744073709551615-18446744073709551615"),
        (Method::DELETE, "/0-0"),
        (Method::POST, "/1-0/replay"),
    ] {
        let answer = stage.call(method, path).await;
        answer.assert_problem(404, "/problems/not-found");
    }
    assert_eq!(stage.kept().await, 1);
}

#[tokio::test]
async fn while_the_broker_is_away_operators_hear_when_to_come_back() {
    let mut stage = stage().await;
    stage.give_up(&CorrelationId::new().to_string(), "nobody", "Oslo").await;
    let id = stage.newest().await;
    stage.redis.kill().await.unwrap();
    for (method, path) in [
        (Method::GET, String::new()),
        (Method::GET, format!("/{id}")),
        (Method::DELETE, format!("/{id}")),
        (Method::POST, format!("/{id}/replay")),
    ] {
        let answer = stage.call(method, &path).await;
        answer.assert_refused("/problems/broker-unavailable");
        let text = answer.body.to_string().to_lowercase();
        assert!(!text.contains("redis") && !text.contains("127.0.0.1"), "{text}");
    }
    assert_eq!(stage.actions("discard", "broker_unavailable").await, 1.0);
    stage.redis.restart().await.unwrap();
    until("it answers again", async || stage.get("").await.status == 200).await;
    assert_eq!(stage.call(Method::DELETE, &format!("/{id}")).await.status, 204);
}
