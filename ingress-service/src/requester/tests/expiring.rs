//! What the estimate hears of requests whose time ran out.

use std::time::Duration;

use roundtrip::{Fault, FaultCode};
use tokio::time::sleep;

use super::stage::{Stage, TIMEOUT};

fn expired(stage: &Stage) -> u64 {
    stage.requester.admission.expired()
}

#[tokio::test(start_paused = true)]
async fn work_that_goes_on_after_its_caller_left_has_not_expired() {
    let stage = Stage::new();
    let caller = stage.call(&[("request-timeout", "60")]).await;
    let delivery = stage.claim().await;
    assert!(caller.await.unwrap().is_err());
    stage.settle(delivery, Ok("\"done\"".into())).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(expired(&stage), 0);
}

#[tokio::test(start_paused = true)]
async fn what_expired_counts_once_whoever_says_so() {
    let stage = Stage::new();
    // Nobody claims it in time.
    let caller = stage.call(&[]).await;
    assert!(caller.await.unwrap().is_err());
    assert_eq!(expired(&stage), 1);
    // A worker says it, also to one who waits for less than the answer.
    for headers in [&[][..], &[("prefer", "wait=20")]] {
        let before = expired(&stage);
        let caller = stage.call(headers).await;
        let mut delivery = stage.claim().await;
        while delivery.waited >= TIMEOUT {
            delivery = stage.claim().await;
        }
        stage
            .settle(delivery, Err(Fault::new(FaultCode::Expired, "too late")))
            .await;
        caller.await.unwrap().unwrap();
        assert_eq!(expired(&stage), before + 1, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_promised_a_result_says_nothing_of_its_end() {
    let stage = Stage::new();
    let caller = stage.call(&[("prefer", "wait=5")]).await;
    assert!(caller.await.unwrap().is_ok());
    assert_eq!(expired(&stage), 0);
}
