//! One suite that every backend passes. Each fact is a function; [`broker_conformance!`] makes them tests.
//!
//! [`broker_conformance!`]: crate::broker_conformance

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{Broker, Consumer, DeadLetter, Delivery, Depth, MAX_WAIT, ReplyStream, Settlement};
use crate::message::{Budget, CorrelationId, Fault, FaultCode, Reply, ReplyTo, Request};

/// A backend under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The broker.
    fn broker(&self) -> Arc<dyn Broker>;
    /// Breaks every connection there is; nothing, where there is none.
    async fn cut(&self);
    /// Puts an entry into the request stream that is no request: it has one field, `garbage`.
    async fn put_malformed(&self);
}

/// Makes each fact of the suite a test. `$harness` is an async expression for a fresh [`Harness`].
#[macro_export]
macro_rules! broker_conformance {
    ($harness:expr) => {
        $crate::broker_conformance!(
            $harness;
            a_batch_is_claimed_in_the_order_it_was_published,
            empty_batches_do_nothing,
            a_claim_takes_no_more_than_it_may,
            a_claim_waits_for_work_and_takes_it_at_once,
            a_claim_without_work_ends_in_bounded_time,
            two_consumers_never_hold_the_same_delivery,
            a_dead_consumers_work_is_reclaimed_as_another_attempt,
            a_renewed_lease_is_not_reclaimed,
            a_lease_lost_to_another_is_not_renewed,
            what_a_leaving_consumer_holds_can_be_reclaimed_at_once,
            a_delivery_that_got_lost_on_the_way_is_recovered,
            settling_makes_the_reply_readable_and_removes_the_request,
            settling_again_changes_nothing,
            a_worker_that_lost_its_lease_settles_nothing,
            a_fault_reaches_its_requester,
            a_dead_letter_is_kept_and_its_requester_told,
            a_malformed_entry_is_delivered_as_such,
            replies_of_two_requesters_never_mix,
            replies_go_on_after_the_connection_broke,
            reading_replies_without_any_ends_in_bounded_time,
            waiting_time_and_deadline_are_counted_from_publishing,
            depth_counts_what_waits_and_what_is_claimed,
            a_backend_that_is_there_answers_a_ping,
        );
    };
    ($harness:expr; $($fact:ident,)+) => {
        $(
            #[tokio::test]
            async fn $fact() {
                let harness = $harness.await;
                $crate::broker::conformance::$fact(&harness).await;
            }
        )+
    };
}

/// An idle time that any pause in a test exceeds.
const IDLE: Duration = Duration::from_millis(40);

fn request(reply_to: &ReplyTo, data: &str) -> Request {
    Request {
        id: CorrelationId::new(),
        reply_to: reply_to.clone(),
        budget: Budget::new(Duration::from_secs(30)),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        data: data.to_owned().into(),
    }
}

fn requests(reply_to: &ReplyTo, count: usize) -> Vec<Request> {
    (0..count)
        .map(|n| request(reply_to, &format!("{{\"n\":{n}}}")))
        .collect()
}

fn requester() -> ReplyTo {
    ReplyTo::unique("requester")
}

fn consumer() -> Consumer {
    Consumer::unique("consumer")
}

fn content(delivery: &Delivery) -> &Request {
    delivery.content.as_ref().expect("the entry is a request")
}

/// Answers a delivery with its own data.
fn echo(delivery: &Delivery) -> Settlement {
    let request = content(delivery);
    let reply = Reply {
        id: request.id,
        outcome: Ok(request.data.clone()),
    };
    Settlement::reply(delivery.receipt.clone(), request.reply_to.clone(), reply)
}

/// Claims until `count` deliveries are there.
async fn claim(broker: &dyn Broker, consumer: &Consumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while deliveries.len() < count && Instant::now() < deadline {
        // The first claim on a new store may find no group; it makes one and comes back empty.
        deliveries.extend(
            broker
                .claim(consumer, count - deliveries.len())
                .await
                .expect("the broker answers"),
        );
    }
    assert_eq!(deliveries.len(), count, "all that was published is delivered");
    deliveries
}

async fn reclaim(broker: &dyn Broker, consumer: &Consumer, idle: Duration, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while deliveries.len() < count && Instant::now() < deadline {
        deliveries.extend(broker.reclaim(consumer, idle, count).await.expect("the broker answers"));
        sleep(Duration::from_millis(5)).await;
    }
    deliveries
}

/// Reads until `count` replies are there, calling again after errors.
async fn read(replies: &mut dyn ReplyStream, count: usize) -> Vec<Reply> {
    let mut all = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while all.len() < count && Instant::now() < deadline {
        match replies.next().await {
            Ok(batch) => all.extend(batch),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
    all
}

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
    assert_eq!(broker.depth().await.expect("depth"), Depth::default());
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

/// A crash repeats work, as a counted attempt, instead of losing it.
pub async fn a_dead_consumers_work_is_reclaimed_as_another_attempt(harness: &impl Harness) {
    let (broker, dead, heir) = (harness.broker(), consumer(), consumer());
    let sent = requests(&requester(), 3);
    broker.publish(&sent).await.expect("publish");
    claim(broker.as_ref(), &dead, 3).await;
    let early = broker
        .reclaim(&heir, Duration::from_secs(60), 10)
        .await
        .expect("reclaim");
    assert!(early.is_empty(), "the lease is not over");
    sleep(IDLE).await;
    for attempt in 2..4 {
        let mut taken = reclaim(broker.as_ref(), &heir, IDLE, 3).await;
        taken.sort_by_key(|delivery| delivery.receipt.entry);
        let ids: Vec<_> = taken.iter().map(|delivery| content(delivery).clone()).collect();
        assert_eq!(ids, sent);
        assert!(taken.iter().all(|delivery| delivery.attempt == attempt), "{taken:?}");
        assert!(taken.iter().all(|delivery| delivery.receipt.consumer == heir));
        sleep(IDLE * 2).await;
    }
}

/// Long work is not taken away from a worker that is alive.
pub async fn a_renewed_lease_is_not_reclaimed(harness: &impl Harness) {
    let (broker, me, other) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 2)).await.expect("publish");
    let held = claim(broker.as_ref(), &me, 2).await;
    sleep(IDLE * 2).await;
    assert_eq!(broker.renew(&me, &[held[0].receipt.clone()]).await.expect("renew"), 1);
    let taken = broker.reclaim(&other, IDLE, 10).await.expect("reclaim");
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].receipt.entry, held[1].receipt.entry);
}

/// A worker that was frozen does not steal its work back.
pub async fn a_lease_lost_to_another_is_not_renewed(harness: &impl Harness) {
    let (broker, frozen, heir) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 1)).await.expect("publish");
    let held = claim(broker.as_ref(), &frozen, 1).await;
    sleep(IDLE).await;
    assert_eq!(reclaim(broker.as_ref(), &heir, IDLE, 1).await.len(), 1);
    assert_eq!(
        broker.renew(&frozen, &[held[0].receipt.clone()]).await.expect("renew"),
        0
    );
    let recovered = broker.recover(&frozen, &HashSet::new(), 10).await.expect("recover");
    assert!(recovered.is_empty(), "it is not the frozen worker's any more");
}

/// A deploy costs no lease time.
pub async fn what_a_leaving_consumer_holds_can_be_reclaimed_at_once(harness: &impl Harness) {
    let (broker, leaving, heir) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 2)).await.expect("publish");
    claim(broker.as_ref(), &leaving, 2).await;
    broker.leave(&leaving).await.expect("leave");
    let taken = reclaim(broker.as_ref(), &heir, Duration::from_secs(60), 2).await;
    assert_eq!(taken.len(), 2);
    broker
        .leave(&consumer())
        .await
        .expect("leaving without having come is no error");
}

/// A claim whose answer never arrived is not lost until the lease ends, and what the consumer holds is not
/// given to it twice.
pub async fn a_delivery_that_got_lost_on_the_way_is_recovered(harness: &impl Harness) {
    let (broker, me) = (harness.broker(), consumer());
    let sent = requests(&requester(), 3);
    broker.publish(&sent).await.expect("publish");
    let given = claim(broker.as_ref(), &me, 3).await;
    let held = HashSet::from([given[0].receipt.entry]);
    harness.cut().await;
    let recovered = loop {
        if let Ok(recovered) = broker.recover(&me, &held, 10).await {
            break recovered;
        }
        sleep(Duration::from_millis(10)).await;
    };
    let found: Vec<_> = recovered.iter().map(|delivery| content(delivery).clone()).collect();
    assert_eq!(found, sent[1..]);
    assert!(recovered.iter().all(|delivery| delivery.attempt == 2));
}

/// Reply and removal are one step.
pub async fn settling_makes_the_reply_readable_and_removes_the_request(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = broker.replies(&requester);
    let sent = requests(&requester, 5);
    broker.publish(&sent).await.expect("publish");
    let settlements: Vec<_> = claim(broker.as_ref(), &me, 5).await.iter().map(echo).collect();
    broker.settle(&settlements).await.expect("settle");
    let received = read(replies.as_mut(), 5).await;
    let expected: Vec<_> = sent
        .iter()
        .map(|request| Reply {
            id: request.id,
            outcome: Ok(request.data.clone()),
        })
        .collect();
    assert_eq!(received, expected);
    assert_eq!(broker.depth().await.expect("depth"), Depth::default());
}

/// Whoever does not know whether a settlement worked repeats it. The answer may be read twice, the
/// requester knows the request once; the store is as after the first.
pub async fn settling_again_changes_nothing(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = broker.replies(&requester);
    broker.publish(&requests(&requester, 3)).await.expect("publish");
    let deliveries = claim(broker.as_ref(), &me, 3).await;
    broker.settle(&[echo(&deliveries[0])]).await.expect("settle");
    let all: Vec<_> = deliveries.iter().map(echo).collect();
    broker.settle(&all).await.expect("settle again");
    broker.settle(&all).await.expect("and again");
    let ids: HashSet<_> = read(replies.as_mut(), 3).await.iter().map(|reply| reply.id).collect();
    let expected: HashSet<_> = deliveries.iter().map(|delivery| content(delivery).id).collect();
    assert!(ids.is_subset(&expected));
    assert_eq!(broker.depth().await.expect("depth"), Depth::default());
}

/// A worker that was frozen for longer than its lease sends no second answer.
pub async fn a_worker_that_lost_its_lease_settles_nothing(harness: &impl Harness) {
    let (broker, frozen, heir, requester) = (harness.broker(), consumer(), consumer(), requester());
    let mut replies = broker.replies(&requester);
    broker.publish(&requests(&requester, 1)).await.expect("publish");
    let late = claim(broker.as_ref(), &frozen, 1).await;
    sleep(IDLE).await;
    let taken = reclaim(broker.as_ref(), &heir, IDLE, 1).await;
    broker
        .settle(&[echo(&late[0])])
        .await
        .expect("a late settlement is no error");
    assert_eq!(
        broker.depth().await.expect("depth").claimed,
        1,
        "the heir still holds it"
    );
    broker.settle(&[echo(&taken[0])]).await.expect("settle");
    assert_eq!(read(replies.as_mut(), 2).await.len(), 1);
}

/// A fault is an answer too.
pub async fn a_fault_reaches_its_requester(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = broker.replies(&requester);
    broker.publish(&requests(&requester, 1)).await.expect("publish");
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    let reply = Reply {
        id: content(&delivery).id,
        outcome: Err(Fault::new(FaultCode::UpstreamUnavailable, "närby \"quoted\"").retry_after(Duration::from_secs(2))),
    };
    broker
        .settle(&[Settlement::reply(
            delivery.receipt.clone(),
            requester.clone(),
            reply.clone(),
        )])
        .await
        .expect("settle");
    assert_eq!(read(replies.as_mut(), 1).await, [reply]);
}

/// What is given up is kept, and nobody waits for it in vain.
pub async fn a_dead_letter_is_kept_and_its_requester_told(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = broker.replies(&requester);
    broker.publish(&requests(&requester, 1)).await.expect("publish");
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    let reply = Reply {
        id: content(&delivery).id,
        outcome: Err(Fault::new(FaultCode::DeadLettered, "given up")),
    };
    let letter = DeadLetter {
        reason: "it never worked".to_owned(),
        attempts: 5,
        fields: vec![("data".into(), content(&delivery).data.clone())],
    };
    let told = Some((requester.clone(), reply.clone()));
    broker
        .settle(&[Settlement::dead_letter(delivery.receipt.clone(), letter, told)])
        .await
        .expect("settle");
    assert_eq!(read(replies.as_mut(), 1).await, [reply]);
    let depth = broker.depth().await.expect("depth");
    assert_eq!((depth.dead_letters, depth.waiting, depth.claimed), (1, 0, 0));
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

/// Two ingress instances share workers, and never see each other's answers.
pub async fn replies_of_two_requesters_never_mix(harness: &impl Harness) {
    let (broker, me, left, right) = (harness.broker(), consumer(), requester(), requester());
    let (mut left_replies, mut right_replies) = (broker.replies(&left), broker.replies(&right));
    let mixed: Vec<_> = (0..20)
        .map(|n| request(if n % 2 == 0 { &left } else { &right }, &n.to_string()))
        .collect();
    broker.publish(&mixed).await.expect("publish");
    let settlements: Vec<_> = claim(broker.as_ref(), &me, 20).await.iter().map(echo).collect();
    broker.settle(&settlements).await.expect("settle");
    for (requester, replies) in [(&left, &mut left_replies), (&right, &mut right_replies)] {
        let received: Vec<_> = read(replies.as_mut(), 10).await.iter().map(|reply| reply.id).collect();
        let own = mixed.iter().filter(|request| request.reply_to == *requester);
        assert_eq!(received, own.map(|request| request.id).collect::<Vec<_>>());
    }
}

/// A lost connection loses no reply and brings none twice to a reader that went on.
pub async fn replies_go_on_after_the_connection_broke(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = broker.replies(&requester);
    let sent = requests(&requester, 6);
    for half in sent.chunks(3) {
        publish_until_accepted(broker.as_ref(), half).await;
        let mut deliveries = Vec::new();
        while deliveries.len() < 3 {
            deliveries.extend(broker.claim(&me, 3).await.unwrap_or_default());
        }
        let settlements: Vec<_> = deliveries.iter().map(echo).collect();
        broker.settle(&settlements).await.expect("settle");
        let received: Vec<_> = read(replies.as_mut(), 3).await.iter().map(|reply| reply.id).collect();
        assert_eq!(received, half.iter().map(|request| request.id).collect::<Vec<_>>());
        harness.cut().await;
    }
}

async fn publish_until_accepted(broker: &dyn Broker, requests: &[Request]) {
    while let Err(error) = broker.publish(requests).await {
        assert!(
            !error.may_have_applied(),
            "the connection was idle when it broke: nothing was sent on it"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

/// A reader without replies still notices that it should stop.
pub async fn reading_replies_without_any_ends_in_bounded_time(harness: &impl Harness) {
    let mut replies = harness.broker().replies(&requester());
    let started = Instant::now();
    assert!(replies.next().await.expect("read").is_empty());
    assert!(started.elapsed() < MAX_WAIT * 3, "{:?}", started.elapsed());
    replies.close().await.expect("close");
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

/// Somebody is there.
pub async fn a_backend_that_is_there_answers_a_ping(harness: &impl Harness) {
    assert!(harness.broker().ping().await.expect("ping") < Duration::from_secs(1));
}
