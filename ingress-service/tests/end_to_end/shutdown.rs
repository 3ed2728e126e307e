//! Processes are told to end while there is work. Nobody who calls notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testbed::{RedisServer, Signal, until};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{self, metric};
use crate::harness::{HEAVY, embedded, ingress, proxy};
use crate::streams;
use crate::upstream::Upstream;

/// Longer than anybody here waits for a process to end: one that ends has not waited for it either.
const DRAIN_TIMEOUT: &str = "1h";

/// Callers that never stop, until they are told to.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: JoinSet<()>,
}

impl Load {
    /// Each caller keeps its connection, and turns to the next URL only when a connection is refused.
    /// Anything but a 200 with its own city ends the test.
    fn start(callers: usize, urls: &[&str]) -> Self {
        let mut load = Self {
            over: Arc::default(),
            answered: Arc::default(),
            callers: JoinSet::new(),
        };
        for caller in 0..callers {
            let mut urls: Vec<_> = urls.iter().map(|url| (*url).to_owned()).collect();
            let first = caller % urls.len();
            urls.rotate_left(first);
            let (over, answered) = (load.over.clone(), load.answered.clone());
            load.callers.spawn(async move {
                let client = client::new();
                while !over.load(Ordering::Relaxed) {
                    let city = format!("City {caller} {}", answered.fetch_add(1, Ordering::Relaxed));
                    match client::send(client::city(&client, &urls[0], &city, "Sentrum")).await {
                        Ok(answer) => {
                            assert_eq!(answer.status, 200, "{answer:?}");
                            assert_eq!(answer.body["city"], city);
                        }
                        Err(error) if error.is_connect() && urls.len() > 1 => urls.rotate_left(1),
                        Err(error) => panic!("caller {caller} of {}: {error:?}", urls[0]),
                    }
                }
            });
        }
        load
    }

    /// Waits for so many calls from now on.
    async fn go_on(&mut self, calls: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + calls;
        until("calls are answered", async || {
            while let Some(ended) = self.callers.try_join_next() {
                ended.unwrap();
            }
            self.answered.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_ends_under_load_costs_no_call_and_leaves_the_group() {
    let _turn = HEAVY.lock().await;
    let redis = RedisServer::spawn().await;
    let worker = || {
        proxy(&redis.url())
            .with("SIMULATED_LATENCY", "100ms..300ms")
            .with("TERMINALS", "16")
            .with("DRAIN_TIMEOUT", DRAIN_TIMEOUT)
    };
    let (plans, ingress) = ([worker(), worker()], ingress(&redis.url()));
    let (ingress, mut leaves, stays) = tokio::join!(ingress.start(), plans[0].start(), plans[1].start());
    let mut load = Load::start(24, &[&ingress.url]);
    load.go_on(100).await;
    let ok = "roundtrip_proxy_requests_total{outcome=\"ok\"}";
    until("both take part", async || {
        metric(&leaves.url, ok).await > 0.0 && metric(&stays.url, ok).await > 0.0
    })
    .await;
    assert_eq!(streams::consumers(&redis).await.len(), 2);

    leaves.signal(Signal::TERM);
    assert!(leaves.ended().await.success());
    assert_eq!(streams::consumers(&redis).await.len(), 1);
    load.go_on(100).await;
    load.stop().await;
    assert_eq!(streams::pending(&redis).await, 0);
    let again = metric(&stays.url, "roundtrip_proxy_reclaimed_total").await;
    assert_eq!(again, 0.0, "what it had in hand it finished itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_that_ends_under_load_costs_no_call_and_removes_its_reply_stream() {
    let _turn = HEAVY.lock().await;
    let redis = RedisServer::spawn().await;
    let (leaves, stays) = (
        ingress(&redis.url())
            .with("SHUTDOWN_DELAY", "1s")
            .with("DRAIN_TIMEOUT", DRAIN_TIMEOUT),
        ingress(&redis.url()),
    );
    let worker = proxy(&redis.url()).with("SIMULATED_LATENCY", "1ms..20ms");
    let (mut leaves, stays, _worker) = tokio::join!(leaves.start(), stays.start(), worker.start());
    let mut load = Load::start(64, &[&leaves.url, &stays.url]);
    load.go_on(500).await;
    assert_eq!(streams::reply_keys(&redis).await.len(), 2);

    leaves.signal(Signal::TERM);
    until("the ingress says that it is leaving", async || {
        let ready = client::send(client::new().get(format!("{}/readyz", leaves.url))).await;
        ready.is_err() || ready.unwrap().status == 503
    })
    .await;
    assert!(leaves.ended().await.success());
    assert_eq!(streams::reply_keys(&redis).await.len(), 1);
    load.go_on(500).await;
    load.stop().await;
}

#[tokio::test]
async fn ctrl_c_answers_what_is_in_flight_first() {
    let upstream = Upstream::start().await;
    let mut ingress = upstream.behind(embedded()).start().await;
    let url = ingress.url.clone();
    let call = tokio::spawn(async move { client::call(&url).await });
    upstream.has_begun(1).await;
    ingress.signal(Signal::INT);
    until("nobody else is let in", async || {
        let ready = client::send(client::new().get(format!("{}/readyz", ingress.url))).await;
        ready.is_err()
    })
    .await;
    // Whoever waits has time: all of DRAIN_TIMEOUT.
    sleep(Duration::from_millis(300)).await;
    upstream.open();
    let answer = call.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("connection"), "close");
    assert!(ingress.ended().await.success());
}

#[tokio::test]
async fn a_proxy_that_cannot_finish_in_time_hands_its_work_to_another_at_once() {
    let redis = RedisServer::spawn().await;
    // Whoever waits for the lease, or for the first worker, waits for longer than a client does.
    let worker = |latency| {
        proxy(&redis.url())
            .with("LEASE", "1h")
            .with("SIMULATED_LATENCY", latency)
    };
    let ingress = ingress(&redis.url()).with("REQUEST_TIMEOUT", "1h").start().await;
    let mut leaves = worker("10m")
        .with("ATTEMPT_TIMEOUT", "1h")
        .with("DRAIN_TIMEOUT", "500ms")
        .start()
        .await;
    let url = ingress.url.clone();
    let call = tokio::spawn(async move { client::call(&url).await });
    until("the worker has it in hand", async || {
        metric(&leaves.url, "proxy_active_terminals").await == 1.0
    })
    .await;
    let other = worker("0ms").start().await;
    leaves.signal(Signal::TERM);
    assert!(leaves.ended().await.success());
    let answer = call.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(metric(&other.url, "roundtrip_proxy_reclaimed_total").await, 1.0);
}
