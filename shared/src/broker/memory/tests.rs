//! What is kept, for how long and how much of it. Time stands still unless a test moves it.
#![allow(clippy::unwrap_used)]

mod full;

use bytes::Bytes;
use tokio::time::advance;

use super::*;
use crate::broker::conformance::{FirstQueue as _, FirstRecords as _};
use crate::broker::{BrokerErrorKind, DeadLetter, IdempotencyKey, Status};
use crate::message::{Budget, Fault, FaultCode, Keep, Origin};

const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn broker(memory_limit: usize) -> MemoryBroker {
    MemoryBroker::with(Retention {
        memory_limit,
        ..Retention::default()
    })
}

fn request(size: usize) -> Request {
    Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: ReplyTo::unique("test"),
        budget: Budget::new(HOUR),
        traceparent: None,
        keep: Keep::Only,
        data: vec![b'1'; size].into(),
    }
}

fn key(n: u8) -> Option<IdempotencyKey> {
    Some(IdempotencyKey {
        name: [n; 32],
        fingerprint: [n; 32],
    })
}

async fn accept(broker: &MemoryBroker, key: Option<IdempotencyKey>) -> Result<(CorrelationId, Accepted), BrokerError> {
    let request = request(10);
    let id = request.id;
    let accepted = broker.submit(&[Acceptance { request, key }]).await?.remove(0)?;
    Ok((id, accepted))
}

/// Accepts a request, works on it and gives it this result.
async fn complete(broker: &MemoryBroker, result: usize) -> Result<CorrelationId, BrokerError> {
    let (id, _) = accept(broker, None).await?;
    end(broker, id, result).await;
    Ok(id)
}

/// Takes whatever waits out of the queue, and gives one request a result.
async fn end(broker: &MemoryBroker, id: CorrelationId, result: usize) {
    let outcome = Ok(vec![b'1'; result].into());
    broker
        .complete(&[Reply::new(id, Origin::default(), outcome)])
        .await
        .unwrap();
    settle_all(broker).await;
}

async fn settle_all(broker: &MemoryBroker) {
    let me = Consumer::unique("test");
    let deliveries = broker.store.lock().line(OperationName::first()).claim(&me, usize::MAX);
    let settlements: Vec<_> = deliveries
        .into_iter()
        .map(|delivery| nothing(delivery.receipt))
        .collect();
    broker.settle(&settlements).await.unwrap();
}

fn nothing(receipt: Receipt) -> Settlement {
    Settlement {
        receipt,
        reply: None,
        dead_letter: None,
        keep: Keep::No,
        end_was_asked_for: false,
        may_have_begun: false,
    }
}

async fn find(broker: &MemoryBroker, id: CorrelationId) -> Option<Record> {
    broker.records(&[id]).await.unwrap().remove(0)
}

/// Nothing is left of anything, down to the byte.
fn assert_empty(broker: &MemoryBroker) {
    let state = broker.store.lock();
    state.kept.assert_empty();
    assert!(state.rooms_are_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_and_its_result_last_for_their_time_whatever_else_is_kept() {
    let broker = broker(256 * MIB);
    let (first, _) = accept(&broker, key(1)).await.unwrap();
    end(&broker, first, 10).await;
    for _ in 0..20_000 {
        complete(&broker, 10).await.unwrap();
    }
    advance(DAY - Duration::from_secs(1)).await;
    assert_eq!(accept(&broker, key(1)).await.unwrap().1, Accepted::Known(first));
    assert!(find(&broker, first).await.unwrap().outcome.is_some());
    advance(Duration::from_secs(2)).await;
    assert!(matches!(accept(&broker, key(1)).await.unwrap().1, Accepted::As(_)));
}

#[tokio::test(start_paused = true)]
async fn full_is_refused_and_told_and_what_expires_makes_room() {
    let broker = broker(MIB);
    let (keyed, _) = accept(&broker, key(1)).await.unwrap();
    end(&broker, keyed, 10).await;
    let mut kept = vec![keyed];
    let error = loop {
        match complete(&broker, 3000).await {
            Ok(id) => kept.push(id),
            Err(error) => break error,
        }
        assert!(kept.len() < 1000, "a mebibyte does not hold three");
    };
    assert_eq!(error.kind(), BrokerErrorKind::Full);
    assert!(!error.is_outage() && !error.may_have_applied());
    assert!(kept.len() > 100, "{}", kept.len());
    for id in &kept {
        assert!(
            find(&broker, *id).await.unwrap().outcome.is_some(),
            "nothing was evicted"
        );
    }
    assert_eq!(
        accept(&broker, key(1)).await.unwrap().1,
        Accepted::Known(keyed),
        "what is known needs no room"
    );
    let plain = request(10);
    broker.publish(std::slice::from_ref(&plain)).await.unwrap();
    let kept_later = broker
        .create_record(plain.id, None, plain.budget, &plain.reply_to)
        .await;
    assert_eq!(kept_later.unwrap_err().kind(), BrokerErrorKind::Full);

    advance(DAY).await;
    let id = complete(&broker, 3000).await.expect("what has expired makes room");
    assert!(find(&broker, id).await.is_some());
    advance(DAY).await;
    while broker.purge_expired().await.unwrap().removed > 0 {}
    assert_empty(&broker);
}

#[tokio::test(start_paused = true)]
async fn the_reply_to_a_requester_that_has_no_place_is_kept_for_when_it_is_back() {
    let broker = broker(64 * MIB);
    let request = Request {
        keep: Keep::No,
        ..request(10)
    };
    let (id, reply_to) = (request.id, request.reply_to.clone());
    broker.publish(&[request]).await.unwrap();
    let receipt = broker
        .store
        .lock()
        .line(OperationName::first())
        .claim(&Consumer::unique("test"), 1)
        .remove(0)
        .receipt;
    let outcome = Ok(Bytes::from_static(b"{}"));
    let reply = Reply::new(id, Origin::default(), outcome.clone());
    broker
        .settle(&[Settlement::reply(receipt, reply_to, reply)])
        .await
        .unwrap();
    assert_eq!(find(&broker, id).await.unwrap().outcome, Some(outcome));
}

#[tokio::test(start_paused = true)]
async fn a_result_without_room_is_told_as_such() {
    let broker = broker(4 * MIB);
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        let id = complete(&broker, 900_000).await.unwrap();
        outcomes.push(find(&broker, id).await.unwrap().outcome.unwrap());
    }
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "2.5 MiB are for records");
    let Err(fault) = &outcomes[3] else {
        panic!("there is no room for it");
    };
    assert_eq!(fault.code, FaultCode::ResultTooLarge);
    assert!(fault.detail.contains("MEMORY_LIMIT"), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_in_bytes_until_it_is_settled_or_cancelled() {
    let broker = broker(4 * MIB);
    let fill = async || {
        let mut published = 0;
        while broker.publish(&[request(100_000)]).await.is_ok() {
            published += 1;
            assert!(published < 100, "ten megabytes do not fit");
        }
        published
    };
    assert_eq!(fill().await, 10);
    let batch = [request(10), request(100_000)];
    let error = broker.publish(&batch).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Full);
    assert_eq!(broker.depth().await.unwrap().waiting, 10, "all of a batch or nothing");
    let me = Consumer::unique("test");
    let held = broker.store.lock().line(OperationName::first()).claim(&me, 1).remove(0);
    assert!(
        broker.publish(&[request(100_000)]).await.is_err(),
        "claimed is still there"
    );
    broker.settle(&[nothing(held.receipt)]).await.unwrap();
    let last = request(100_000);
    let entry = broker.publish(std::slice::from_ref(&last)).await.unwrap()[0];
    let cancelled = ResultStore::cancel(&broker, last.id, Some(entry)).await.unwrap();
    assert_eq!(cancelled, CancelOutcome::Cancelled);
    assert_eq!(fill().await, 1);
    settle_all(&broker).await;
    assert_empty(&broker);
    broker
        .publish(&[request(3 * MIB)])
        .await
        .expect("a lone one is taken, however large");
    assert!(broker.publish(&[request(1)]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_gone_before_it_is_swept() {
    let broker = broker(MIB);
    let (waiting, _) = accept(&broker, key(1)).await.unwrap();
    let ended = complete(&broker, 10).await.unwrap();
    advance(DAY + HOUR).await;
    for id in [waiting, ended] {
        assert_eq!(find(&broker, id).await, None);
        assert_eq!(
            ResultStore::cancel(&broker, id, None).await.unwrap(),
            CancelOutcome::Unknown
        );
        assert_eq!(
            broker
                .complete(&[Reply::new(id, Origin::default(), Ok("1".into()))])
                .await
                .unwrap(),
            0
        );
    }
    assert!(broker.list_records(None, None, 10).await.unwrap().is_empty());
    assert!(
        broker
            .list_records(Some(Status::Succeeded), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        broker.purge_expired().await.unwrap().removed,
        2,
        "reading removes nothing"
    );
    assert_empty(&broker);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_letter_has_its_record_for_the_time_of_its_new_budget() {
    let broker = broker(MIB);
    let (id, _) = accept(&broker, key(1)).await.unwrap();
    let me = Consumer::unique("test");
    let receipt = broker
        .store
        .lock()
        .line(OperationName::first())
        .claim(&me, 1)
        .remove(0)
        .receipt;
    let reply = Reply::new(id, Origin::default(), Err(Fault::new(FaultCode::DeadLettered, "")));
    let gone = ReplyTo::unique("gone");
    let settlement = Settlement::dead_letter(receipt, letter(10), Some((gone, reply))).keeping(Keep::Only);
    broker.settle(&[settlement]).await.unwrap();
    advance(DAY - Duration::from_secs(1)).await;
    let letter = broker.letters(None, 1).await.unwrap().remove(0);
    assert!(matches!(broker.replay(letter.id).await.unwrap(), Replayed::As(_)));
    advance(HOUR - Duration::from_secs(1)).await;
    assert_eq!(accept(&broker, key(1)).await.unwrap().1, Accepted::Known(id));
    end(&broker, id, 10).await;
    advance(DAY - Duration::from_secs(1)).await;
    assert_eq!(find(&broker, id).await.unwrap().status, Status::Succeeded);
    advance(HOUR).await;
    broker.purge_expired().await.unwrap();
    assert_empty(&broker);
}

fn letter(size: usize) -> DeadLetter {
    DeadLetter {
        reason: "it never worked".to_owned(),
        attempts: 5,
        last_error: String::new(),
        fields: vec![("data".into(), vec![b'1'; size].into())],
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_bounded_in_bytes_and_the_newest_stay() {
    let broker = broker(8 * MIB);
    let me = Consumer::unique("test");
    for _ in 0..20 {
        broker.publish(&[request(100_000)]).await.unwrap();
        let receipt = broker
            .store
            .lock()
            .line(OperationName::first())
            .claim(&me, 1)
            .remove(0)
            .receipt;
        let settlement = Settlement::dead_letter(receipt, letter(100_000), None);
        broker.settle(&[settlement]).await.unwrap();
    }
    let letters = broker.letters(None, 100).await.unwrap();
    assert_eq!(letters.len(), 5, "a mebibyte holds five of 200 kB");
    for letter in &letters {
        assert!(broker.discard(letter.id).await.unwrap());
    }
    assert_empty(&broker);
}

/// Whatever happens in whatever order, what was taken is given back, and every index agrees.
#[tokio::test(start_paused = true)]
async fn no_order_of_events_leaves_anything_behind() {
    for seed in 0..50 {
        let (broker, mut random) = (broker(MIB), fastrand::Rng::with_seed(seed));
        let mut ids = Vec::new();
        for _ in 0..300 {
            let id = random.choice(&ids).copied().unwrap_or_default();
            match random.u8(..10) {
                0 | 1 => ids.extend(accept(&broker, key(random.u8(..20))).await.map(|(id, _)| id)),
                2 => drop(broker.start(id, 1).await),
                3 => {
                    let outcome = match random.bool() {
                        true => Ok(vec![b'1'; random.usize(..200_000)].into()),
                        false => Err(Fault::new(FaultCode::Expired, "late")),
                    };
                    broker
                        .complete(&[Reply::new(id, Origin::default(), outcome)])
                        .await
                        .unwrap();
                }
                4 => drop(ResultStore::cancel(&broker, id, None).await.unwrap()),
                5 => {
                    let (id, outcome) = (CorrelationId::new(), Ok("1".into()));
                    let _ = broker.store(&[Reply::new(id, Origin::default(), outcome)]).await;
                }
                6 => drop(
                    broker
                        .create_record(CorrelationId::new(), None, Budget::new(HOUR), &ReplyTo::unique("test"))
                        .await,
                ),
                7 => broker.note_progress(id, &Progress::new(1, "so far")).await.unwrap(),
                8 => advance(Duration::from_secs(random.u64(..8000))).await,
                _ => settle_all(&broker).await,
            }
        }
        settle_all(&broker).await;
        advance(2 * DAY).await;
        while broker.purge_expired().await.unwrap().removed > 0 {}
        assert_empty(&broker);
    }
}
