//! Workers on a broker: what is claimed is bounded, settled once, and handed back when there is no time.
#![allow(clippy::unwrap_used)]

mod setup;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use proxy_service::failure::Failure;
use proxy_service::handler::Job;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::{Consumer, DeadLetters, Depth, MAX_WAIT};
use roundtrip::{CorrelationId, Fault, FaultCode};
use tokio::time::{Instant, sleep};

use setup::{LONG, Setup, echo};

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_with_its_own_answer() {
    let mut setup = Setup::new();
    let running = setup.start(&[], echo);
    let requests = setup.publish(1000, LONG).await;
    let replies = setup.read(1000).await;
    for request in &requests {
        let own: Vec<_> = replies.iter().filter(|reply| reply.id == request.id).collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].outcome, Ok(request.data.clone()));
    }
    running.drain(LONG).await;
    let left = Depth {
        completed: Some(1000),
        ..Depth::default()
    };
    assert_eq!(setup.broker.depth().await.unwrap(), left);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_claimed_than_terminals_are_free() {
    let mut setup = Setup::new();
    let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (at_work.clone(), most.clone());
    let running = setup.start(&["--terminals", "3"], move |job: Job| {
        let (at_work, most) = (counted.clone(), highest.clone());
        async move {
            most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(100)).await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            echo(job).await
        }
    });
    setup.publish(20, LONG).await;
    sleep(Duration::from_millis(50)).await;
    let depth = setup.broker.depth().await.unwrap();
    assert_eq!(
        (depth.claimed, depth.waiting),
        (3, 17),
        "the rest stays where another worker can take it"
    );
    setup.read(20).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_request_is_set_aside_with_what_it_said_and_its_neighbours_are_answered() {
    let mut setup = Setup::new();
    let running = setup.start(&[], |job: Job| async move {
        assert!(job.request.data != "3", "poison");
        echo(job).await
    });
    let requests = setup.publish(6, LONG).await;
    let replies = setup.read(6).await;
    let mut told = None;
    for reply in replies {
        match reply.outcome {
            Ok(data) => assert_ne!(data, "3"),
            Err(fault) => {
                assert_eq!((reply.id, fault.code), (requests[3].id, FaultCode::DeadLettered));
                assert!(!fault.detail.contains("poison"), "{}", fault.detail);
                told = fault.dead_letter;
            }
        }
    }
    running.drain(LONG).await;
    let letters = setup.broker.letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(Some(letters[0].id.to_string()), told);
    assert_eq!((letters[0].attempts, letters[0].last_error.as_str()), (1, "poison"));
}

#[tokio::test(start_paused = true)]
async fn what_expired_in_the_queue_is_answered_and_never_started() {
    let mut setup = Setup::new();
    let requests = setup.publish(1, Duration::from_millis(100)).await;
    sleep(Duration::from_millis(200)).await;
    let started = Arc::new(AtomicUsize::new(0));
    let counted = started.clone();
    let running = setup.start(&[], move |job: Job| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(job)
    });
    let reply = setup.read(1).await.remove(0);
    assert_eq!(reply.id, requests[0].id);
    assert_eq!(reply.outcome.unwrap_err().code, FaultCode::Expired);
    assert_eq!(started.load(Ordering::SeqCst), 0);
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_work_is_taken_over_within_a_lease_and_a_scan() {
    let mut setup = Setup::new();
    let requests = setup.publish(2, LONG).await;
    let dead = Consumer::unique("dead");
    assert_eq!(setup.broker.claim(&dead, 2).await.unwrap().len(), 2);
    let dropped = Instant::now();
    let running = setup.start(&["--lease", "6s"], echo);
    let replies = setup.read(2).await;
    let took = dropped.elapsed();
    assert_eq!(replies.len(), requests.len());
    assert!(
        took >= Duration::from_secs(6) && took <= Duration::from_secs(8),
        "{took:?}"
    );
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn long_work_keeps_its_lease() {
    let mut setup = Setup::new();
    let started = Arc::new(AtomicUsize::new(0));
    let counted = started.clone();
    let slow = move |job: Job| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(Duration::from_secs(9)).await;
            echo(job).await
        }
    };
    let flags = ["--lease", "1s", "--attempt-timeout", "20s"];
    let first = setup.start(&flags, slow);
    setup.publish(1, LONG).await;
    let heir = Consumer::unique("heir");
    for _ in 0..8 {
        sleep(Duration::from_secs(1)).await;
        let stolen = setup.broker.reclaim(&heir, Duration::from_secs(1), 10).await.unwrap();
        assert!(stolen.is_empty(), "the lease of running work was not renewed");
    }
    setup.read(1).await;
    assert_eq!(started.load(Ordering::SeqCst), 1);
    first.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_delivered_too_often_is_set_aside_and_its_caller_told() {
    let mut setup = Setup::new();
    let requests = setup.publish(1, LONG).await;
    setup.crash_on_all(2).await;
    let started = Arc::new(AtomicUsize::new(0));
    let counted = started.clone();
    let running = setup.start(&["--max-deliveries", "2", "--lease", "1s"], move |job: Job| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(job)
    });
    let reply = setup.read(1).await.remove(0);
    assert_eq!(
        (reply.id, reply.outcome.unwrap_err().code),
        (requests[0].id, FaultCode::DeadLettered)
    );
    running.drain(LONG).await;
    let depth = setup.broker.depth().await.unwrap();
    assert_eq!((depth.dead_letters, depth.claimed, depth.waiting), (1, 0, 0));
    assert_eq!(started.load(Ordering::SeqCst), 0);
}

/// Notes how many ran beside each request while it ran, itself included.
#[derive(Clone, Default)]
struct Neighbours {
    running: Arc<Mutex<HashSet<CorrelationId>>>,
    most: Arc<Mutex<HashMap<CorrelationId, usize>>>,
}

impl Neighbours {
    async fn run(self, job: Job) -> Result<Bytes, Failure> {
        let id = job.request.id;
        self.running.lock().unwrap().insert(id);
        for _ in 0..10 {
            let running = self.running.lock().unwrap().clone();
            for one in &running {
                let mut most = self.most.lock().unwrap();
                let most = most.entry(*one).or_default();
                *most = running.len().max(*most);
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.running.lock().unwrap().remove(&id);
        echo(job).await
    }
}

#[tokio::test(start_paused = true)]
async fn from_its_third_delivery_on_a_request_runs_with_nothing_beside_it() {
    let mut setup = Setup::new();
    let suspects = setup.publish(12, LONG).await;
    setup.crash_on_all(2).await;
    let innocents = setup.publish(40, LONG).await;
    let neighbours = Neighbours::default();
    let at_work = neighbours.clone();
    let running = setup.start(&["--terminals", "8", "--lease", "1s"], move |job| {
        at_work.clone().run(job)
    });
    setup.read(suspects.len() + innocents.len()).await;
    running.drain(LONG).await;
    let most = neighbours.most.lock().unwrap();
    for suspect in &suspects {
        assert_eq!(most[&suspect.id], 1);
    }
    let busiest = innocents.iter().map(|request| most[&request.id]).max();
    assert!(busiest > Some(2), "the others ran together: {busiest:?}");
}

#[tokio::test(start_paused = true)]
async fn the_second_delivery_has_company() {
    let mut setup = Setup::new();
    let requests = setup.publish(6, LONG).await;
    setup.crash_on_all(1).await;
    let neighbours = Neighbours::default();
    let at_work = neighbours.clone();
    let running = setup.start(&["--lease", "1s"], move |job| at_work.clone().run(job));
    setup.read(requests.len()).await;
    running.drain(LONG).await;
    let most = neighbours.most.lock().unwrap();
    assert!(requests.iter().all(|request| most[&request.id] > 1), "{most:?}");
}

/// On real time, as the breaker is.
#[tokio::test]
async fn nothing_is_claimed_while_the_upstream_is_given_a_pause() {
    let mut setup = Setup::new();
    let (healed, deliveries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (state, most) = (healed.clone(), deliveries.clone());
    let running = setup.start(&["--terminals", "4"], move |job: Job| {
        let healed = state.load(Ordering::SeqCst);
        most.fetch_max(job.delivery, Ordering::SeqCst);
        async move {
            match healed {
                true => echo(job).await,
                false => Err(Failure::Upstream {
                    detail: "broken".to_owned(),
                }),
            }
        }
    });
    // Enough to open the breaker, and no more.
    setup.publish(4, LONG).await;
    setup.read(4).await;
    // A claim that was waiting when the breaker opened would still bring what comes.
    sleep(MAX_WAIT).await;
    // Whatever is claimed now, or beyond the number of probes later, is told that the upstream is unavailable.
    healed.store(true, Ordering::SeqCst);
    setup.publish(20, LONG).await;
    let replies = setup.read(20).await;
    let failed: Vec<_> = replies.iter().filter(|reply| reply.outcome.is_err()).collect();
    assert!(failed.is_empty(), "nothing was claimed too early: {failed:?}");
    assert_eq!(deliveries.load(Ordering::SeqCst), 1, "and no delivery is burnt");
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_retry_after_gives_the_terminals_back_and_pauses_claims() {
    let mut setup = Setup::new();
    let asked = Duration::from_secs(600);
    let running = setup.start(&["--terminals", "4"], move |_| async move {
        Err(Failure::Throttled {
            retry_after: Some(asked),
        })
    });
    setup.publish(4, LONG * 60).await;
    let faults: Vec<_> = setup
        .read(4)
        .await
        .into_iter()
        .map(|reply| reply.outcome.unwrap_err())
        .collect();
    // Those whose attempt had not begun hear of the pause.
    assert!(
        faults.iter().all(|fault| fault.retry_after_ms > Some(20_000)),
        "{faults:?}"
    );
    let told = |fault: &Fault| (fault.code, fault.retry_after_ms) == (FaultCode::UpstreamFailed, Some(600_000));
    assert!(faults.iter().any(told), "{faults:?}");
    // A claim that was waiting meanwhile would still bring what comes.
    sleep(MAX_WAIT * 2).await;
    setup.publish(20, LONG * 60).await;
    sleep(Duration::from_secs(2)).await;
    let depth = setup.broker.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.claimed), (20, 0));
    let stopped = Instant::now();
    running.drain(LONG).await;
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_in_hand_and_claims_no_more() {
    let mut setup = Setup::new();
    let running = setup.start(&["--terminals", "4"], |job: Job| async move {
        sleep(Duration::from_secs(2)).await;
        echo(job).await
    });
    setup.publish(10, LONG).await;
    sleep(Duration::from_millis(100)).await;
    running.drain(LONG).await;
    assert_eq!(setup.read(4).await.len(), 4);
    let depth = setup.broker.depth().await.unwrap();
    assert_eq!((depth.claimed, depth.waiting), (0, 6));
}

#[tokio::test(start_paused = true)]
async fn what_a_drain_has_no_time_for_goes_to_another_worker_at_once() {
    let mut setup = Setup::new();
    let hanging = setup.start(&["--lease", "60s"], |_| std::future::pending());
    setup.publish(3, LONG).await;
    sleep(Duration::from_millis(100)).await;
    let stopped = Instant::now();
    hanging.drain(Duration::from_secs(1)).await;
    assert!(stopped.elapsed() <= Duration::from_secs(2), "{:?}", stopped.elapsed());
    let heir = Consumer::unique("heir");
    let taken = setup.broker.reclaim(&heir, Duration::from_secs(60), 10).await.unwrap();
    assert_eq!(taken.len(), 3);
    assert_eq!(setup.replies.next().await.unwrap(), []);
}
