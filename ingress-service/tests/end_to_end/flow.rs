//! Requests through the broker to workers, and their replies back to the callers who asked.

use std::collections::HashSet;
use std::sync::Arc;

use roundtrip::CorrelationId;
use serde_json::Value;
use testbed::{RedisServer, Signal, until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{self, Answer, metric};
use crate::harness::{HEAVY, Service, ingress, proxy};
use crate::streams::{self, REQUESTS};

const MEMBERS: [&str; 8] = [
    "city",
    "location",
    "requestId",
    "forecastTime",
    "temperature",
    "condition",
    "humidity",
    "windSpeed",
];

const CALLS: usize = 3000;
const CALLERS: usize = 400;

async fn pair(redis: &RedisServer) -> (Service, Service) {
    let (ingress, proxy) = (ingress(&redis.url()), proxy(&redis.url()));
    tokio::join!(ingress.start(), proxy.start())
}

/// Makes all calls over both URLs, many at a time; each with a name of its own, which counts from `first`.
async fn call_all(urls: [String; 2], first: usize) -> Vec<(usize, Answer)> {
    let (client, callers) = (client::new(), Arc::new(Semaphore::new(CALLERS)));
    let mut calls = JoinSet::new();
    for number in first..first + CALLS {
        let (client, callers, url) = (client.clone(), callers.clone(), urls[number % 2].clone());
        calls.spawn(async move {
            let _turn = callers.acquire().await.unwrap();
            let (city, location) = (format!("City {number}"), format!("Street {number}"));
            let answer = client::send(client::city(&client, &url, &city, &location)).await;
            (number, answer.unwrap())
        });
    }
    calls.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn among_thousands_of_callers_each_gets_its_own_answer_and_nothing_is_left_behind() {
    let _turn = HEAVY.lock().await;
    let redis = RedisServer::spawn().await;
    let ingress = ingress(&redis.url()).with("MAX_IN_FLIGHT", "2000");
    let other = crate::harness::ingress(&redis.url()).with("MAX_IN_FLIGHT", "2000");
    // Short enough work for a quick test, long enough that no worker alone takes all of it.
    let worker = || proxy(&redis.url()).with("SIMULATED_LATENCY", "10ms..30ms");
    let (ingress, other) = tokio::join!(ingress.start(), other.start());
    let plans = [worker(), worker(), worker()];
    let (first, second, third) = tokio::join!(plans[0].start(), plans[1].start(), plans[2].start());

    let mut answers = Vec::new();
    let mut worked = [0.0; 3];
    // On a machine that is busy with something else, one of them may come late for all of the first thousands.
    for _ in 0..10 {
        answers.extend(call_all([ingress.url.clone(), other.url.clone()], answers.len()).await);
        for (worker, count) in [&first, &second, &third].into_iter().zip(&mut worked) {
            *count = metric(&worker.url, "roundtrip_proxy_requests_total{outcome=\"ok\"}").await;
        }
        if worked.iter().all(|count| *count > 0.0) {
            break;
        }
    }
    assert!(
        worked.iter().all(|count| *count > 0.0),
        "one of them did nothing: {worked:?}"
    );

    let mut ids = HashSet::new();
    for (number, answer) in &answers {
        assert_eq!(answer.status, 200, "call {number}: {answer:?}");
        assert_eq!(answer.body["city"], format!("City {number}"));
        assert_eq!(answer.body["location"], format!("Street {number}"));
        let members = answer.body.as_object().unwrap();
        assert!(MEMBERS.iter().all(|name| !members[*name].is_null()), "{members:?}");
        assert_eq!(members.len(), MEMBERS.len(), "{members:?}");
        ids.insert(answer.body["requestId"].as_str().unwrap());
    }
    assert_eq!(ids.len(), answers.len());

    assert_eq!(redis.number(&["XLEN", REQUESTS]).await, 0);
    assert_eq!(streams::pending(&redis).await, 0);
    until("reply streams are trimmed", async || {
        streams::replies(&redis).await == 0
    })
    .await;
    assert_eq!(streams::reply_keys(&redis).await.len(), 2);
    assert_eq!(worked.iter().sum::<f64>(), answers.len() as f64);
    for ingress in [&ingress, &other] {
        assert_eq!(metric(&ingress.url, "ingress_pending_requests").await, 0.0);
    }
}

#[tokio::test]
async fn a_forecast_has_as_many_days_as_asked_for_and_five_by_default() {
    let redis = RedisServer::spawn().await;
    let (ingress, proxy) = pair(&redis).await;
    for (query, days) in [("", 5), ("?city=Tokyo", 5), ("?city=Tokyo&days=1", 1), ("?days=16", 16)] {
        let answer = client::get(&format!("{}/WeatherForecast{query}", ingress.url)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let entries = answer.body.as_array().unwrap();
        assert_eq!(entries.len(), days, "{query:?}");
        let dates: Vec<_> = entries.iter().map(|entry| entry["date"].as_str().unwrap()).collect();
        assert!(dates.is_sorted_by(|one, next| one < next), "{dates:?}");
        for entry in entries {
            assert!(
                entry["temperatureC"].is_i64() && entry["temperatureF"].is_i64(),
                "{entry}"
            );
            assert!(!entry["summary"].as_str().unwrap().is_empty(), "{entry}");
        }
    }
    let worked = metric(&proxy.url, "roundtrip_proxy_requests_total{outcome=\"ok\"}").await;
    assert_eq!(worked, 4.0, "forecasts go through the broker");
}

#[tokio::test]
async fn the_callers_own_id_is_echoed_and_never_becomes_the_requests() {
    let redis = RedisServer::spawn().await;
    let (ingress, _proxy) = pair(&redis).await;
    let client = client::new();
    let request = || client::city(&client, &ingress.url, "Oslo", "Sentrum");
    let answer = client::send(request().header("X-Request-Id", "order-4711"))
        .await
        .unwrap();
    assert_eq!(answer.header("x-request-id"), "order-4711");
    let id = answer.body["requestId"].as_str().unwrap();
    assert!(CorrelationId::parse(id.as_bytes()).is_some(), "{id}");

    let answer = client::send(request()).await.unwrap();
    assert_eq!(answer.header("x-request-id"), answer.body["requestId"]);
}

#[tokio::test]
async fn the_same_city_has_the_same_weather_through_every_ingress() {
    let redis = RedisServer::spawn().await;
    let (ingress, _proxy) = pair(&redis).await;
    let other = crate::harness::ingress(&redis.url()).start().await;
    // The weather is another one tomorrow: a test that runs into it asks again.
    let weather = async |url: &str| -> (String, Value) {
        let mut body = client::call(url).await.body;
        let members = body.as_object_mut().unwrap();
        members.remove("requestId").unwrap();
        let time = members.remove("forecastTime").unwrap();
        (time.as_str().unwrap()[..10].to_owned(), body)
    };
    until("three calls are made on the same day", async || {
        let (day, first) = weather(&ingress.url).await;
        let (_, again) = weather(&ingress.url).await;
        let (last_day, elsewhere) = weather(&other.url).await;
        assert!(day != last_day || first == again, "{first} {again}");
        assert!(day != last_day || first == elsewhere, "{first} {elsewhere}");
        day == last_day
    })
    .await;
}

#[tokio::test]
async fn work_of_a_killed_worker_is_answered_by_another() {
    let redis = RedisServer::spawn().await;
    let worker = |latency| {
        let plan = proxy(&redis.url()).with("LEASE", "2s");
        plan.with("SIMULATED_LATENCY", latency)
    };
    let ingress = ingress(&redis.url()).with("LEASE", "2s").start().await;
    // Alone, it takes everything, and would not finish within the test.
    let mut doomed = worker("5m").with("ATTEMPT_TIMEOUT", "10m").start().await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let url = ingress.url.clone();
            tokio::spawn(async move { client::call(&url).await })
        })
        .collect();
    until("the worker has all of it in hand", async || {
        metric(&doomed.url, "proxy_active_terminals").await == 10.0
    })
    .await;
    // The other's work takes longer than a lease: it is not lost a second time.
    let other = worker("3s").start().await;
    doomed.signal(Signal::KILL);
    doomed.ended().await;
    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["city"], "Oslo");
    }
    assert_eq!(metric(&other.url, "roundtrip_proxy_reclaimed_total").await, 10.0);
    assert_eq!(streams::pending(&redis).await, 0);
}
