//! A broker that is there, and refuses a service or lacks what it needs: log, readiness, circuit and metric agree.

use testbed::{RedisServer, until};

use crate::client::{self, metric};
use crate::harness::{Service, ingress, proxy};

async fn is_ready(service: &Service, ready: bool) {
    let what = if ready { "it is ready" } else { "it is not ready" };
    until(what, async || {
        let answer = client::get(&format!("{}/readyz", service.url)).await;
        (answer.status == 200) == ready
            && metric(&service.url, "roundtrip_broker_fit").await == f64::from(u8::from(ready))
    })
    .await;
}

async fn says(service: &Service, what: &str) {
    until("it says what is wrong", async || service.stderr().contains(what)).await;
}

#[tokio::test]
async fn a_password_that_was_changed_shows_everywhere() {
    let redis = RedisServer::spawn().await;
    let user = |rule: &'static str| {
        let redis = &redis;
        async move {
            let words = ["ACL", "SETUSER", "app", "on", "resetpass", rule, "~*", "&*", "+@all"];
            redis.command(&words).await.unwrap();
            redis.cut_connections().await;
        }
    };
    user(">right").await;
    let url = redis.url().replace("redis://", "redis://app:right@");
    for plan in [ingress(&url), proxy(&url)] {
        let service = plan.start().await;
        is_ready(&service, true).await;
        user(">other").await;
        says(&service, "look at the user and password in BROKER_URL").await;
        is_ready(&service, false).await;
        until("the circuit is open", async || {
            metric(&service.url, "redis_circuit_state").await == 0.0
        })
        .await;
        user(">right").await;
        is_ready(&service, true).await;
        until("the circuit is closed", async || {
            metric(&service.url, "redis_circuit_state").await == 1.0
        })
        .await;
        says(&service, "lets this service in again").await;
    }
}

#[tokio::test]
async fn without_the_file_that_is_asked_for_nothing_is_accepted_and_nothing_is_ready() {
    let redis = RedisServer::spawn().await;
    redis.command(&["CONFIG", "SET", "appendonly", "no"]).await.unwrap();
    let service = ingress(&redis.url()).with("DURABILITY", "aof").spawn();
    says(&service, "DURABILITY=aof, and the server keeps no append-only file").await;
    is_ready(&service, false).await;
    client::call(&service.url)
        .await
        .assert_refused("/problems/broker-unavailable");
    redis.command(&["CONFIG", "SET", "appendonly", "yes"]).await.unwrap();
    is_ready(&service, true).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_before_work_depends_on_it() {
    let redis = RedisServer::spawn().await;
    let words = ["ACL", "SETUSER", "app", "on", ">pw", "~weather-*", "+@all", "-xdel"];
    redis.command(&words).await.unwrap();
    let url = redis.url().replace("redis://", "redis://app:pw@");
    for plan in [ingress(&url), proxy(&url)] {
        redis.command(&["ACL", "SETUSER", "app", "-xdel"]).await.unwrap();
        let service = plan.spawn();
        says(&service, "may not call XDEL on weather-requests").await;
        says(&service, "may not call PUBLISH on weather-changes").await;
        is_ready(&service, false).await;
        redis.command(&["ACL", "SETUSER", "app", "+xdel"]).await.unwrap();
        // Without channels it is slower, and ready.
        is_ready(&service, true).await;
    }
}
