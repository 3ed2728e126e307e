//! Callers whose Idempotency-Key names a request that another call made.

use std::time::Duration;

use roundtrip::http::problem::ProblemType;
use tokio::time::sleep;

use super::stage::{Calling, MAX_FOLLOWERS, MAX_IN_FLIGHT, Stage, is_done};
use crate::requester::Answer;

const KEY: (&str, &str) = ("idempotency-key", "order-1");
const MOMENT: Duration = Duration::from_millis(10);

/// One after the other: each has been told that its key is known before the next comes.
async fn follow(stage: &Stage, count: usize) -> Vec<Calling> {
    let mut followers = Vec::with_capacity(count);
    for _ in 0..count {
        followers.push(stage.call(&[KEY]).await);
        sleep(MOMENT).await;
    }
    followers
}

#[tokio::test(start_paused = true)]
async fn followers_leave_the_places_of_those_in_flight_to_others() {
    let stage = Stage::new();
    let first = stage.call(&[KEY]).await;
    let delivery = stage.claim().await;
    let followers = follow(&stage, MAX_IN_FLIGHT as usize + 1).await;
    assert_eq!(stage.requester.pending.len(), 1);
    let other = stage.call(&[]).await;
    sleep(MOMENT).await;
    assert!(!other.is_finished(), "{:?}", other.await.unwrap());
    let other_delivery = stage.claim().await;
    for delivery in [delivery, other_delivery] {
        stage.settle(delivery, Ok("\"done\"".into())).await;
    }
    for caller in followers.into_iter().chain([first, other]) {
        let answer = caller.await.unwrap();
        assert!(is_done(&answer), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn followers_add_nothing_to_the_queue() {
    let stage = Stage::new();
    let _first = stage.call(&[KEY]).await;
    let _delivery = stage.claim().await;
    let _followers = follow(&stage, 3).await;
    assert_eq!(stage.requester.admission.let_in(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_to_follow_is_sent_away_or_promised_and_told_where_the_request_is() {
    let stage = Stage::new();
    let first = stage.call(&[KEY]).await;
    let delivery = stage.claim().await;
    let id = delivery.content.as_ref().unwrap().id;
    let followers = follow(&stage, MAX_FOLLOWERS as usize).await;

    let refused = stage.call(&[KEY]).await.await.unwrap();
    let problem = refused.unwrap_err();
    assert_eq!(problem.kind(), ProblemType::Overloaded);
    let shown = format!("{problem:?}");
    assert!(
        shown.contains(&format!("Some({id:?})")) && shown.contains("has_location: true"),
        "{shown}"
    );
    assert!(!shown.contains("retry_after: None"), "{shown}");
    let refusals = &stage.requester.metrics.refused;
    assert_eq!(refusals.with_label_values(&["followers"]).get(), 1);
    let promised = stage.call(&[KEY, ("prefer", "wait=20")]).await;
    sleep(MOMENT).await;
    assert!(promised.is_finished());
    let promised = promised.await.unwrap();
    assert!(
        matches!(promised, Ok(Answer::Promised { id: other, .. }) if other == id),
        "{promised:?}"
    );

    // Who has to wait for nothing needs no place.
    let other = stage.call(&[("idempotency-key", "order-2")]).await;
    let other_delivery = stage.claim().await;
    stage.settle(other_delivery, Ok("\"done\"".into())).await;
    assert!(is_done(&other.await.unwrap()));
    let again = stage.call(&[("idempotency-key", "order-2")]).await.await.unwrap();
    assert!(is_done(&again), "{again:?}");

    stage.settle(delivery, Ok("\"done\"".into())).await;
    for caller in followers.into_iter().chain([first]) {
        let answer = caller.await.unwrap();
        assert!(is_done(&answer), "{answer:?}");
    }
    assert_eq!(stage.requester.transport.metrics.followers.get(), 0);
}
