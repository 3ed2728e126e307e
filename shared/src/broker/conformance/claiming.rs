//! Facts about publishing and claiming.

use super::*;

/// Order is kept, within a batch and between batches, and nothing is changed on the way.
pub async fn a_batch_is_claimed_in_the_order_it_was_published(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    let sent = requests(&requester(), 50);
    broker.publish(&sent[..20]).await.expect("publish");
    broker.publish(&sent[20..]).await.expect("publish");
    let deliveries = claim(broker.as_ref(), &me, 50).await;
    let received: Vec<_> = deliveries.iter().map(|delivery| content(delivery).clone()).collect();
    assert_eq!(received, sent);
    assert!(deliveries.iter().all(|delivery| delivery.attempt == 1));
}

/// Nothing to do is done at once.
pub async fn empty_batches_do_nothing(harness: &impl Harness) {
    let (broker, me, nothing) = (harness.broker(), consumer(), HashSet::new());
    let published = at_once(broker.publish(&[]));
    assert!(published.expect("publish").is_empty());
    at_once(broker.settle(&[])).expect("settle");
    assert_eq!(at_once(broker.renew(&me, &[])).expect("renew"), 0);
    assert!(at_once(broker.claim(&me, 0)).expect("claim").is_empty());
    let recovered = at_once(broker.recover(&me, &nothing, 0));
    assert!(recovered.expect("recover").is_empty());
    let reclaimed = at_once(broker.reclaim(&me, IDLE, 0));
    assert!(reclaimed.expect("reclaim").is_empty());
    assert_eq!(depth(broker.as_ref()).await, Depth::default());
}

/// What is there without waiting for anybody.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("nobody is asked")
}

/// What a worker has no permit for stays where another worker can take it.
pub async fn a_claim_takes_no_more_than_it_may(harness: &impl Harness) {
    let (broker, me, other) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 10)).await.expect("publish");
    assert_eq!(claim(broker.as_ref(), &me, 3).await.len(), 3);
    assert_eq!(claim(broker.as_ref(), &other, 7).await.len(), 7);
}

/// Nothing polls: a waiting claim is served as soon as a request arrives, and not when its wait is over. Seen once is
/// enough: on a machine that is busy with something else the request may come too late for the claim that waits.
pub async fn a_claim_waits_for_work_and_takes_it_at_once(harness: &impl Harness) {
    let (broker, me, deadline) = (harness.broker(), consumer(), Instant::now() + PATIENCE);
    loop {
        while !broker.claim(&me, 8).await.expect("claim").is_empty() {}
        let claiming = async {
            let asked = Instant::now();
            let claimed = broker.claim(&me, 8).await.expect("claim");
            (claimed.len(), asked.elapsed())
        };
        let publishing = async {
            sleep(Duration::from_millis(100)).await;
            broker.publish(&requests(&requester(), 1)).await.expect("publish");
        };
        let ((claimed, took), ()) = tokio::join!(claiming, publishing);
        if claimed > 0 && took < MAX_WAIT {
            return;
        }
        assert!(Instant::now() < deadline, "{claimed} claimed after {took:?}");
    }
}

/// A worker that waits for work still notices that it should stop.
pub async fn a_claim_without_work_ends_in_bounded_time(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    let _ = broker.claim(&me, 1).await.expect("claim");
    let claimed = timeout(PATIENCE, broker.claim(&me, 1)).await;
    assert!(claimed.expect("it ends").expect("claim").is_empty());
}

/// Each request goes to one of many consumers that claim at the same time.
pub async fn two_consumers_never_hold_the_same_delivery(harness: &impl Harness) {
    let broker = harness.broker();
    let sent = requests(&requester(), 200);
    broker.publish(&sent).await.expect("publish");
    let workers = (0..4).map(|_| {
        let broker = broker.clone();
        tokio::spawn(async move {
            let (me, mut mine) = (consumer(), Vec::new());
            loop {
                let batch = broker.claim(&me, 7).await.expect("claim");
                let depth = broker.depth().await.expect("depth");
                if batch.is_empty() && depth.waiting == 0 {
                    return mine;
                }
                mine.extend(batch.iter().map(|delivery| content(delivery).id));
            }
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.expect("the worker ends"));
    }
    assert_eq!(all.len(), sent.len());
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), sent.len());
}

/// What somebody put in by hand harms nobody behind it.
pub async fn a_malformed_entry_is_delivered_as_such(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    harness.put_malformed().await;
    broker.publish(&requests(&requester(), 1)).await.expect("publish");
    let deliveries = claim(broker.as_ref(), &me, 2).await;
    let malformed = deliveries[0].content.as_ref().expect_err("it is no request");
    assert_eq!(malformed.fields[0].0, "garbage");
    assert!(malformed.requester.is_none());
    assert!(deliveries[1].content.is_ok());
    assert_eq!(deliveries[0].deadline(), None);
}

/// Time in the queue counts against the budget, on the broker's clock.
pub async fn waiting_time_and_deadline_are_counted_from_publishing(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    let _ = broker.claim(&me, 1).await.expect("claim");
    let mut short = request(&requester(), "{}");
    short.budget = Budget::new(Duration::from_millis(50));
    broker.publish(&[short]).await.expect("publish");
    sleep(Duration::from_millis(120)).await;
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    assert!(delivery.waited >= Duration::from_millis(110), "{:?}", delivery.waited);
    assert!(delivery.deadline().expect("a request has one") <= Instant::now());
}

/// Waiting and claimed are told apart, and the oldest has an age.
pub async fn depth_counts_what_waits_and_what_is_claimed(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    broker.publish(&requests(&requester(), 5)).await.expect("publish");
    sleep(Duration::from_millis(60)).await;
    let before = broker.depth().await.expect("depth");
    assert_eq!((before.waiting, before.claimed), (5, 0));
    assert!(before.oldest_waiting.expect("five wait") >= Duration::from_millis(50));
    claim(broker.as_ref(), &me, 2).await;
    let after = broker.depth().await.expect("depth");
    assert_eq!((after.waiting, after.claimed), (3, 2));
    claim(broker.as_ref(), &me, 3).await;
    assert_eq!(broker.depth().await.expect("depth").oldest_waiting, None);
}

/// The count goes up by each request that is removed, once, whoever removes it, and by nothing else.
pub async fn depth_counts_what_was_completed(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let completed = async || broker.depth().await.expect("depth").completed;
    broker.publish(&requests(&requester, 5)).await.expect("publish");
    if !harness.counts_completed().await {
        assert_eq!(completed().await, None);
        return;
    }
    let before = completed().await.expect("the backend counts");
    let deliveries = claim(broker.as_ref(), &me, 5).await;
    broker.publish(&requests(&requester, 2)).await.expect("publish");
    assert_eq!(completed().await, Some(before), "nothing is completed by being claimed");
    let settlements: Vec<_> = deliveries[..3].iter().map(echo).collect();
    for _ in 0..2 {
        broker.settle(&settlements).await.expect("settle");
        assert_eq!(completed().await, Some(before + 3));
    }
}

/// Whoever claims is a worker, until it leaves; how many terminals it has is known once it has said so.
pub async fn depth_counts_workers_and_their_terminals(harness: &impl Harness) {
    let broker = harness.broker();
    let (one, other) = (consumer(), consumer());
    let there = async || {
        let depth = broker.depth().await.expect("depth");
        (depth.workers, depth.terminals)
    };
    let before = there().await;
    broker.publish(&requests(&requester(), 2)).await.expect("publish");
    let silent = Duration::from_secs(60);
    let held = claim(broker.as_ref(), &one, 1).await;
    claim(broker.as_ref(), &other, 1).await;
    broker.maintain(&one, 3, silent).await.expect("maintain");
    broker.maintain(&other, 5, silent).await.expect("maintain");
    assert_eq!(there().await, (before.0 + 2, before.1 + 8));
    broker.maintain(&one, 4, silent).await.expect("maintain");
    assert_eq!(there().await, (before.0 + 2, before.1 + 9));
    broker.settle(&[echo(&held[0])]).await.expect("settle");
    broker.deregister(&one).await.expect("deregister");
    assert_eq!(there().await, (before.0 + 1, before.1 + 5));
}

/// What ends without a result counts apart, whoever ends it, with a record and without.
pub async fn depth_counts_what_was_discarded(harness: &impl Harness) {
    let (broker, records, me, requester) = (harness.broker(), harness.records(), consumer(), requester());
    let discarded = async || broker.depth().await.expect("depth").discarded;
    let before = discarded().await;
    let mut sent = requests(&requester, 9);
    sent.iter_mut()
        .skip(6)
        .for_each(|request| request.keep = Keep::WithReply);
    let entries = broker.publish(&sent).await.expect("publish");
    let ends = [
        None,
        Some(FaultCode::Invalid),
        Some(FaultCode::Expired),
        Some(FaultCode::Cancelled),
        Some(FaultCode::UpstreamUnavailable),
        Some(FaultCode::DeadLettered),
        None,
        Some(FaultCode::Expired),
    ];
    let deliveries = claim(broker.as_ref(), &me, ends.len()).await;
    let settle = |(delivery, end): (&Delivery, &Option<FaultCode>)| {
        let mut settlement = echo(delivery).keeping(content(delivery).keep);
        if let (Some(code), Some((_, reply))) = (*end, &mut settlement.reply) {
            reply.outcome = Err(Fault::new(code, "so it ended"));
        }
        settlement.dead_letter = (*end == Some(FaultCode::DeadLettered)).then(|| DeadLetter {
            reason: "it never worked".to_owned(),
            attempts: 5,
            last_error: String::new(),
            fields: Vec::new(),
        });
        settlement
    };
    let settlements: Vec<_> = deliveries.iter().zip(&ends).map(settle).collect();
    broker.settle(&settlements).await.expect("settle");
    assert_eq!(discarded().await - before, 5);
    let cancelled = records.cancel(sent[8].id, Some(entries[8])).await.expect("cancel");
    assert_eq!(cancelled, CancelOutcome::Cancelled);
    assert_eq!(discarded().await - before, 6);
    assert_eq!(depth(broker.as_ref()).await.waiting, 0);
}

/// What a large body takes shows, until its request is settled.
pub async fn depth_says_what_the_requests_take(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let bytes = async || broker.depth().await.expect("depth").bytes;
    let before = bytes().await;
    let large = format!("\"{}\"", "x".repeat(100_000));
    let sent: Vec<_> = (0..10).map(|_| request(&requester, &large)).collect();
    broker.publish(&sent).await.expect("publish");
    let taken = bytes().await - before;
    assert!((1_000_000..2_000_000).contains(&taken), "{taken}");
    let settlements: Vec<_> = claim(broker.as_ref(), &me, 10).await.iter().map(echo).collect();
    assert!(bytes().await - before >= 1_000_000, "what is claimed is still there");
    broker.settle(&settlements).await.expect("settle");
    assert!(bytes().await < before + 100_000);
}

/// Somebody is there, and how long the answer took is how long it took.
pub async fn a_backend_that_is_there_answers_a_ping(harness: &impl Harness) {
    let asked = Instant::now();
    let took = harness.broker().ping().await.expect("ping");
    assert!(took <= asked.elapsed(), "{took:?}");
}

/// A worker that may not work still tells those whose time is nearly over.
pub async fn what_is_about_to_expire_can_be_claimed_alone(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let within = PATIENCE;
    let due = async |within| broker.claim_due(&me, within, 10).await.expect("claim what is due");
    assert!(due(within).await.is_empty());
    let mut sent = requests(&requester, 4);
    for request in &mut sent {
        request.budget = Budget::new(within + Duration::from_millis(300));
    }
    // Behind one that has time: its turn comes with that one's.
    sent[2].budget = Budget::new(within * 60);
    broker.publish(&sent).await.expect("publish");
    assert!(due(within / 60).await.is_empty(), "they have more time than that");
    sleep(Duration::from_millis(400)).await;
    let found = due(within).await;
    let ids: Vec<_> = found.iter().map(|delivery| content(delivery).id).collect();
    assert_eq!(ids, [sent[0].id, sent[1].id]);
    assert!(found.iter().all(|delivery| delivery.attempt == 1));
    assert!(
        found[0].deadline().expect("a request has one") > Instant::now(),
        "there is time to tell"
    );
    let depth = depth(broker.as_ref()).await;
    assert_eq!((depth.claimed, depth.waiting), (2, 2));
    broker
        .settle(&found.iter().map(echo).collect::<Vec<_>>())
        .await
        .expect("settle");
}
