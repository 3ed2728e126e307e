//! Callers of an instance that is about to leave.

use std::time::Duration;

use tokio::time::sleep;

use super::stage::{Stage, is_done};
use crate::requester::Answer;

const KEY: (&str, &str) = ("idempotency-key", "order-1");

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_answer_goes_on_waiting_also_behind_a_known_key() {
    let stage = Stage::new();
    let first = stage.call(&[KEY]).await;
    let delivery = stage.claim().await;
    let follower = stage.call(&[KEY]).await;
    sleep(Duration::from_secs(1)).await;
    stage.requester.draining.cancel();
    sleep(Duration::from_secs(4)).await;
    assert!(!first.is_finished());
    assert!(!follower.is_finished(), "{:?}", follower.await.unwrap());
    stage.settle(delivery, Ok("\"done\"".into())).await;
    for caller in [first, follower] {
        let answer = caller.await.unwrap();
        assert!(is_done(&answer), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_content_with_a_promise_gets_it_at_once_also_behind_a_known_key() {
    let stage = Stage::new();
    let wait = ("prefer", "wait=20");
    let first = stage.call(&[KEY, wait]).await;
    let _delivery = stage.claim().await;
    let follower = stage.call(&[KEY, wait]).await;
    sleep(Duration::from_secs(1)).await;
    assert!(!first.is_finished() && !follower.is_finished());
    stage.requester.draining.cancel();
    sleep(Duration::from_secs(1)).await;
    for caller in [first, follower] {
        assert!(caller.is_finished());
        let answer = caller.await.unwrap();
        assert!(matches!(answer, Ok(Answer::Promised { .. })), "{answer:?}");
    }
}
