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
    let (broker, me) = (harness.broker(), consumer());
    let started = Instant::now();
    broker.publish(&[]).await.expect("publish");
    broker.settle(&[]).await.expect("settle");
    assert_eq!(broker.renew(&me, &[]).await.expect("renew"), 0);
    assert!(broker.claim(&me, 0).await.expect("claim").is_empty());
    assert!(
        broker
            .recover(&me, &HashSet::new(), 0)
            .await
            .expect("recover")
            .is_empty()
    );
    assert!(broker.reclaim(&me, IDLE, 0).await.expect("reclaim").is_empty());
    assert!(started.elapsed() < MAX_WAIT);
    assert_eq!(depth(broker.as_ref()).await, Depth::default());
}

/// What a worker has no permit for stays where another worker can take it.
pub async fn a_claim_takes_no_more_than_it_may(harness: &impl Harness) {
    let (broker, me, other) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 10)).await.expect("publish");
    assert_eq!(claim(broker.as_ref(), &me, 3).await.len(), 3);
    assert_eq!(claim(broker.as_ref(), &other, 7).await.len(), 7);
}

/// Nothing polls: a waiting claim is served as soon as a request arrives.
pub async fn a_claim_waits_for_work_and_takes_it_at_once(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    let _ = broker.claim(&me, 1).await.expect("claim");
    let (waiting, arriving) = (broker.clone(), broker.clone());
    let claimed = async move { (waiting.claim(&me, 8).await.expect("claim"), Instant::now()) };
    let published = async move {
        sleep(Duration::from_millis(100)).await;
        arriving.publish(&requests(&requester(), 1)).await.expect("publish");
        Instant::now()
    };
    let ((deliveries, claimed), published) = tokio::join!(claimed, published);
    assert_eq!(deliveries.len(), 1);
    let late = claimed.saturating_duration_since(published);
    assert!(late < MAX_WAIT / 2, "claimed {late:?} after it was published");
}

/// A worker that waits for work still notices that it should stop.
pub async fn a_claim_without_work_ends_in_bounded_time(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    let _ = broker.claim(&me, 1).await.expect("claim");
    let started = Instant::now();
    assert!(broker.claim(&me, 1).await.expect("claim").is_empty());
    assert!(started.elapsed() < MAX_WAIT * 3, "{:?}", started.elapsed());
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

/// Somebody is there.
pub async fn a_backend_that_is_there_answers_a_ping(harness: &impl Harness) {
    assert!(harness.broker().ping().await.expect("ping") < Duration::from_secs(1));
}
