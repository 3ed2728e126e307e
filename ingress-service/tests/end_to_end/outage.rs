//! Redis goes away and comes back. Nothing else is ever restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testbed::{RedisServer, Signal, until};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{self, metric};
use crate::harness::{HEAVY, Service, ingress, proxy};

async fn pair(redis: &RedisServer) -> (Service, Service) {
    // Whoever is told anything by its own timeout has hung for longer than a client waits.
    let ingress = ingress(&redis.url()).with("REQUEST_TIMEOUT", "1h");
    let proxy = proxy(&redis.url());
    tokio::join!(ingress.start(), proxy.start())
}

async fn works_again(ingress: &Service) {
    until("calls succeed", async || client::call(&ingress.url).await.status == 200).await;
}

async fn status(url: &str, path: &str) -> u16 {
    client::get(&format!("{url}{path}")).await.status
}

#[tokio::test]
async fn callers_hear_at_once_that_redis_is_away_and_are_served_after_its_return() {
    let _turn = HEAVY.lock().await;
    let mut redis = RedisServer::spawn().await;
    let (ingress, proxy) = pair(&redis).await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
    redis.kill().await.unwrap();

    for number in 0..20 {
        let answer = client::call(&ingress.url).await;
        // The first may have been on its way.
        match number {
            0 if answer.status == 504 => answer.assert_problem(504, "/problems/outcome-unknown"),
            _ => answer.assert_refused("/problems/broker-unavailable"),
        }
    }
    for service in [&ingress, &proxy] {
        // Now and then the circuit is half-open, while it is probed.
        until("the circuit is open, and shown so", async || {
            let health = client::get(&format!("{}/healthz", service.url)).await;
            let open = (health.status, health.body["circuit"].as_str()) == (503, Some("open"));
            assert!(!open || health.body["status"] == "Unhealthy", "{health:?}");
            open && metric(&service.url, "redis_circuit_state").await == 0.0
        })
        .await;
        assert_eq!(status(&service.url, "/livez").await, 200);
        assert_eq!(status(&service.url, "/readyz").await, 200);
    }

    redis.restart().await.unwrap();
    works_again(&ingress).await;
    for service in [&ingress, &proxy] {
        until("the circuit is closed", async || {
            let health = client::get(&format!("{}/healthz", service.url)).await;
            health.body["status"] == "Healthy" && metric(&service.url, "redis_circuit_state").await == 1.0
        })
        .await;
        until("the outage is told to its end", async || {
            service.stderr().contains("Redis answers again")
        })
        .await;
        let log = service.stderr();
        let troubles: Vec<_> = log
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .collect();
        assert_eq!(troubles.len(), 1, "{log}");
        for part in ["Redis does not answer", &redis.url(), "error=\"could not "] {
            assert!(troubles[0].contains(part), "{part:?} is missing in {}", troubles[0]);
        }
        assert!(log.lines().count() <= 6, "{log}");
    }
    let log = ingress.stderr();
    let back = log.lines().find(|line| line.contains("Redis answers again")).unwrap();
    let refused = back
        .split("refused=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    assert!(refused.unwrap().parse::<u32>().unwrap() >= 19, "{back}");
}

#[tokio::test]
async fn that_nobody_works_is_told_and_that_somebody_does() {
    let redis = RedisServer::spawn().await;
    let ingress = ingress(&redis.url()).with("REQUEST_TIMEOUT", "2s").start().await;
    let health = async || client::get(&format!("{}/healthz", ingress.url)).await.body;
    let answer = client::call(&ingress.url).await;
    answer.assert_problem(504, "/problems/reply-timeout");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("no worker is connected"), "{detail}");
    assert_eq!(health().await["workers"], 0);
    assert_eq!(metric(&ingress.url, "roundtrip_workers").await, 0.0);
    until("it is logged", async || {
        ingress.stderr().contains("no worker is connected")
    })
    .await;

    let mut proxy = proxy(&redis.url()).with("TERMINALS", "7").start().await;
    until("the worker is there", async || {
        let health = health().await;
        health["workers"] == 1 && health["terminals"] == 7
    })
    .await;
    assert_eq!(metric(&ingress.url, "roundtrip_worker_terminals").await, 7.0);
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    until("it has left", async || health().await["workers"] == 0).await;
    assert!(
        proxy.stderr().contains("proxy-service has stopped"),
        "{}",
        proxy.stderr()
    );
}

#[tokio::test]
async fn callers_hear_that_redis_hangs_while_it_does() {
    let _turn = HEAVY.lock().await;
    let redis = RedisServer::spawn().await;
    let (ingress, _proxy) = pair(&redis).await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
    redis.signal(Signal::STOP).unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let url = ingress.url.clone();
        calls.spawn(async move { client::call(&url).await });
        // One after the other, so that there is a batch on its way and others behind it.
        sleep(Duration::from_millis(50)).await;
    }
    let answers = calls.join_all().await;
    redis.signal(Signal::CONT).unwrap();
    for answer in &answers {
        // What was handed over may be worked on; the rest was not accepted.
        match answer.problem() {
            "/problems/outcome-unknown" => answer.assert_problem(504, "/problems/outcome-unknown"),
            _ => answer.assert_refused("/problems/broker-unavailable"),
        }
    }
    works_again(&ingress).await;
}

/// What callers were told.
#[derive(Default)]
struct Told {
    over: AtomicBool,
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Told {
    /// Waits until one of the counters has gone up by as much.
    async fn go_on(&self, what: &str, counter: &AtomicUsize, by: usize) {
        let enough = counter.load(Ordering::Relaxed) + by;
        until(what, async || counter.load(Ordering::Relaxed) >= enough).await;
    }
}

/// Calls until `over`, each for a city of its own.
async fn keep_calling(url: String, caller: usize, told: Arc<Told>) {
    let client = client::new();
    for call in 0.. {
        if told.over.load(Ordering::Relaxed) {
            break;
        }
        let city = format!("City {caller} {call}");
        let answer = client::send(client::city(&client, &url, &city, "Sentrum"))
            .await
            .unwrap();
        match answer.status {
            200 => {
                assert_eq!(answer.body["city"], city);
                told.served.fetch_add(1, Ordering::Relaxed);
            }
            // What was accepted before the outage has waited through it: for a moment after it, its age refuses others.
            503 if answer.problem() == "/problems/overloaded" => answer.assert_refused("/problems/overloaded"),
            503 => {
                answer.assert_refused("/problems/broker-unavailable");
                told.refused.fetch_add(1, Ordering::Relaxed);
            }
            504 => assert!(
                [
                    "/problems/outcome-unknown",
                    "/problems/reply-timeout",
                    "/problems/expired"
                ]
                .contains(&answer.problem()),
                "{answer:?}"
            ),
            _ => panic!("{answer:?}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_an_outage_hangs_nobody_and_mixes_up_nothing() {
    let _turn = HEAVY.lock().await;
    let mut redis = RedisServer::spawn().await;
    let (ingress, proxy) = (
        ingress(&redis.url()).with("REQUEST_TIMEOUT", "1s"),
        proxy(&redis.url()).with("SIMULATED_LATENCY", "5ms..50ms"),
    );
    let (ingress, _proxy) = tokio::join!(ingress.start(), proxy.start());
    let (told, mut callers) = (Arc::new(Told::default()), JoinSet::new());
    for caller in 0..20 {
        callers.spawn(keep_calling(ingress.url.clone(), caller, told.clone()));
    }
    for _ in 0..2 {
        told.go_on("calls succeed", &told.served, 100).await;
        redis.kill().await.unwrap();
        // The time of whatever was accepted runs out, and the circuit opens and is probed.
        sleep(Duration::from_millis(1500)).await;
        told.go_on("callers are refused", &told.refused, 100).await;
        redis.restart().await.unwrap();
    }
    told.go_on("calls succeed after the last outage", &told.served, 100)
        .await;
    told.over.store(true, Ordering::Relaxed);
    callers.join_all().await;
    until("nobody is waiting", async || {
        metric(&ingress.url, "ingress_pending_requests").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn services_that_start_before_redis_work_once_it_is_there() {
    let mut redis = RedisServer::spawn().await;
    redis.kill().await.unwrap();
    let (ingress, proxy) = pair(&redis).await;
    client::call(&ingress.url)
        .await
        .assert_refused("/problems/broker-unavailable");
    assert_eq!(status(&proxy.url, "/livez").await, 200);
    redis.restart().await.unwrap();
    works_again(&ingress).await;
}

#[tokio::test]
async fn work_goes_on_after_somebody_deleted_everything_in_redis() {
    let redis = RedisServer::spawn().await;
    // A call made in between may wait for a reply that was deleted.
    let ingress = ingress(&redis.url()).with("REQUEST_TIMEOUT", "1s");
    let (ingress, _proxy) = (ingress.start().await, proxy(&redis.url()).start().await);
    assert_eq!(client::call(&ingress.url).await.status, 200);
    redis.command(&["FLUSHALL"]).await.unwrap();
    works_again(&ingress).await;
}

#[tokio::test]
async fn cut_connections_cost_no_call() {
    let redis = RedisServer::spawn().await;
    let (ingress, _proxy) = pair(&redis).await;
    for _ in 0..5 {
        assert_eq!(client::call(&ingress.url).await.status, 200);
        redis.cut_connections().await;
        let answer = client::call(&ingress.url).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn with_a_wrong_password_nothing_is_ready_until_it_is_right() {
    let redis = RedisServer::spawn().await;
    redis.command(&["CONFIG", "SET", "requirepass", "right"]).await.unwrap();
    let url = redis.url().replace("redis://", "redis://:wrong@");
    for plan in [ingress(&url), proxy(&url)] {
        let service = plan.spawn();
        until("it says what is wrong", async || {
            service.stderr().contains("password in BROKER_URL")
        })
        .await;
        assert!(!service.stderr().contains("wrong@"), "{}", service.stderr());
        let ready = format!("{}/readyz", service.url);
        until("it serves", async || client::new().get(&ready).send().await.is_ok()).await;
        client::get(&ready).await.assert_problem(503, "/problems/not-ready");
        let mut admin = redis::Client::open(redis.url().replace("redis://", "redis://:right@"))
            .unwrap()
            .get_connection()
            .unwrap();
        redis::cmd("CONFIG")
            .arg(&["SET", "requirepass", "wrong"])
            .exec(&mut admin)
            .unwrap();
        until("it is ready", async || client::get(&ready).await.status == 200).await;
        redis::cmd("CONFIG")
            .arg(&["SET", "requirepass", "right"])
            .exec(&mut admin)
            .unwrap();
    }
}
