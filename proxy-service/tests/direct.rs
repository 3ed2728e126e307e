//! Calls past the stream: they share the terminals with what is claimed, and are served while a claim waits.
#![allow(clippy::unwrap_used)]

mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proxy_service::failure::Failure;
use proxy_service::handler::Job;
use proxy_service::pool::WorkerPool;
use roundtrip::broker::conformance::FirstQueue as _;
use tokio::time::sleep;

use setup::{LONG, Setup, echo};

/// Takes its time, and notes how many do at the same time at most.
#[derive(Clone, Default)]
struct Busy {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Busy {
    async fn work(self, job: Job) -> Result<Bytes, Failure> {
        self.most
            .fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(Duration::from_secs(3)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        echo(job).await
    }
}

fn call(setup: &Setup, workers: &WorkerPool) -> tokio::task::JoinHandle<Option<Result<Bytes, Failure>>> {
    let (workers, request) = (workers.clone(), setup.request(7, LONG));
    tokio::spawn(async move { workers.stations().work_on(request).await })
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_serves_a_direct_call() {
    for terminals in ["1", "4", "600"] {
        let setup = Setup::new();
        let (workers, running) = setup.start_workers(&["--terminals", terminals], echo);
        for _ in 0..20 {
            sleep(Duration::from_millis(170)).await;
            let outcome = workers.stations().work_on(setup.request(7, LONG)).await;
            assert_eq!(outcome, Some(Ok(Bytes::from_static(b"7"))), "{terminals} terminals");
        }
        running.drain(LONG).await;
    }
}

#[tokio::test(start_paused = true)]
async fn direct_calls_and_claims_share_the_terminals() {
    let mut setup = Setup::new();
    let busy = Busy::default();
    let at_work = busy.clone();
    let (workers, running) = setup.start_workers(&["--terminals", "2"], move |job| at_work.clone().work(job));
    sleep(Duration::from_millis(100)).await;
    let calls = [call(&setup, &workers), call(&setup, &workers)];
    sleep(Duration::from_millis(10)).await;
    assert_eq!(
        call(&setup, &workers).await.unwrap(),
        None,
        "both terminals are at work"
    );
    // The claim that waits brings what it asked for; it has no terminal until a call ends.
    setup.publish(5, LONG).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(busy.now.load(Ordering::SeqCst), 2);
    let depth = setup.broker.depth().await.unwrap();
    assert_eq!(
        (depth.claimed, depth.waiting),
        (2, 3),
        "no more than the claim that waited"
    );
    for call in calls {
        assert!(call.await.unwrap().unwrap().is_ok());
    }
    assert_eq!(setup.read(5).await.len(), 5);
    assert_eq!(busy.most.load(Ordering::SeqCst), 2);
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_terminal_is_handed_back_by_a_drain() {
    let setup = Setup::new();
    let busy = Busy::default();
    let (workers, running) = setup.start_workers(&["--terminals", "1"], move |job| busy.clone().work(job));
    sleep(Duration::from_millis(100)).await;
    let direct = call(&setup, &workers);
    sleep(Duration::from_millis(10)).await;
    setup.publish(1, LONG).await;
    sleep(Duration::from_millis(100)).await;
    running.drain(Duration::from_millis(100)).await;
    let heir = roundtrip::broker::Consumer::unique("heir");
    assert_eq!(setup.broker.reclaim(&heir, LONG, 10).await.unwrap().len(), 1);
    assert!(direct.await.unwrap().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_has_little_time_waits_for_its_terminal_too() {
    let mut setup = Setup::new();
    let (workers, running) = setup.start_workers(&["--terminals", "1"], |job: Job| async {
        sleep(Duration::from_millis(100)).await;
        echo(job).await
    });
    sleep(Duration::from_millis(100)).await;
    let direct = call(&setup, &workers);
    sleep(Duration::from_millis(10)).await;
    setup.publish(1, Duration::from_millis(600)).await;
    let reply = setup.read(1).await.remove(0);
    assert!(reply.outcome.is_ok(), "{reply:?}");
    assert!(direct.await.unwrap().unwrap().is_ok());
    running.drain(LONG).await;
}
