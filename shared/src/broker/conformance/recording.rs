//! Facts about records.

use super::*;
use crate::broker::{
    Acceptance, Accepted, CancelOutcome, Change, IdempotencyKey, Progress, Record, ResultStore, Started, Status,
};
use crate::message::{Keep, Origin};

pub(super) fn kept(requester: &ReplyTo, keep: Keep) -> Request {
    Request {
        keep,
        ..request(requester, "{\"kept\":true}")
    }
}

pub(super) fn key(name: u8) -> IdempotencyKey {
    IdempotencyKey {
        name: [name; 32],
        fingerprint: [1; 32],
    }
}

pub(super) async fn accept(records: &dyn ResultStore, request: &Request, key: Option<IdempotencyKey>) -> Accepted {
    let request = request.clone();
    let accepted = records.submit(&[Acceptance { request, key }]).await;
    *accepted.expect("submit")[0].as_ref().expect("accepted")
}

pub(super) async fn record(records: &dyn ResultStore, id: CorrelationId) -> Record {
    find(records, id).await.expect("there is a record")
}

pub(super) async fn find(records: &dyn ResultStore, id: CorrelationId) -> Option<Record> {
    records.records(&[id]).await.expect("read").remove(0)
}

pub(super) fn settled(delivery: &Delivery) -> Settlement {
    echo(delivery).keeping(content(delivery).keep)
}

/// Status, times and result, from acceptance to the end; the result comes in the step that acknowledges.
pub async fn a_record_follows_its_request_to_the_end(harness: &impl Harness) {
    let (broker, records, me, requester) = (harness.broker(), harness.records(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    let (asks, told) = (kept(&requester, Keep::Only), kept(&requester, Keep::WithReply));
    assert!(matches!(accept(records.as_ref(), &asks, None).await, Accepted::As(_)));
    assert!(matches!(accept(records.as_ref(), &told, None).await, Accepted::As(_)));
    let queued = record(records.as_ref(), asks.id).await;
    assert_eq!((queued.status, queued.version, queued.attempts), (Status::Queued, 1, 0));
    assert_eq!(
        (queued.started, queued.finished, queued.outcome.clone()),
        (None, None, None)
    );

    let deliveries = claim(broker.as_ref(), &me, 2).await;
    assert_eq!(content(&deliveries[0]), &asks, "what is kept travels along");
    assert_eq!(records.start(asks.id, 1).await.expect("start"), Started::Proceed);
    let progress = Progress::new(40, "asking the upstream");
    records.note_progress(asks.id, &progress).await.expect("note");
    let working = record(records.as_ref(), asks.id).await;
    assert_eq!((working.status, working.attempts), (Status::Processing, 1));
    let (noted, version) = working.progress.clone().expect("there is progress");
    assert_eq!((noted, version), (progress, working.version));
    assert!(working.started.expect("it began").version < version);

    let settlements: Vec<_> = deliveries.iter().map(settled).collect();
    broker.settle(&settlements).await.expect("settle");
    for request in [&asks, &told] {
        let done = record(records.as_ref(), request.id).await;
        assert_eq!(
            (done.status, done.outcome),
            (Status::Succeeded, Some(Ok(request.data.clone())))
        );
        assert_eq!(done.finished.expect("it ended").version, done.version);
        assert!(done.finished.expect("it ended").at >= done.created);
    }
    // Both were settled in one call: what is not there now never comes.
    let mut told_of = read(replies.as_mut(), 1).await;
    told_of.extend(replies.next().await.expect("read"));
    let told_of: Vec<_> = told_of.iter().map(|reply| reply.id).collect();
    assert_eq!(told_of, [told.id], "who asked for no reply gets none");
    // Whoever does not know whether it worked says it again.
    broker.settle(&settlements).await.expect("settle again");
    assert_eq!(record(records.as_ref(), asks.id).await.status, Status::Succeeded);
}

/// The first result stays.
pub async fn a_record_that_has_ended_does_not_change(harness: &impl Harness) {
    let (records, requester) = (harness.records(), requester());
    let request = kept(&requester, Keep::Only);
    accept(records.as_ref(), &request, None).await;
    let reply = |outcome| Reply::new(request.id, Origin::default(), outcome);
    let expired = reply(Err(Fault::new(FaultCode::Expired, "too late")));
    assert_eq!(records.complete(&[expired]).await.expect("complete"), 1);
    assert_eq!(records.complete(&[reply(Ok("{}".into()))]).await.expect("complete"), 0);
    records.store(&[reply(Ok("{}".into()))]).await.expect("store");
    let progress = Progress::new(10, "");
    records.note_progress(request.id, &progress).await.expect("note");
    let ended = record(records.as_ref(), request.id).await;
    assert_eq!((ended.status, ended.progress), (Status::Expired, None));
    assert!(matches!(ended.outcome, Some(Err(fault)) if fault.code == FaultCode::Expired));
    assert_eq!(records.start(request.id, 1).await.expect("start"), Started::Ended);
}

/// What was published without a record gets one where it is.
pub async fn a_record_can_be_made_later(harness: &impl Harness) {
    let (broker, records, me, requester) = (harness.broker(), harness.records(), consumer(), requester());
    let _replies = replies_of(broker.as_ref(), &requester).await;
    let sent = requests(&requester, 2);
    let entries = broker.publish(&sent).await.expect("publish");
    assert_eq!(entries.len(), 2);
    let deliveries = claim(broker.as_ref(), &me, 1).await;
    assert_eq!(deliveries[0].receipt.entry, entries[0]);
    for (request, entry) in sent.iter().zip(&entries) {
        let made = records
            .create_record(request.id, Some(*entry), request.budget, &requester)
            .await;
        made.expect("keep");
    }
    assert_eq!(record(records.as_ref(), sent[0].id).await.status, Status::Processing);
    assert_eq!(record(records.as_ref(), sent[1].id).await.status, Status::Queued);
    let reply = Reply::new(sent[0].id, Origin::default(), Ok("{}".into()));
    assert_eq!(records.complete(&[reply]).await.expect("complete"), 1);
    assert_eq!(record(records.as_ref(), sent[0].id).await.status, Status::Succeeded);
    assert_eq!(find(records.as_ref(), CorrelationId::new()).await, None);
}

/// A requester that was cut off may promise it later.
pub async fn a_result_without_a_record_gets_one(harness: &impl Harness) {
    let (records, requester) = (harness.records(), requester());
    let id = CorrelationId::new();
    let reply = |outcome| Reply::new(id, Origin::default(), outcome);
    records.store(&[reply(Ok("1".into()))]).await.expect("store");
    let stored = record(records.as_ref(), id).await;
    assert_eq!(
        (stored.status, stored.outcome.clone()),
        (Status::Succeeded, Some(Ok("1".into())))
    );
    assert_eq!((stored.attempts, stored.started, stored.version), (1, None, 2));
    records.store(&[reply(Ok("2".into()))]).await.expect("store again");
    let budget = Budget::new(Duration::from_secs(30));
    records.create_record(id, None, budget, &requester).await.expect("keep");
    assert_eq!(record(records.as_ref(), id).await, stored, "the first result stays");
}

/// A requester that leaves, or dies, takes no result along.
pub async fn what_a_requester_did_not_read_becomes_a_result(harness: &impl Harness) {
    let (broker, records, me, requester) = (harness.broker(), harness.records(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    let sent = requests(&requester, 2);
    let entries = broker.publish(&sent).await.expect("publish");
    for (request, entry) in sent.iter().zip(&entries) {
        let made = records
            .create_record(request.id, Some(*entry), request.budget, &requester)
            .await;
        made.expect("keep");
    }
    let deliveries = claim(broker.as_ref(), &me, 2).await;
    broker.settle(&[echo(&deliveries[0])]).await.expect("settle");
    replies.close().await.expect("close");
    broker.settle(&[echo(&deliveries[1])]).await.expect("settle late");
    for request in &sent {
        assert_eq!(record(records.as_ref(), request.id).await.status, Status::Succeeded);
    }
}

/// Newest first, in pages, by status or all.
pub async fn records_are_listed_newest_first_in_pages(harness: &impl Harness) {
    let (records, requester) = (harness.records(), requester());
    let mut newest_first = Vec::new();
    for n in 0..5 {
        let request = kept(&requester, Keep::Only);
        accept(records.as_ref(), &request, None).await;
        newest_first.insert(0, request.id);
        if n == 2 {
            let reply = Reply::new(request.id, Origin::default(), Ok("{}".into()));
            records.complete(&[reply]).await.expect("complete");
        }
    }
    let (mut listed, mut before) = (Vec::new(), None);
    for size in [2, 2, 1, 0] {
        let page = records.list_records(None, before, 2).await.expect("list");
        assert_eq!(page.len(), size);
        before = page.last().map(|record| record.id).or(before);
        listed.extend(page.iter().map(|record| record.id));
    }
    assert_eq!(listed, newest_first);
    let done = records
        .list_records(Some(Status::Succeeded), None, 10)
        .await
        .expect("list");
    assert_eq!(
        done.iter().map(|record| record.id).collect::<Vec<_>>(),
        [newest_first[2]]
    );
    assert_eq!(done[0].outcome, None, "results are not listed");
    assert_eq!(
        records
            .list_records(Some(Status::Queued), None, 10)
            .await
            .expect("list")
            .len(),
        4
    );
    assert_eq!(
        records
            .list_records(Some(Status::Failed), None, 10)
            .await
            .expect("list")
            .len(),
        0
    );
}

/// What nobody has begun never starts, and whoever waits is told.
pub async fn what_waits_can_be_cancelled(harness: &impl Harness) {
    let (broker, records, me, requester) = (harness.broker(), harness.records(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    let request = kept(&requester, Keep::WithReply);
    accept(records.as_ref(), &request, None).await;
    assert_eq!(
        records.cancel(request.id, None).await.expect("cancel"),
        CancelOutcome::Cancelled
    );
    assert_eq!(record(records.as_ref(), request.id).await.status, Status::Cancelled);
    let again = records.cancel(request.id, None).await.expect("cancel again");
    assert_eq!(again, CancelOutcome::AlreadyFinished(Status::Cancelled));
    assert!(broker.claim(&me, 10).await.expect("claim").is_empty());
    let told = read(replies.as_mut(), 1).await.remove(0);
    assert!(matches!(told.outcome, Err(fault) if fault.code == FaultCode::Cancelled));
    let unknown = records.cancel(CorrelationId::new(), None).await.expect("cancel");
    assert_eq!(unknown, CancelOutcome::Unknown);
}

/// What is at work is told, and may still end well.
pub async fn what_is_at_work_is_asked_to_end(harness: &impl Harness) {
    let (broker, records, me, requester) = (harness.broker(), harness.records(), consumer(), requester());
    let _replies = replies_of(broker.as_ref(), &requester).await;
    let request = kept(&requester, Keep::Only);
    accept(records.as_ref(), &request, None).await;
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    records.start(request.id, 1).await.expect("start");
    assert_eq!(
        records.cancel(request.id, None).await.expect("cancel"),
        CancelOutcome::Requested
    );
    assert_eq!(records.cancelling(&[request.id]).await.expect("read"), [request.id]);
    let asked = record(records.as_ref(), request.id).await;
    assert_eq!((asked.status, asked.cancel_requested), (Status::Processing, true));
    // Another worker, after this one died, does not begin again.
    assert_eq!(records.start(request.id, 2).await.expect("start"), Started::Ended);
    broker.settle(&[settled(&delivery)]).await.expect("settle");
    assert_eq!(record(records.as_ref(), request.id).await.status, Status::Succeeded);
    assert!(records.cancelling(&[request.id]).await.expect("read").is_empty());
}

/// Without a record, its place in the stream is enough.
pub async fn what_has_no_record_can_be_cancelled_by_its_place(harness: &impl Harness) {
    let (broker, records, me, requester) = (harness.broker(), harness.records(), consumer(), requester());
    let _replies = replies_of(broker.as_ref(), &requester).await;
    let sent = requests(&requester, 2);
    let entries = broker.publish(&sent).await.expect("publish");
    let working = claim(broker.as_ref(), &me, 1).await.remove(0);
    let cancel = async |n: usize| records.cancel(sent[n].id, Some(entries[n])).await.expect("cancel");
    assert_eq!(cancel(0).await, CancelOutcome::Requested);
    assert_eq!(cancel(1).await, CancelOutcome::Cancelled);
    assert_eq!(records.start(sent[0].id, 2).await.expect("start"), Started::Ended);
    broker.settle(&[echo(&working)]).await.expect("settle");
    assert_eq!(cancel(0).await, CancelOutcome::Unknown);
    assert_eq!(depth(broker.as_ref()).await.waiting, 0);
}

/// Whoever watches is woken by every change.
pub async fn changes_are_told(harness: &impl Harness) {
    let (broker, records, deadline) = (harness.broker(), harness.records(), Instant::now() + PATIENCE);
    let mut changes = records.changes();
    // A subscription that is being made misses something, and says so: then there is more to be told.
    let (mut seen, mut wait) = (Vec::new(), IDLE);
    loop {
        let request = kept(&requester(), Keep::Only);
        accept(records.as_ref(), &request, None).await;
        claim(broker.as_ref(), &consumer(), 1).await;
        records.start(request.id, 1).await.expect("start");
        records.cancel(request.id, None).await.expect("cancel");
        let is_told = |seen: &[Change]| {
            let told = [Change::Record(request.id), Change::Cancel(request.id)];
            told.iter().all(|change| seen.contains(change))
        };
        while let Ok(batch) = timeout(wait, changes.next()).await {
            seen.extend(batch.expect("changes"));
            if is_told(&seen) {
                return;
            }
        }
        assert!(Instant::now() < deadline, "not all is told: {seen:?}");
        wait *= 2;
    }
}

/// A result over the limit is not kept, and says so.
pub async fn a_result_that_is_too_large_is_not_kept(harness: &impl Harness) {
    let (records, requester) = (harness.records(), requester());
    let request = kept(&requester, Keep::Only);
    accept(records.as_ref(), &request, None).await;
    let large = Reply::new(request.id, Origin::default(), Ok(vec![b'1'; 1024 * 1024 + 1].into()));
    records.complete(&[large]).await.expect("complete");
    let ended = record(records.as_ref(), request.id).await;
    assert!(matches!(ended.outcome, Some(Err(fault)) if fault.code == FaultCode::ResultTooLarge));
}

/// Records that are over leave nothing behind.
pub async fn expired_records_are_swept(harness: &impl Harness) {
    let records = harness.records_kept(Retention {
        results: Duration::from_millis(1),
        ..Retention::default()
    });
    let request = kept(&requester(), Keep::Only);
    accept(records.as_ref(), &request, Some(key(9))).await;
    assert_eq!(records.list_records(None, None, 10).await.expect("list").len(), 1);
    let reply = Reply::new(request.id, Origin::default(), Ok("{}".into()));
    assert_eq!(records.complete(&[reply]).await.expect("complete"), 1);
    let deadline = Instant::now() + PATIENCE;
    while find(records.as_ref(), request.id).await.is_some() {
        assert!(Instant::now() < deadline, "it is kept for a millisecond");
        sleep(IDLE).await;
    }
    assert_eq!(records.purge_expired().await.expect("purge_expired").removed, 1);
    assert!(records.list_records(None, None, 10).await.expect("list").is_empty());
    let again = accept(records.as_ref(), &kept(&requester(), Keep::Only), Some(key(9))).await;
    assert!(matches!(again, Accepted::As(_)), "its key is free: {again:?}");
}
