//! What others dropped, where there is no room for it: claims go on, and nobody who waits hears nothing.
#![allow(clippy::unwrap_used)]

mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proxy_service::failure::Failure;
use proxy_service::handler::Job;
use proxy_service::pool::Running;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::{Consumer, MAX_WAIT};
use roundtrip::{FaultCode, Request};
use tokio::time::{Instant, sleep};

use setup::{LONG, Setup, echo};

/// The budget of what takes an hour, and so its mark.
const HOURS: Duration = Duration::from_secs(2 * 60 * 60);
const FLAGS: [&str; 4] = ["--lease", "1s", "--attempt-timeout", "3h"];

async fn work(job: Job) -> Result<Bytes, Failure> {
    if job.request.budget.as_duration() == HOURS {
        sleep(HOURS / 2).await;
    }
    echo(job).await
}

/// A worker of so many terminals, one of which is at work for an hour, beside requests that others dropped.
async fn busy(setup: &Setup, terminals: &str, dropped: &[(u32, Duration)]) -> (Running, Vec<Request>) {
    let running = setup.start(&[&FLAGS[..], &["--terminals", terminals]].concat(), work);
    setup.publish(1, HOURS).await;
    while setup.broker.depth().await.unwrap().claimed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    (running, setup.drop_work(dropped).await)
}

#[tokio::test(start_paused = true)]
async fn a_suspect_beside_a_long_job_does_not_stop_claims() {
    let mut setup = Setup::new();
    let (running, suspect) = busy(&setup, "4", &[(2, LONG)]).await;
    let published = Instant::now();
    for _ in 0..10 {
        sleep(Duration::from_secs(2)).await;
        setup.publish(1, LONG).await;
    }
    let started = Instant::now();
    let replies = setup.read(10).await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.id != suspect[0].id && reply.outcome.is_ok())
    );
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // It never has the room it needs, and hears so in time.
    let told = setup.read(1).await.remove(0);
    assert!(published.elapsed() < LONG, "{:?}", published.elapsed());
    assert_eq!(
        (told.id, told.outcome.unwrap_err().code),
        (suspect[0].id, FaultCode::Expired)
    );
    running.drain(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_suspect_runs_alone_when_the_long_job_is_done() {
    let mut setup = Setup::new();
    let (running, suspect) = busy(&setup, "4", &[(2, HOURS + LONG)]).await;
    sleep(HOURS / 2).await;
    let replies = setup.read(2).await;
    assert!(replies.iter().all(|reply| reply.outcome.is_ok()), "{replies:?}");
    assert_eq!(replies[1].id, suspect[0].id);
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_takes_long_keeps_the_other_terminals_only_for_a_lease() {
    let mut setup = Setup::new();
    let suspect = setup.drop_work(&[(2, HOURS)]).await;
    let running = setup.start(&[&FLAGS[..], &["--terminals", "4"]].concat(), work);
    sleep(Duration::from_secs(5)).await;
    let asked = setup.publish(1, LONG).await;
    let replies = setup.read(1).await;
    assert_eq!(replies[0].id, asked[0].id, "nobody waits an hour for it");
    sleep(HOURS / 2).await;
    assert_eq!(setup.read(1).await[0].id, suspect[0].id, "and it goes on all the same");
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_expires_or_died_too_often_is_told_while_all_terminals_are_busy() {
    let mut setup = Setup::new();
    let (soon, later) = (Duration::from_secs(10), LONG * 10);
    let dropped = [(1, soon), (2, soon), (5, later), (1, later), (2, later)];
    let published = Instant::now();
    let (running, requests) = busy(&setup, "1", &dropped).await;
    let replies = setup.read(3).await;
    assert!(published.elapsed() <= soon, "in time: {:?}", published.elapsed());
    for reply in replies {
        let at = requests.iter().position(|request| request.id == reply.id).unwrap();
        let code = reply.outcome.unwrap_err().code;
        let expected = [FaultCode::Expired, FaultCode::Expired, FaultCode::DeadLettered];
        assert_eq!(code, expected[at]);
    }
    sleep(Duration::from_secs(20)).await;
    let depth = setup.broker.depth().await.unwrap();
    assert_eq!(
        (depth.claimed, depth.dead_letters),
        (3, 1),
        "what has time waits for room"
    );
    let heir = Consumer::unique("heir");
    let left = setup.broker.reclaim(&heir, Duration::ZERO, 10).await.unwrap();
    running.drain(Duration::ZERO).await;
    let mut deliveries: Vec<_> = left.iter().map(|one| one.deliveries).collect();
    deliveries.sort_unstable();
    assert_eq!(deliveries, [1, 1, 2], "a look is no attempt");
}

#[tokio::test(start_paused = true)]
async fn dropped_work_that_expires_is_told_while_the_upstream_is_given_a_pause() {
    let mut setup = Setup::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let running = setup.start(&FLAGS, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            Err(Failure::Throttled {
                // The breaker runs on real time: it stays open.
                retry_after: Some(LONG),
            })
        }
    });
    setup.publish(1, LONG).await;
    assert_eq!(setup.read(1).await.len(), 1);
    sleep(MAX_WAIT * 2).await;
    let (budget, published) = (Duration::from_secs(5), Instant::now());
    let requests = setup.drop_work(&[(1, budget), (2, budget), (5, LONG)]).await;
    let replies = setup.read(3).await;
    assert!(published.elapsed() <= budget, "{:?}", published.elapsed());
    for reply in replies {
        let at = requests.iter().position(|request| request.id == reply.id).unwrap();
        let code = reply.outcome.unwrap_err().code;
        // An earlier worker may have called the upstream: "nothing was attempted" would not be true.
        let expected = [
            FaultCode::UpstreamFailed,
            FaultCode::UpstreamFailed,
            FaultCode::DeadLettered,
        ];
        assert_eq!(code, expected[at]);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    running.drain(LONG).await;
}
