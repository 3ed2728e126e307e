//! What is promised, and what becomes of it.

use roundtrip::Origin;
use roundtrip::broker::conformance::FirstRecords as _;
use std::time::Duration;

use axum::response::IntoResponse;
use roundtrip::broker::Status;
use roundtrip::http::problem::ProblemType;
use roundtrip::{Budget, CorrelationId, Fault, FaultCode, Keep, Reply};
use tokio::time::{Instant, sleep};

use super::stage::{Stage, TIMEOUT, is_done};
use crate::pending::Outcome;
use crate::requester::Answer;

#[tokio::test(start_paused = true)]
async fn a_request_that_is_published_late_is_promised_then() {
    let stage = Stage::held();
    let call = stage.call(&[("prefer", "wait=1")]).await;
    sleep(Duration::from_millis(1500)).await;
    assert!(!call.is_finished(), "nothing is promised that nobody has");
    stage.publish();
    let Ok(Answer::Promised { id, record, .. }) = call.await.unwrap() else {
        panic!("it is in the stream")
    };
    assert_eq!(record.unwrap().status, Status::Queued);
    assert_eq!(stage.claim().await.content.unwrap().id, id);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_published_in_time_is_refused_and_never_runs() {
    for headers in [&[("prefer", "wait=1")][..], &[]] {
        let (stage, began) = (Stage::held(), Instant::now());
        let problem = stage.call(headers).await.await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), ProblemType::BrokerUnavailable);
        assert!(began.elapsed() <= TIMEOUT + Duration::from_secs(3));
        stage.publish();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(stage.waiting().await, 0);
        let records = stage.requester.records.list_records(None, None, 10).await.unwrap();
        assert!(records.is_empty(), "{records:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_being_sent_when_its_wait_ends_may_run_and_its_caller_is_told_so() {
    for headers in [&[("prefer", "wait=1")][..], &[]] {
        let (stage, began) = (Stage::held(), Instant::now());
        let call = stage.call(headers).await;
        stage.send().await;
        let problem = call.await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), ProblemType::OutcomeUnknown);
        assert!(began.elapsed() <= TIMEOUT + Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_promises_only_what_is_published() {
    let stage = Stage::held();
    let calls = [
        stage.call(&[("prefer", "wait=60")]).await,
        stage.call(&[("prefer", "wait=60")]).await,
    ];
    sleep(Duration::from_millis(100)).await;
    stage.requester.draining.cancel();
    sleep(Duration::from_millis(300)).await;
    assert!(calls.iter().all(|call| !call.is_finished()));
    stage.publish();
    for call in calls {
        assert!(matches!(
            call.await.unwrap(),
            Ok(Answer::Promised { record: Some(_), .. })
        ));
    }
    assert_eq!(stage.waiting().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_adopted_is_the_answer_at_the_end_of_the_wait() {
    let stage = Stage::new();
    let call = stage.call(&[]).await;
    let delivery = stage.claim().await;
    // Another instance took this one for dead, and has kept its reply.
    let id = delivery.content.unwrap().id;
    let outcome = Ok("\"done\"".into());
    stage
        .requester
        .records
        .store(&[Reply::new(id, Origin::default(), outcome)])
        .await
        .unwrap();
    assert!(is_done(&call.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_after_its_caller_has_left_becomes_its_result() {
    let stage = Stage::new();
    let call = stage.call(&[]).await;
    let delivery = stage.claim().await;
    let id = delivery.content.as_ref().unwrap().id;
    let problem = call.await.unwrap().unwrap_err();
    assert_eq!(problem.kind(), ProblemType::ReplyTimeout);
    assert!(problem.into_response().headers().contains_key("location"));
    stage.settle(delivery, Ok("\"done\"".into())).await;
    sleep(Duration::from_millis(100)).await;
    let record = stage.requester.records.records(&[id]).await.unwrap().remove(0).unwrap();
    assert_eq!(record.status, Status::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn who_hears_that_the_time_ran_out_can_ask_again() {
    for headers in [&[][..], &[("idempotency-key", "one")]] {
        let stage = Stage::new();
        let call = stage.call(headers).await;
        let delivery = stage.claim().await;
        let expired = Fault::new(FaultCode::Expired, "the budget ran out");
        stage.settle(delivery, Err(expired)).await;
        let answer = call.await.unwrap();
        let Ok(Answer::Done { id, has_record, .. }) = answer else {
            panic!("{answer:?}")
        };
        assert!(has_record);
        let record = stage.requester.records.records(&[id]).await.unwrap().remove(0).unwrap();
        assert_eq!(record.status, Status::Expired);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_sent_to_a_record_that_found_no_room() {
    let stage = Stage::new();
    let (records, me) = (&stage.requester.records, &stage.requester.reply_to);
    let budget = Budget::new(TIMEOUT);
    while records
        .create_record(CorrelationId::new(), None, budget, me)
        .await
        .is_ok()
    {}
    let call = stage.call(&[]).await;
    let delivery = stage.claim().await;
    let expired = Fault::new(FaultCode::Expired, "the budget ran out");
    stage.settle(delivery, Err(expired)).await;
    let answer = call.await.unwrap();
    assert!(
        matches!(answer, Ok(Answer::Done { has_record: false, .. })),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_cannot_be_written_at_once_is_written_a_moment_later() {
    for headers in [&[][..], &[("prefer", "wait=30")]] {
        let stage = Stage::new();
        let (records, me) = (&stage.requester.records, &stage.requester.reply_to);
        let mut kept = Vec::new();
        loop {
            let id = CorrelationId::new();
            if records.create_record(id, None, Budget::new(TIMEOUT), me).await.is_err() {
                break;
            }
            kept.push(id);
        }
        let call = stage.call(headers).await;
        let delivery = stage.claim().await;
        sleep(TIMEOUT + Duration::from_millis(800)).await;
        assert!(!call.is_finished(), "nothing is promised that is not written");
        // What had room for a large result gives it back.
        let ended = kept
            .iter()
            .take(4)
            .map(|id| Reply::new(*id, Origin::default(), Ok("{}".into())));
        records.complete(&ended.collect::<Vec<_>>()).await.unwrap();
        match call.await.unwrap() {
            Ok(answer) => assert!(matches!(answer, Answer::Promised { .. }), "{answer:?}"),
            Err(problem) => assert!(problem.into_response().headers().contains_key("location")),
        }
        drop(delivery);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_while_its_promise_cannot_be_written_is_the_answer() {
    let stage = Stage::new();
    let (records, me) = (&stage.requester.records, &stage.requester.reply_to);
    while records
        .create_record(CorrelationId::new(), None, Budget::new(TIMEOUT), me)
        .await
        .is_ok()
    {}
    let call = stage.call(&[]).await;
    let delivery = stage.claim().await;
    sleep(TIMEOUT + Duration::from_millis(800)).await;
    stage.settle(delivery, Ok("\"done\"".into())).await;
    assert!(is_done(&call.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_knows_nothing_of_records_ends_them_all_the_same() {
    let (stage, key) = (Stage::new(), [("idempotency-key", "order-1")]);
    let call = stage.call(&key).await;
    let mut delivery = stage.claim().await;
    delivery.content.as_mut().unwrap().keep = Keep::No;
    stage.settle(delivery, Ok("\"done\"".into())).await;
    assert!(is_done(&call.await.unwrap()));
    let again = stage.call(&key).await.await.unwrap();
    assert!(is_done(&again));
    assert!(matches!(again, Ok(Answer::Done { replayed: true, .. })));
}

#[tokio::test(start_paused = true)]
async fn who_still_waits_at_the_end_of_a_drain_is_told_where_to_ask() {
    let stage = Stage::new();
    let key = [("idempotency-key", "one")];
    let calls = [stage.call(&[]).await, stage.call(&key).await];
    sleep(Duration::from_millis(100)).await;
    let follower = stage.call(&key).await;
    stage.requester.draining.cancel();
    sleep(Duration::from_secs(5)).await;
    assert!(calls.iter().all(|call| !call.is_finished()) && !follower.is_finished());
    stage.requester.last_call.cancel();
    stage.requester.pending.last_call();
    for call in calls.into_iter().chain([follower]) {
        let problem = call.await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), ProblemType::ReplyTimeout);
        assert!(problem.into_response().headers().contains_key("location"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_meets_a_hang_up_is_the_result_of_its_record() {
    let stage = Stage::new();
    let call = stage.call(&[("idempotency-key", "order-1")]).await;
    let mut delivery = stage.claim().await;
    let id = delivery.content.as_ref().unwrap().id;
    // A worker that tells no record; its reply is handed over, and its caller never looks.
    delivery.content.as_mut().unwrap().keep = Keep::No;
    let outcome = Outcome::Replied(Ok("\"done\"".into()));
    assert!(stage.requester.pending.complete(id, outcome).is_none());
    call.abort();
    sleep(Duration::from_millis(100)).await;
    let record = stage.requester.records.records(&[id]).await.unwrap().remove(0).unwrap();
    assert_eq!(record.status, Status::Succeeded);
}
