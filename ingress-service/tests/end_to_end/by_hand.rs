//! Entries that no ingress of ours wrote: put in by hand, or by a program that does not keep the contract.

use roundtrip::CorrelationId;
use serde_json::Value;
use testbed::{RedisServer, until};

use crate::client::{self, metric};
use crate::harness::{Service, ingress, proxy};
use crate::streams::{self, DEAD_LETTERS, Fields, GROUP, REQUESTS, add, field};

const MALFORMED: &str = "roundtrip_proxy_dead_letters_total{reason=\"malformed\"}";

struct Stage {
    redis: RedisServer,
    ingress: Service,
    proxy: Service,
}

async fn stage() -> Stage {
    let redis = RedisServer::spawn().await;
    let (ingress, proxy) = (ingress(&redis.url()), proxy(&redis.url()));
    let (ingress, proxy) = tokio::join!(ingress.start(), proxy.start());
    // With this, the group is there.
    assert_eq!(client::call(&ingress.url).await.status, 200);
    Stage { redis, ingress, proxy }
}

impl Stage {
    /// Puts an entry into the request stream and waits until it is gone from there.
    async fn put(&self, fields: &[(&str, &str)]) {
        add(&self.redis, REQUESTS, fields).await;
        until("the entry is settled", async || {
            self.redis.number(&["XLEN", REQUESTS]).await == 0
        })
        .await;
        assert_eq!(streams::pending(&self.redis).await, 0);
    }

    async fn dead_letters(&self) -> Vec<Fields> {
        streams::entries(&self.redis, DEAD_LETTERS).await
    }

    /// The one reply that `requester` got, and the fault in it.
    async fn fault(&self, requester: &str, id: &str) -> Value {
        let key = format!("weather-responses:{requester}");
        // Who never made its stream gets its reply in a second step, after the settlement.
        until("the reply is there", async || {
            self.redis.number(&["XLEN", &key]).await > 0
        })
        .await;
        let replies = streams::entries(&self.redis, &key).await;
        assert_eq!(replies.len(), 1, "{replies:?}");
        assert_eq!(field(&replies[0], "requestId"), id);
        assert_eq!(field(&replies[0], "status"), "fault");
        serde_json::from_str(field(&replies[0], "data")).unwrap()
    }

    async fn still_works(&self) {
        let answer = client::call(&self.ingress.url).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn an_entry_that_is_no_request_becomes_a_dead_letter() {
    let stage = stage().await;
    stage.put(&[("garbage", "1")]).await;
    let letters = stage.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(field(&letters[0], "reason").contains("requestId"), "{letters:?}");
    assert_eq!(field(&letters[0], "garbage"), "1");
    assert_eq!(metric(&stage.proxy.url, MALFORMED).await, 1.0);
    stage.still_works().await;
}

#[tokio::test]
async fn whoever_sent_a_malformed_entry_is_told_where_that_can_be_read() {
    let (stage, id) = (stage().await, CorrelationId::new().to_string());
    stage
        .put(&[
            ("requestId", &id),
            ("replyTo", "by-hand"),
            ("budgetMs", "-5"),
            ("data", "{}"),
        ])
        .await;
    let fault = stage.fault("by-hand", &id).await;
    assert_eq!(fault["code"], "invalid");
    assert!(fault["detail"].as_str().unwrap().contains("budgetMs"), "{fault}");
    let letters = stage.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(field(&letters[0], "reason").contains("budgetMs"), "{letters:?}");
    assert_eq!(field(&letters[0], "budgetMs"), "-5");
    stage.still_works().await;
}

#[tokio::test]
async fn data_that_does_not_fit_is_answered_with_a_fault_and_not_set_aside() {
    let stage = stage().await;
    for (number, data, named) in [(0, "no JSON", "JSON"), (1, r#"{"city":7}"#, "/city"), (2, "", "JSON")] {
        let (id, requester) = (CorrelationId::new().to_string(), format!("by-hand-{number}"));
        stage
            .put(&[
                ("requestId", &id),
                ("replyTo", &requester),
                ("budgetMs", "5000"),
                ("data", data),
            ])
            .await;
        let fault = stage.fault(&requester, &id).await;
        assert_eq!(fault["code"], "invalid", "{data:?}");
        assert!(fault["detail"].as_str().unwrap().contains(named), "{fault}");
    }
    assert!(stage.dead_letters().await.is_empty());
    stage.still_works().await;
}

#[tokio::test]
async fn a_reply_name_that_could_reach_another_key_is_refused() {
    let (stage, id) = (stage().await, CorrelationId::new().to_string());
    let keys = streams::reply_keys(&stage.redis).await;
    stage
        .put(&[
            ("requestId", &id),
            ("replyTo", "../../x:y"),
            ("budgetMs", "5000"),
            ("data", "{}"),
        ])
        .await;
    assert_eq!(streams::reply_keys(&stage.redis).await, keys);
    let letters = stage.dead_letters().await;
    assert!(field(&letters[0], "reason").contains("replyTo"), "{letters:?}");
    assert_eq!(metric(&stage.proxy.url, MALFORMED).await, 1.0);
    stage.still_works().await;
}

#[tokio::test]
async fn a_request_without_time_left_is_never_worked_on() {
    let (stage, id) = (stage().await, CorrelationId::new().to_string());
    stage
        .put(&[
            ("requestId", &id),
            ("replyTo", "by-hand"),
            ("budgetMs", "0"),
            ("data", r#"{"city":"Oslo"}"#),
        ])
        .await;
    assert_eq!(stage.fault("by-hand", &id).await["code"], "expired");
    assert!(stage.dead_letters().await.is_empty());
    // The one that worked is the stage's own.
    assert_eq!(
        metric(&stage.proxy.url, "roundtrip_proxy_requests_total{outcome=\"ok\"}").await,
        1.0
    );
}

#[tokio::test]
async fn an_instance_skips_replies_that_nobody_waits_for_and_removes_them() {
    let (stage, id) = (stage().await, CorrelationId::new().to_string());
    let keys = streams::reply_keys(&stage.redis).await;
    assert_eq!(keys.len(), 1);
    add(
        &stage.redis,
        &keys[0],
        &[("requestId", &id), ("status", "ok"), ("data", "{}")],
    )
    .await;
    add(&stage.redis, &keys[0], &[("garbage", "1")]).await;
    until("both are removed", async || streams::replies(&stage.redis).await == 0).await;
    assert_eq!(
        metric(&stage.ingress.url, "roundtrip_ingress_late_replies_total").await,
        1.0
    );
    stage.still_works().await;
}

#[tokio::test]
async fn a_group_that_somebody_else_created_at_the_end_leaves_nothing_before_it_unserved() {
    let redis = RedisServer::spawn().await;
    let ingress = ingress(&redis.url()).start().await;
    let url = ingress.url.clone();
    let caller = tokio::spawn(async move { client::call(&url).await });
    until("the request waits", async || {
        redis.command(&["XLEN", REQUESTS]).await == Some(redis::Value::Int(1))
    })
    .await;
    let create = ["XGROUP", "CREATE", REQUESTS, GROUP, "$"];
    redis.command(&create).await.unwrap();
    let _proxy = proxy(&redis.url()).start().await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
    assert_eq!(caller.await.unwrap().status, 200);
}
