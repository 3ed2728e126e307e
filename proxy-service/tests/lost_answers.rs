//! Calls that fail halfway while dropped work is taken over: what was taken keeps its number of attempts, and whoever
//! waits for it hears in time.
#![allow(clippy::unwrap_used)]

mod setup;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use proxy_service::failure::Failure;
use proxy_service::handler::Job;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::{Consumer, MAX_WAIT};
use roundtrip::{CorrelationId, FaultCode};
use rstest::rstest;
use tokio::time::{Instant, sleep, timeout};

use setup::faulty::{Fault, Faulty};
use setup::{LONG, Setup, echo};

use Fault::{Lost, Nothing, OnlyOne, Slow};

const LEASE: Duration = Duration::from_secs(1);
const FLAGS: [&str; 2] = ["--lease", "1s"];

/// Which attempt each request ran as.
type Attempts = Arc<Mutex<HashMap<CorrelationId, Vec<u32>>>>;

fn noting(attempts: &Attempts) -> impl Fn(Job) -> BoxedEcho + Clone + Send + Sync + 'static {
    let attempts = attempts.clone();
    move |job: Job| {
        let mut attempts = attempts.lock().unwrap();
        attempts.entry(job.request.id).or_default().push(job.delivery);
        Box::pin(echo(job))
    }
}

type BoxedEcho = std::pin::Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>>;

#[rstest]
#[case::taking_over(&[1], "reclaim", &[Lost])]
#[case::taking_over_a_suspect(&[2], "reclaim", &[Lost])]
#[case::taking_over_many(&[1, 1, 2], "reclaim", &[Lost, Lost])]
#[case::delivering(&[1], "redeliver", &[Lost])]
#[case::delivering_a_part(&[1, 1, 1], "redeliver", &[OnlyOne])]
#[case::looking(&[2], "redeliver", &[Lost])]
#[case::looking_before_delivering(&[2, 1], "redeliver", &[Lost])]
#[case::handing_back(&[2], "release", &[Nothing])]
#[case::handing_back_with_effect(&[2], "release", &[Lost])]
#[case::delivering_a_suspect(&[2], "redeliver", &[Fault::None, Lost])]
#[case::delivering_a_suspect_twice(&[2], "redeliver", &[Fault::None, Lost, Lost, Lost])]
#[case::handing_back_the_neighbours(&[2, 2], "release", &[Fault::None, Nothing])]
#[tokio::test(start_paused = true)]
async fn a_failure_of(#[case] dropped: &[u32], #[case] call: &'static str, #[case] faults: &[Fault]) {
    let mut setup = Setup::new();
    let budgets: Vec<_> = dropped.iter().map(|deliveries| (*deliveries, LONG)).collect();
    let requests = setup.drop_work(&budgets).await;
    sleep(LEASE).await;
    let (faulty, attempts) = (Faulty::new(&setup.broker, [(call, faults)]), Attempts::default());
    let (_, running) = setup.start_on(faulty.clone(), &FLAGS, noting(&attempts));
    let replies = setup.read(dropped.len()).await;
    assert!(replies.iter().all(|reply| reply.outcome.is_ok()), "{replies:?}");
    assert!(faulty.is_done());
    let attempts = attempts.lock().unwrap().clone();
    let ran: Vec<_> = requests.iter().map(|request| attempts[&request.id].clone()).collect();
    let expected: Vec<_> = dropped.iter().map(|deliveries| vec![deliveries + 1]).collect();
    assert_eq!(ran, expected, "each ran once, as one more attempt");
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_claim_took_is_told_while_the_upstream_is_given_a_pause() {
    let mut setup = Setup::new();
    let faulty = Faulty::new(&setup.broker, [("claim_due", &[Lost][..])]);
    let (_, running) = setup.start_on(faulty.clone(), &FLAGS, |_| async {
        Err(Failure::Throttled {
            // The breaker runs on real time: it stays open.
            retry_after: Some(LONG),
        })
    });
    setup.publish(1, LONG).await;
    assert_eq!(setup.read(1).await.len(), 1);
    // A claim that was waiting brings nothing any more.
    sleep(MAX_WAIT * 2).await;
    let (budget, published) = (Duration::from_secs(5), Instant::now());
    let soon = setup.publish(1, budget).await;
    let reply = setup.read(1).await.remove(0);
    assert!(published.elapsed() <= budget, "{:?}", published.elapsed());
    let code = reply.outcome.unwrap_err().code;
    assert_eq!((reply.id, code), (soon[0].id, FaultCode::UpstreamUnavailable));
    assert!(faulty.is_done());
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_found_due_is_told_although_the_look_failed_after_it() {
    let mut setup = Setup::new();
    let budget = LEASE * 10;
    // Each is looked into once at first, and again when it is due.
    let looks = &[Fault::None, Fault::None, Fault::None, Lost][..];
    let faulty = Faulty::new(&setup.broker, [("redeliver", looks)]);
    let flags = ["--lease", "1s", "--terminals", "1", "--attempt-timeout", "3h"];
    let (_, running) = setup.start_on(faulty.clone(), &flags, |_| std::future::pending());
    setup.publish(1, LONG * 60).await;
    while setup.broker.depth().await.unwrap().claimed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let published = Instant::now();
    setup.drop_work(&[(1, budget), (1, budget)]).await;
    let replies = setup.read(2).await;
    assert!(published.elapsed() <= budget, "{:?}", published.elapsed());
    for reply in replies {
        assert_eq!(reply.outcome.unwrap_err().code, FaultCode::Expired);
    }
    assert!(faulty.is_done());
    running.drain(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_recovered_without_room_counts_as_not_run() {
    let setup = Setup::new();
    let faulty = Faulty::new(&setup.broker, [("reclaim", &[Lost][..])]);
    let flags = ["--lease", "1s", "--terminals", "1", "--attempt-timeout", "3h"];
    let (_, running) = setup.start_on(faulty.clone(), &flags, |_| std::future::pending());
    setup.publish(1, LONG * 60).await;
    while setup.broker.depth().await.unwrap().claimed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    setup.drop_work(&[(1, LONG), (2, LONG), (3, LONG)]).await;
    sleep(LEASE * 5).await;
    assert!(faulty.is_done());
    let heir = Consumer::unique("heir");
    let left = setup.broker.reclaim(&heir, LONG, 10).await.unwrap();
    let deliveries: Vec<_> = left.iter().map(|one| one.deliveries).collect();
    assert_eq!(deliveries, [1, 2, 3], "handed back, and a look is no attempt");
    running.drain(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_met_although_a_part_of_the_scan_has_none() {
    let mut setup = Setup::new();
    setup.drop_work(&[(2, LONG)]).await;
    sleep(LEASE).await;
    // What the scan sees, the turn for suspects misses, again and again.
    let faulty = Faulty::new(&setup.broker, [("reclaim", &[Fault::None, Nothing].repeat(10)[..])]);
    let started = Instant::now();
    let (_, running) = setup.start_on(faulty, &FLAGS, echo);
    assert!(setup.read(1).await.remove(0).outcome.is_ok());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_looks() {
    let setup = Setup::new();
    let look = Duration::from_secs(5);
    setup.drop_work(&[(2, LONG * 60); 10]).await;
    sleep(LEASE).await;
    let faulty = Faulty::new(&setup.broker, [("redeliver", &[Slow(look); 10][..])]);
    let (_, running) = setup.start_on(faulty, &FLAGS, echo);
    sleep(Duration::from_secs(3)).await;
    let stopped = Instant::now();
    timeout(LONG * 10, running.drain(LONG)).await.unwrap();
    assert!(stopped.elapsed() <= look * 2, "{:?}", stopped.elapsed());
    let heir = Consumer::unique("heir");
    let left = setup.broker.reclaim(&heir, LONG * 60, 20).await.unwrap();
    assert_eq!(left.len(), 10);
    assert!(left.iter().all(|one| one.deliveries == 2), "{left:?}");
}
#[tokio::test(start_paused = true)]
async fn a_drain_waits_no_longer_than_it_may_for_entries_that_are_read() {
    let setup = Setup::new();
    let requests = setup.drop_work(&[(1, LONG * 60)]).await;
    sleep(LEASE).await;
    let faulty = Faulty::new(&setup.broker, [("redeliver", &[Slow(LONG * 10)][..])]);
    let (_, running) = setup.start_on(faulty.clone(), &FLAGS, echo);
    while !faulty.is_done() {
        sleep(Duration::from_millis(10)).await;
    }
    let stopped = Instant::now();
    running.drain(Duration::from_secs(5)).await;
    assert!(stopped.elapsed() <= Duration::from_secs(8), "{:?}", stopped.elapsed());
    let heir = Consumer::unique("heir");
    let left = setup.broker.reclaim(&heir, LONG * 60, 10).await.unwrap();
    assert_eq!(left.len(), requests.len(), "handed back");
}
