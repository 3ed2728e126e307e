//! Facts about idempotency keys.

use super::dead_letters::given_up;
use super::recording::{accept, kept, key, record, settled};
use super::*;
use crate::broker::{Accepted, CancelOutcome, IdempotencyKey};

/// One key, one request; the same key for something else is refused.
pub async fn a_key_names_one_request(harness: &impl Harness) {
    let (broker, records, requester) = (harness.broker(), harness.records(), requester());
    let (first, second) = (kept(&requester, Keep::WithReply), kept(&requester, Keep::WithReply));
    let other_content = IdempotencyKey {
        fingerprint: [2; 32],
        ..key(1)
    };
    assert!(matches!(
        accept(records.as_ref(), &first, Some(key(1))).await,
        Accepted::As(_)
    ));
    let again = accept(records.as_ref(), &second, Some(key(1))).await;
    assert_eq!(again, Accepted::Known(first.id));
    assert_eq!(
        accept(records.as_ref(), &second, Some(other_content)).await,
        Accepted::Conflict
    );
    assert_eq!(depth(broker.as_ref()).await.waiting, 1, "neither was published");
    assert!(matches!(
        accept(records.as_ref(), &second, Some(key(2))).await,
        Accepted::As(_)
    ));
    assert_eq!(depth(broker.as_ref()).await.waiting, 2);
    let listed = records.list_records(None, None, 10).await.expect("list");
    assert!(
        listed.len() == 2 && listed.iter().all(|record| record.has_key),
        "{listed:?}"
    );
}

/// Nothing was attempted, so the next call is a new one. What was attempted is told by the record and the outcome
/// together: a worker that ran out of time says the same as one that never began.
pub async fn a_key_is_free_again_where_nothing_was_attempted(harness: &impl Harness) {
    let (records, requester) = (harness.records(), requester());
    let cases = [
        (Some(FaultCode::Expired), 0, true),
        (Some(FaultCode::Expired), 1, false),
        (Some(FaultCode::Cancelled), 0, true),
        (Some(FaultCode::Cancelled), 1, false),
        (Some(FaultCode::UpstreamUnavailable), 0, true),
        (Some(FaultCode::UpstreamUnavailable), 1, true),
        (Some(FaultCode::UpstreamUnavailable), 2, false),
        // A worker that knows nothing of records never says that it begins.
        (Some(FaultCode::UpstreamFailed), 0, false),
        (Some(FaultCode::UpstreamTimeout), 1, false),
        (Some(FaultCode::Internal), 1, false),
        (None, 0, false),
    ];
    for (n, (code, attempts, free)) in cases.into_iter().enumerate() {
        let (first, second) = (kept(&requester, Keep::WithReply), kept(&requester, Keep::WithReply));
        let key = key(n as u8);
        accept(records.as_ref(), &first, Some(key)).await;
        if attempts > 0 {
            records.start(first.id, attempts).await.expect("start");
        }
        let outcome = code.map_or(Ok("{}".into()), |code| Err(Fault::new(code, "")));
        let reply = Reply::new(first.id, Origin::default(), outcome);
        assert_eq!(records.complete(&[reply]).await.expect("complete"), 1);
        let ended = record(records.as_ref(), first.id).await;
        let again = accept(records.as_ref(), &second, Some(key)).await;
        let is_free = matches!(again, Accepted::As(_));
        assert_eq!(
            (is_free, ended.has_key),
            (free, !free),
            "{code:?} after {attempts} attempts: {again:?}"
        );
    }
}

/// Its record says it never began, as nobody could tell it otherwise. The worker knows more.
pub async fn a_key_of_work_that_may_have_begun_is_not_freed(harness: &impl Harness) {
    let (broker, records, requester) = (harness.broker(), harness.records(), requester());
    let cases = [
        (FaultCode::Expired, true, false),
        (FaultCode::Cancelled, true, false),
        (FaultCode::Expired, false, true),
        (FaultCode::Cancelled, false, true),
        // Whatever began: the upstream was not asked.
        (FaultCode::UpstreamUnavailable, true, true),
    ];
    for (n, (code, may_have_begun, free)) in cases.into_iter().enumerate() {
        let (first, second) = (kept(&requester, Keep::WithReply), kept(&requester, Keep::Only));
        let key = key(n as u8);
        accept(records.as_ref(), &first, Some(key)).await;
        let delivery = claim(broker.as_ref(), &consumer(), 1).await.remove(0);
        let outcome = Err(Fault::new(code, ""));
        let reply = Reply::new(first.id, Origin::default(), outcome);
        let settlement = Settlement::reply(delivery.receipt, requester.clone(), reply.clone()).keeping(first.keep);
        let settlement = settlement.perhaps_begun(may_have_begun);
        broker.settle(&[settlement]).await.expect("settle");
        let ended = record(records.as_ref(), first.id).await;
        let again = accept(records.as_ref(), &second, Some(key)).await;
        let is_free = matches!(again, Accepted::As(_));
        assert_eq!(
            (is_free, ended.has_key, ended.key_stands_for(&reply.outcome)),
            (free, !free, !free),
            "{code:?}, may have begun: {may_have_begun}"
        );
        if is_free {
            let delivery = claim(broker.as_ref(), &consumer(), 1).await.remove(0);
            broker.settle(&[settled(&delivery)]).await.expect("settle");
        }
    }
}

/// Who ended a request before anybody began it may send it again.
pub async fn a_key_is_free_again_after_a_cancellation_in_the_queue(harness: &impl Harness) {
    let (records, requester) = (harness.records(), requester());
    let (first, second) = (kept(&requester, Keep::Only), kept(&requester, Keep::Only));
    accept(records.as_ref(), &first, Some(key(1))).await;
    assert_eq!(
        records.cancel(first.id, None).await.expect("cancel"),
        CancelOutcome::Cancelled
    );
    let again = accept(records.as_ref(), &second, Some(key(1))).await;
    assert!(matches!(again, Accepted::As(_)), "{again:?}");
}

/// What an operator put back into the queue has been attempted before.
pub async fn a_key_of_work_that_began_once_is_not_freed(harness: &impl Harness) {
    let (broker, records, letters) = (harness.broker(), harness.records(), harness.dead_letters());
    let (first, second) = (kept(&requester(), Keep::Only), kept(&requester(), Keep::Only));
    accept(records.as_ref(), &first, Some(key(1))).await;
    let delivery = claim(broker.as_ref(), &consumer(), 1).await.remove(0);
    records.start(first.id, 1).await.expect("start");
    broker.settle(&[given_up(&delivery)]).await.expect("settle");
    let letter = letters.letters(None, 1).await.expect("list").remove(0);
    letters.replay(letter.id).await.expect("replay");
    assert_eq!(
        records.cancel(first.id, None).await.expect("cancel"),
        CancelOutcome::Cancelled
    );
    let again = accept(records.as_ref(), &second, Some(key(1))).await;
    assert_eq!(again, Accepted::Known(first.id));
}

/// Its own key's time was over, and another call took it.
pub async fn a_key_that_names_another_request_is_not_freed(harness: &impl Harness) {
    let records = harness.records_kept(Retention {
        keys: Duration::from_millis(1),
        ..Retention::default()
    });
    let (long, requester) = (kept(&requester(), Keep::Only), requester());
    let short = Request {
        budget: Budget::new(Duration::from_millis(1)),
        ..kept(&requester, Keep::Only)
    };
    accept(records.as_ref(), &short, Some(key(1))).await;
    sleep(IDLE).await;
    let taken = accept(records.as_ref(), &long, Some(key(1))).await;
    assert!(matches!(taken, Accepted::As(_)), "its time is over: {taken:?}");
    let outcome = Err(Fault::new(FaultCode::UpstreamUnavailable, ""));
    let reply = Reply::new(short.id, Origin::default(), outcome);
    assert_eq!(records.complete(&[reply]).await.expect("complete"), 1);
    let again = accept(records.as_ref(), &kept(&requester, Keep::Only), Some(key(1))).await;
    assert_eq!(again, Accepted::Known(long.id));
}

/// However short the time of keys is: whoever repeats a call while it may still run finds it.
pub async fn a_key_lives_as_long_as_its_requests_budget(harness: &impl Harness) {
    let records = harness.records_kept(Retention {
        keys: Duration::from_millis(1),
        ..Retention::default()
    });
    let (first, second) = (kept(&requester(), Keep::Only), kept(&requester(), Keep::Only));
    accept(records.as_ref(), &first, Some(key(1))).await;
    sleep(IDLE).await;
    let again = accept(records.as_ref(), &second, Some(key(1))).await;
    assert_eq!(again, Accepted::Known(first.id));
}
