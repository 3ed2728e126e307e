//! The layers together, on paused time.
#![allow(clippy::unwrap_used)]

mod upstream;

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use roundtrip::observe::metrics::Metrics;
use roundtrip::resilience::breaker::State;
use roundtrip::{Budget, CorrelationId, Keep, Origin, ReplyTo, Request};
use tokio::time::{Instant, sleep};

use super::*;
use crate::failure::Failure;
use crate::handler::{Handler as _, Job};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const CANCEL_GRACE: Duration = Duration::from_millis(100);

struct Stack {
    handler: BoxHandler,
    calls: Arc<AtomicU32>,
    upstream: Arc<Breaker>,
    metrics: WorkerMetrics,
}

/// A stack around a handler that is told which call this is, from 1.
fn stack<F>(answer: impl Fn(u32) -> F + Clone + Send + Sync + 'static) -> Stack
where
    F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
{
    stack_with(upstream_breaker("test"), ATTEMPT_TIMEOUT, answer)
}

fn stack_with<F>(
    breaker: Breaker,
    attempt_timeout: Duration,
    answer: impl Fn(u32) -> F + Clone + Send + Sync + 'static,
) -> Stack
where
    F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
{
    let (calls, upstream) = (Arc::new(AtomicU32::new(0)), Arc::new(breaker));
    let metrics = WorkerMetrics::new(&Metrics::new());
    let counted = calls.clone();
    let handler = Arc::new(move |_: Job| answer(counted.fetch_add(1, Ordering::Relaxed) + 1));
    let options = StackOptions {
        attempts: 3,
        attempt_timeout,
        cancel_grace: CANCEL_GRACE,
    };
    Stack {
        handler: around(handler, options, upstream.clone(), metrics.clone()),
        calls,
        upstream,
        metrics,
    }
}

impl Stack {
    async fn run(&self, job: Job) -> Result<Bytes, Failure> {
        self.handler.handle(job).await
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

fn job(budget: Duration) -> Job {
    let request = Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: ReplyTo::unique("test"),
        budget: Budget::new(budget),
        traceparent: None,
        keep: Keep::No,
        data: Bytes::new(),
    };
    Job::new(request, Instant::now() + budget)
}

const LONG: Duration = Duration::from_secs(60);

fn broken() -> Failure {
    Failure::Upstream {
        detail: "broken".to_owned(),
    }
}

fn done() -> Result<Bytes, Failure> {
    Ok(Bytes::from_static(b"done"))
}

#[tokio::test(start_paused = true)]
async fn a_passing_failure_is_tried_again() {
    let stack = stack(|call| async move { if call < 3 { Err(broken()) } else { done() } });
    assert_eq!(stack.run(job(LONG)).await, done());
    assert_eq!((stack.calls(), stack.metrics.retries.get()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn three_attempts_are_all() {
    let stack = stack(|_| async { Err(broken()) });
    assert_eq!(stack.run(job(LONG)).await, Err(broken()));
    assert_eq!(stack.calls(), 3);
    assert_eq!(stack.metrics.failed.with_label_values(&["upstream_failed"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_request_gets_one_attempt() {
    let stack = stack(|_| async { Err(broken()) });
    let redelivered = Job {
        delivery: 2,
        ..job(LONG)
    };
    assert_eq!(stack.run(redelivered).await, Err(broken()));
    assert_eq!(stack.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_attempt_can_help_is_not_tried_again() {
    let missing = Failure::NotFound {
        detail: "no such place".to_owned(),
    };
    let answer = missing.clone();
    let stack = stack(move |_| std::future::ready(Err(answer.clone())));
    assert_eq!(stack.run(job(LONG)).await, Err(missing));
    assert_eq!(stack.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_request_is_never_handled() {
    let stack = stack(|_| async { done() });
    assert_eq!(stack.run(job(Duration::ZERO)).await, Err(Failure::DeadlineExceeded));
    assert_eq!(stack.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn work_ends_at_the_deadline_whatever_the_attempts_do() {
    let stack = stack(|_| async {
        sleep(Duration::from_millis(900)).await;
        Err(broken())
    });
    let (started, budget) = (Instant::now(), Duration::from_millis(1500));
    let outcome = stack.run(job(budget)).await;
    assert!(outcome.is_err());
    assert!(
        started.elapsed() <= budget + Duration::from_millis(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_before_the_deadline_so_that_its_caller_hears_of_it() {
    let stack = stack(|_| std::future::pending());
    let budget = ATTEMPT_TIMEOUT / 2;
    let started = Instant::now();
    assert_eq!(stack.run(job(budget)).await, Err(Failure::DeadlineExceeded));
    assert!(started.elapsed() < budget, "{:?}", started.elapsed());
    assert!(started.elapsed() > budget * 8 / 10, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn work_ends_so_long_before_its_deadline_that_the_answer_is_in_time() {
    let (hanging, quick) = (
        stack_with(never(), LONG, |_| std::future::pending()),
        stack(|_| async { done() }),
    );
    for (budget, left, margin) in [
        (30_000, 30_000, 100),
        (30_000, 150, 75),
        (30_000, 4, 2),
        (1000, 1000, 100),
        (1000, 900, 100),
        (200, 200, 20),
        (10, 10, 1),
    ] {
        let (budget, left) = (Duration::from_millis(budget), Duration::from_millis(left));
        let late = || Job {
            deadline: Instant::now() + left,
            ..job(budget)
        };
        let started = Instant::now();
        assert!(hanging.run(late()).await.is_err());
        let spare = left.saturating_sub(started.elapsed());
        let margin = Duration::from_millis(margin);
        // Timers tick in milliseconds.
        assert!(
            spare + Duration::from_millis(1) >= margin && spare <= margin.max(left / 2),
            "{left:?} of {budget:?}: {spare:?}"
        );
        assert_eq!(quick.run(late()).await, done(), "{left:?} of {budget:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_that_has_no_fair_time_left() {
    let budget = Duration::from_secs(1);
    for _ in 0..50 {
        let stack = stack(|_| async {
            sleep(Duration::from_millis(830)).await;
            Err(broken())
        });
        let started = Instant::now();
        assert_eq!(stack.run(job(budget)).await, Err(broken()));
        assert_eq!(stack.calls(), 1);
        assert!(
            started.elapsed() < Duration::from_millis(840),
            "{:?}",
            started.elapsed()
        );
    }
}

/// A breaker that never opens.
fn never() -> Breaker {
    Breaker::new("test", consecutive_failures(u32::MAX, std::iter::repeat(LONG)), PROBES)
}

#[tokio::test(start_paused = true)]
async fn a_hanging_attempt_is_ended_and_another_made() {
    let stack = stack(|call| async move {
        if call == 1 {
            std::future::pending::<()>().await;
        }
        done()
    });
    let started = Instant::now();
    assert_eq!(stack.run(job(LONG)).await, done());
    assert!(started.elapsed() >= ATTEMPT_TIMEOUT && started.elapsed() < ATTEMPT_TIMEOUT * 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_answer() {
    let stack = stack(|_| async { panic!("a mistake in the handler") });
    let message = "a mistake in the handler".to_owned();
    assert_eq!(stack.run(job(LONG)).await, Err(Failure::Panicked { message }));
    let early = super::tests::stack(|_| -> std::future::Ready<Result<Bytes, Failure>> { panic!("before any future") });
    let message = "before any future".to_owned();
    assert_eq!(early.run(job(LONG)).await, Err(Failure::Panicked { message }));
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_own_retry_after_is_honoured() {
    let asked = Duration::from_secs(2);
    let throttled = Failure::Throttled {
        retry_after: Some(asked),
    };
    let answer = throttled.clone();
    let stack = stack(move |call| std::future::ready(if call == 1 { Err(answer.clone()) } else { done() }));
    let started = Instant::now();
    assert_eq!(stack.run(job(LONG)).await, done());
    assert!(started.elapsed() >= asked);
    // Where it does not fit the time that is left, waiting would be for nothing.
    let stack = super::tests::stack(move |_| std::future::ready(Err(throttled.clone())));
    let started = Instant::now();
    assert!(stack.run(job(Duration::from_secs(2))).await.is_err());
    assert_eq!((stack.calls(), started.elapsed()), (1, Duration::ZERO));
    assert_eq!(
        stack.upstream.state(),
        State::Closed,
        "a short pause is no reason to pause claims"
    );
}

#[tokio::test(start_paused = true)]
async fn retries_stay_within_their_share_of_the_traffic() {
    // Without the breaker, which would end the attempts long before.
    let metrics = WorkerMetrics::new(&Metrics::new());
    let always_broken = Arc::new(|_: Job| std::future::ready(Err(broken())));
    let retry = Retry::new(always_broken, 3, metrics.clone());
    let (requests, started) = (1000, Instant::now());
    for _ in 0..requests {
        let _ = retry.handle(job(LONG)).await;
    }
    // A fifth of the traffic, and ten for each second of the test's own time, give or take its windows; without
    // a budget it would be twice the traffic.
    let retries = metrics.retries.get();
    let allowed = requests / 5 + 10 * (started.elapsed().as_secs() + 31);
    assert!(
        retries <= allowed && allowed < requests,
        "{retries} retries, {allowed} allowed"
    );
}

#[tokio::test(start_paused = true)]
async fn work_that_somebody_ended_has_a_grace_and_no_other_attempt() {
    let stack = stack(|_| async {
        sleep(Duration::from_millis(900)).await;
        Err(broken())
    });
    let (job, started) = (job(LONG), Instant::now());
    let cancelled = job.cancelled.clone();
    let (outcome, ()) = tokio::join!(stack.run(job), async {
        sleep(Duration::from_millis(300)).await;
        cancelled.cancel();
    });
    assert_eq!(outcome, Err(Failure::Cancelled));
    assert_eq!(
        (started.elapsed(), stack.calls()),
        (Duration::from_millis(300) + CANCEL_GRACE, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_ends_within_the_grace_has_its_result() {
    let stack = stack(|_| async {
        sleep(Duration::from_millis(390)).await;
        Ok(Bytes::from_static(b"{}"))
    });
    let job = job(LONG);
    let cancelled = job.cancelled.clone();
    let (outcome, ()) = tokio::join!(stack.run(job), async {
        sleep(Duration::from_millis(300)).await;
        cancelled.cancel();
    });
    assert_eq!(outcome.unwrap(), "{}");
}
