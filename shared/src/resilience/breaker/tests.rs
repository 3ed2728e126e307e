//! The breaker, on real time: it is open for a moment where a test waits for its end, and for an hour where it does
//! not.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicUsize;

use failsafe::failure_policy::consecutive_failures;
use futures_util::future::join_all;

use super::*;

const OPEN: Duration = Duration::from_millis(40);
const HOUR: Duration = Duration::from_secs(3600);

fn breaker(failures: u32, probes: usize) -> Breaker {
    breaker_for(OPEN, failures, probes)
}

/// One that opens for so long.
fn breaker_for(open: Duration, failures: u32, probes: usize) -> Breaker {
    Breaker::new("test", consecutive_failures(failures, std::iter::repeat(open)), probes)
}

async fn fail(breaker: &Breaker) -> Result<(), Rejection<&'static str>> {
    breaker.call(|_| Verdict::Failed, async { Err("broken") }).await
}

#[tokio::test]
async fn it_opens_after_the_failures_in_a_row_and_refuses_with_the_remaining_time() {
    let breaker = breaker_for(HOUR, 3, 1);
    for _ in 0..3 {
        assert!(matches!(fail(&breaker).await, Err(Rejection::Failed("broken"))));
    }
    assert_eq!(breaker.state(), State::Open);
    let refused = breaker.call(|_: &()| Verdict::Failed, async { Ok(()) }).await;
    assert!(matches!(refused, Err(Rejection::Open { retry_after }) if retry_after <= HOUR && retry_after > HOUR / 2));
}

#[tokio::test]
async fn errors_that_are_no_failures_do_not_open_it() {
    let breaker = breaker(1, 1);
    for _ in 0..10 {
        let not_found = async { Err::<(), _>("not found") };
        let _ = breaker.call(|_| Verdict::Well, not_found).await;
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn an_error_that_says_nothing_neither_opens_nor_closes_it_and_breaks_no_row() {
    let breaker = breaker(2, 1);
    let nothing = || breaker.call(|_| Verdict::Nothing, async { Err::<(), _>("cancelled") });
    for _ in 0..10 {
        let _ = nothing().await;
    }
    assert_eq!(breaker.state(), State::Closed);
    let _ = fail(&breaker).await;
    let _ = nothing().await;
    let _ = fail(&breaker).await;
    assert_eq!(
        breaker.state(),
        State::Open,
        "two failures in a row, of those that count"
    );
    tokio::time::sleep(OPEN + Duration::from_millis(10)).await;
    for _ in 0..3 {
        assert!(
            matches!(nothing().await, Err(Rejection::Failed(_))),
            "the probe's place is free again"
        );
        assert_eq!(breaker.state(), State::HalfOpen);
    }
    assert!(breaker.call(|()| Verdict::Failed, async { Ok(()) }).await.is_ok());
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn a_failure_that_asks_for_a_pause_opens_it_for_so_long() {
    let (breaker, asked) = (breaker(100, 1), HOUR);
    let _ = breaker
        .call(|_| Verdict::Pause(asked), async { Err::<(), _>("busy") })
        .await;
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.open_for() > asked / 2 && breaker.open_for() <= asked);
}

#[tokio::test]
async fn a_pause_asked_for_while_it_is_open_is_not_the_next_failures() {
    let breaker = breaker(1, 1);
    let long = Duration::from_secs(20);
    let late = breaker.call(|_| Verdict::Pause(long), async {
        let _ = fail(&breaker).await;
        Err::<(), _>("busy")
    });
    let _ = late.await;
    tokio::time::sleep(OPEN + Duration::from_millis(10)).await;
    let _ = fail(&breaker).await;
    assert!(breaker.open_for() <= OPEN, "{:?}", breaker.open_for());
}

#[tokio::test]
async fn half_open_admits_no_more_than_the_probes_and_closes_on_success() {
    let breaker = breaker(1, 2);
    let _ = fail(&breaker).await;
    tokio::time::sleep(OPEN + Duration::from_millis(10)).await;
    // Probes end when all others have been refused.
    let (ran, refused) = (AtomicUsize::new(0), Semaphore::new(0));
    let calls = (0..50).map(|_| async {
        let probe = async {
            ran.fetch_add(1, Ordering::Relaxed);
            refused.acquire_many(48).await.unwrap().forget();
            refused.add_permits(48);
            Ok::<(), ()>(())
        };
        let outcome = breaker.call(|()| Verdict::Failed, probe).await;
        refused.add_permits(usize::from(outcome.is_err()));
    });
    let all = tokio::time::timeout(Duration::from_secs(60), join_all(calls)).await;
    all.expect("48 are refused while the others probe");
    assert_eq!(ran.load(Ordering::Relaxed), 2);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn a_dropped_probe_gives_its_place_back() {
    let breaker = breaker(1, 1);
    let _ = fail(&breaker).await;
    tokio::time::sleep(OPEN + Duration::from_millis(10)).await;
    let forever = breaker.call(|()| Verdict::Failed, std::future::pending::<Result<(), ()>>());
    assert!(tokio::time::timeout(Duration::from_millis(5), forever).await.is_err());
    assert!(breaker.call(|()| Verdict::Failed, async { Ok(()) }).await.is_ok());
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn a_probe_that_ends_well_after_another_has_failed_does_not_close_it() {
    let breaker = Breaker::new("test", consecutive_failures(1, [OPEN, HOUR].into_iter().cycle()), 2);
    let _ = fail(&breaker).await;
    tokio::time::sleep(OPEN + Duration::from_millis(10)).await;
    let late = breaker.call(|()| Verdict::Failed, async {
        let _ = fail(&breaker).await;
        Ok(())
    });
    assert!(late.await.is_ok());
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.open_for() > HOUR / 2, "{:?}", breaker.open_for());
}

#[tokio::test]
async fn a_pause_that_was_asked_for_once_is_not_given_again() {
    let (breaker, asked) = (breaker(100, 1), Duration::from_millis(1500));
    let _ = breaker
        .call(|_| Verdict::Pause(asked), async { Err::<(), _>("busy") })
        .await;
    for round in 0..2 {
        tokio::time::sleep(breaker.open_for() + Duration::from_millis(10)).await;
        assert!(
            matches!(fail(&breaker).await, Err(Rejection::Failed(_))),
            "it is probed"
        );
        assert_eq!(breaker.state(), State::Open);
        let open_for = breaker.open_for();
        assert!(open_for <= FIRST_DELAY, "{open_for:?} after {round} more");
    }
}
