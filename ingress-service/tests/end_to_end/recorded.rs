//! What version 0.1 left in Redis, which knew no operation but the weather and no tenants: entries, records, keys and
//! letters. recorded/0.1.jsonl has it as the commands that make it again.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use testbed::{RedisServer, until};

use crate::client::{self, send};
use crate::harness::{ingress, proxy};

const RECORDED: &str = include_str!("recorded/0.1.jsonl");

/// When it was recorded, in milliseconds since 1970.
const AT: u64 = 1_795_322_933_800;

const TOKEN: &str = "correct-horse-battery-staple";
const SUCCEEDED: &str = "01a20195-9f7c-772e-8b20-ed4c669b8922";
const CANCELLED: &str = "01a20195-f186-7290-8f42-a19590853188";
const QUEUED: &str = "01a20195-f17d-71e5-bab0-fe2125801f56";

/// A word of a command; a time, also in an entry's id, is as long ago now as it was then.
fn brought_forward(word: &str, now: u64) -> String {
    let (time, rest) = word.split_at(word.find('-').unwrap_or(word.len()));
    match time.parse::<u64>() {
        Ok(time) if time > AT / 2 => format!("{}{rest}", time + now - AT),
        _ => word.to_owned(),
    }
}

async fn recorded() -> RedisServer {
    let redis = RedisServer::spawn().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    for line in RECORDED.lines() {
        let words: Vec<String> = serde_json::from_str(line).unwrap();
        let words: Vec<_> = words.iter().map(|word| brought_forward(word, now)).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        redis.command(&words).await.unwrap();
    }
    redis
}

#[tokio::test]
async fn what_an_older_version_accepted_is_done_and_told() {
    let redis = recorded().await;
    let (ingress, proxy) = (ingress(&redis.url()), proxy(&redis.url()).with("ADMIN_TOKEN", TOKEN));
    let (ingress, proxy) = tokio::join!(ingress.start(), proxy.start());
    let see = async |id: &str| client::get(&format!("{}/requests/{id}", ingress.url)).await.body;

    let kept = see(SUCCEEDED).await;
    assert_eq!(
        (&kept["status"], &kept["operation"], &kept["result"]["city"]),
        (&json!("succeeded"), &json!("weather"), &json!("Oslo")),
        "{kept}"
    );
    let cancelled = see(CANCELLED).await;
    assert_eq!(cancelled["problem"]["type"], "/problems/cancelled", "{cancelled}");
    until("what waited is done", async || {
        see(QUEUED).await["status"] == "succeeded"
    })
    .await;
    assert_eq!(see(QUEUED).await["result"]["city"], "Bergen");
    assert_eq!(redis.number(&["XLEN", "weather-requests"]).await, 0);
    assert_eq!(redis.number(&["ZCARD", "weather-results:queued"]).await, 0);

    let listed = client::get(&format!("{}/requests", ingress.url)).await.body;
    let listed = listed["requests"].as_array().unwrap();
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert!(listed.iter().all(|item| item["operation"] == "weather"), "{listed:?}");

    let letters = client::new()
        .get(format!("{}/admin/dead-letters", proxy.url))
        .bearer_auth(TOKEN);
    let letters = send(letters).await.unwrap().body;
    let letter = &letters["items"][0];
    assert_eq!(
        (&letter["operation"], &letter["replayable"]),
        (&json!("weather"), &json!(false)),
        "{letters}"
    );
}

#[tokio::test]
async fn a_key_of_an_older_version_is_known() {
    let redis = recorded().await;
    let ingress = ingress(&redis.url()).start().await;
    let again = |city: &str| {
        let request = client::city(&client::new(), &ingress.url, city, "Sentrum");
        send(
            request
                .header("Idempotency-Key", "\"recorded-1\"")
                .header("Prefer", "respond-async"),
        )
    };
    let known = again("Oslo").await.unwrap();
    assert!(
        known.header("location").ends_with(SUCCEEDED) || known.body["requestId"] == SUCCEEDED,
        "{known:?}"
    );
    let other = again("Bergen").await.unwrap();
    assert_eq!(other.status, 422, "{other:?}");
}
