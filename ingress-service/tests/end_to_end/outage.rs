//! Redis goes away and comes back. Nothing else is ever restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roundtrip::test_util::RedisServer;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{self, metric};
use crate::harness::{HEAVY, PATIENCE, Service, ingress, proxy, until};

/// How soon callers hear that the broker is away.
const NOTICE: Duration = Duration::from_secs(1);
/// How soon after its return callers are served again.
const RECOVERY: Duration = Duration::from_secs(3);

async fn pair(redis: &RedisServer) -> (Service, Service) {
    let (ingress, proxy) = (ingress(&redis.url()), proxy(&redis.url()));
    tokio::join!(ingress.start(), proxy.start())
}

async fn works_again_after(what: &str, within: Duration, ingress: &Service) {
    until(what, within, async || client::call(&ingress.url).await.status == 200).await;
}

async fn status(url: &str, path: &str) -> u16 {
    client::get(&format!("{url}{path}")).await.status
}

#[tokio::test]
async fn callers_hear_within_a_second_that_redis_is_away_and_are_served_within_three_of_its_return() {
    let _turn = HEAVY.lock().await;
    let mut redis = RedisServer::spawn().await;
    let (ingress, proxy) = pair(&redis).await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
    redis.stop().await;

    for number in 0..20 {
        let answer = client::call(&ingress.url).await;
        assert!(answer.took < NOTICE, "{answer:?}");
        // The first may have been on its way.
        match number {
            0 if answer.status == 504 => answer.assert_problem(504, "/problems/outcome-unknown"),
            _ => answer.assert_refused("/problems/broker-unavailable"),
        }
    }
    for service in [&ingress, &proxy] {
        // Now and then the circuit is half-open, while it is probed.
        until("the circuit is open, and shown so", PATIENCE, async || {
            let health = client::get(&format!("{}/healthz", service.url)).await;
            let open = (health.status, health.body["circuit"].as_str()) == (503, Some("open"));
            assert!(!open || health.body["status"] == "Unhealthy", "{health:?}");
            open && metric(&service.url, "redis_circuit_state").await == 0.0
        })
        .await;
        assert_eq!(status(&service.url, "/livez").await, 200);
        assert_eq!(status(&service.url, "/readyz").await, 200);
    }

    redis.start().await;
    works_again_after("calls succeed", RECOVERY, &ingress).await;
    for service in [&ingress, &proxy] {
        until("the circuit is closed", PATIENCE, async || {
            let health = client::get(&format!("{}/healthz", service.url)).await;
            health.body["status"] == "Healthy" && metric(&service.url, "redis_circuit_state").await == 1.0
        })
        .await;
    }
}

#[tokio::test]
async fn callers_hear_soon_that_redis_hangs() {
    let _turn = HEAVY.lock().await;
    let redis = RedisServer::spawn().await;
    let (ingress, _proxy) = pair(&redis).await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
    redis.freeze().await;
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let url = ingress.url.clone();
        calls.spawn(async move { client::call(&url).await });
        // One after the other, so that there is a batch on its way and others behind it.
        sleep(Duration::from_millis(50)).await;
    }
    let answers = calls.join_all().await;
    redis.thaw().await;
    for answer in &answers {
        // What was handed over may be worked on; the rest was not accepted.
        match answer.problem() {
            "/problems/outcome-unknown" => answer.assert_problem(504, "/problems/outcome-unknown"),
            _ => answer.assert_refused("/problems/broker-unavailable"),
        }
    }
    let longest = answers.iter().map(|answer| answer.took).max().unwrap();
    // A command's time limit, then a connection's; and time for a busy machine.
    assert!(longest < NOTICE * 3 / 2, "{longest:?}");
    works_again_after("calls succeed", RECOVERY, &ingress).await;
}

/// Calls until `over`, each for a city of its own; counts the answers by status.
async fn keep_calling(url: String, caller: usize, longest: Duration, over: Arc<AtomicBool>) -> BTreeMap<u16, usize> {
    let (client, mut statuses) = (client::new(), BTreeMap::new());
    for call in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let city = format!("City {caller} {call}");
        let answer = client::send(client::city(&client, &url, &city, "Sentrum"))
            .await
            .unwrap();
        assert!(answer.took < longest, "{answer:?}");
        match answer.status {
            200 => assert_eq!(answer.body["city"], city),
            // What was accepted before the outage has waited through it: for a moment after it, its age refuses others.
            503 if answer.problem() == "/problems/overloaded" => answer.assert_refused("/problems/overloaded"),
            503 => answer.assert_refused("/problems/broker-unavailable"),
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
        *statuses.entry(answer.status).or_default() += 1;
        sleep(Duration::from_millis(5)).await;
    }
    statuses
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
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        // Its timeout, and time for a busy machine to say so.
        let longest = Duration::from_secs(1 + 2);
        callers.spawn(keep_calling(ingress.url.clone(), caller, longest, over.clone()));
    }
    for _ in 0..2 {
        works_again_after("calls succeed", PATIENCE, &ingress).await;
        sleep(Duration::from_millis(500)).await;
        redis.stop().await;
        sleep(Duration::from_millis(2500)).await;
        redis.start().await;
        works_again_after("calls succeed after an outage", RECOVERY, &ingress).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut all = BTreeMap::new();
    for (status, count) in callers.join_all().await.into_iter().flatten() {
        *all.entry(status).or_insert(0) += count;
    }
    assert!(all[&200] > 100 && all[&503] > 20, "{all:?}");
    until("nobody is waiting", PATIENCE, async || {
        metric(&ingress.url, "ingress_pending_requests").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn services_that_start_before_redis_work_once_it_is_there() {
    let mut redis = RedisServer::spawn().await;
    redis.stop().await;
    let (ingress, proxy) = pair(&redis).await;
    client::call(&ingress.url)
        .await
        .assert_refused("/problems/broker-unavailable");
    assert_eq!(status(&proxy.url, "/livez").await, 200);
    redis.start().await;
    works_again_after("calls succeed", RECOVERY, &ingress).await;
}

#[tokio::test]
async fn work_goes_on_after_somebody_deleted_everything_in_redis() {
    let redis = RedisServer::spawn().await;
    let (ingress, _proxy) = pair(&redis).await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
    redis.command(&["FLUSHALL"]).await.unwrap();
    // A call made in between may wait for a reply that was deleted: others do not wait for it.
    let answer = async || tokio::time::timeout(Duration::from_millis(500), client::call(&ingress.url)).await;
    until("calls succeed", RECOVERY, async || {
        answer().await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
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
        until("it says what is wrong", PATIENCE, async || {
            service.stderr().contains("password in BROKER_URL")
        })
        .await;
        assert!(!service.stderr().contains("wrong@"), "{}", service.stderr());
        let ready = format!("{}/readyz", service.url);
        until("it serves", PATIENCE, async || {
            client::new().get(&ready).send().await.is_ok()
        })
        .await;
        client::get(&ready).await.assert_problem(503, "/problems/not-ready");
        let mut admin = redis::Client::open(redis.url().replace("redis://", "redis://:right@"))
            .unwrap()
            .get_connection()
            .unwrap();
        redis::cmd("CONFIG")
            .arg(&["SET", "requirepass", "wrong"])
            .exec(&mut admin)
            .unwrap();
        until("it is ready", PATIENCE, async || {
            client::get(&ready).await.status == 200
        })
        .await;
        redis::cmd("CONFIG")
            .arg(&["SET", "requirepass", "right"])
            .exec(&mut admin)
            .unwrap();
    }
}
