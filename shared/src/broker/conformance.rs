//! One suite that every backend passes. Each fact is a function; [`broker_conformance!`] makes them tests.
//!
//! [`broker_conformance!`]: crate::broker_conformance

mod claiming;
mod dead_letters;
mod first_queue;
mod keys;
mod reclaiming;
mod recording;
mod replying;
mod settling;

pub use claiming::*;
pub use dead_letters::*;
pub use keys::*;
pub use reclaiming::*;
pub use recording::*;
pub use replying::*;
pub use settling::*;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, timeout};

pub use first_queue::{FirstQueue, FirstRecords};

use super::{
    Broker, CancelOutcome, Consumer, DeadLetter, DeadLetters, Delivery, Depth, Dropped, EntryId, MAX_WAIT, Replayed,
    ReplyStream, ResultStore, Retention, Settlement,
};
use crate::message::{Budget, CorrelationId, Fault, FaultCode, Keep, Origin, Reply, ReplyTo, Request};

/// A backend under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The broker.
    fn broker(&self) -> Arc<dyn Broker>;
    /// Its dead letters.
    fn dead_letters(&self) -> Arc<dyn DeadLetters>;
    /// Its records.
    fn records(&self) -> Arc<dyn ResultStore>;
    /// Records of the same backend that are kept so.
    fn records_kept(&self, retention: Retention) -> Arc<dyn ResultStore>;
    /// Breaks every connection there is; nothing, where there is none.
    async fn cut(&self);
    /// Puts an entry into the request stream that is no request: it has one field, `garbage`.
    async fn put_malformed(&self);
    /// Whether the backend can count what was completed. Only a server without the means may say no.
    async fn counts_completed(&self) -> bool {
        true
    }
}

/// Makes each fact of the suite a test. `$harness` is an async expression for a fresh [`Harness`]. What follows it are
/// arguments for `#[tokio::test]`: a backend within the process runs with `start_paused = true`.
#[macro_export]
macro_rules! broker_conformance {
    (@all $how:tt $harness:expr; $($fact:ident,)+) => {
        $($crate::broker_conformance!(@one $how $harness; $fact);)+
    };
    (@one [$($how:tt)*] $harness:expr; $fact:ident) => {
        #[tokio::test($($how)*)]
        async fn $fact() {
            let harness = $harness.await;
            $crate::broker::conformance::$fact(&harness).await;
        }
    };
    ($harness:expr $(, $($how:tt)*)?) => {
        $crate::broker_conformance!(
            @all [$($($how)*)?] $harness;
            a_batch_is_claimed_in_the_order_it_was_published,
            empty_batches_do_nothing,
            a_claim_takes_no_more_than_it_may,
            a_claim_waits_for_work_and_takes_it_at_once,
            a_claim_without_work_ends_in_bounded_time,
            what_is_about_to_expire_can_be_claimed_alone,
            two_consumers_never_hold_the_same_delivery,
            a_dead_consumers_work_is_reclaimed_as_another_attempt,
            a_renewed_lease_is_not_reclaimed,
            a_lease_lost_to_another_is_not_renewed,
            only_what_is_delivered_again_is_counted,
            what_passed_on_is_not_delivered_again,
            what_is_handed_back_can_be_reclaimed_at_once,
            leaving_blames_nothing_for_it,
            leaving_takes_nothing_off_what_was_handed_back,
            what_a_leaving_consumer_holds_can_be_reclaimed_at_once,
            a_delivery_that_got_lost_on_the_way_is_recovered,
            what_was_handed_back_hides_nothing_that_got_lost,
            settling_makes_the_reply_readable_and_removes_the_request,
            settling_again_changes_nothing,
            a_worker_that_lost_its_lease_settles_nothing,
            a_fault_reaches_its_requester,
            a_dead_letter_is_kept_and_its_requester_told,
            letters_are_listed_newest_first_in_pages,
            a_replayed_letter_is_a_request_again,
            a_letter_that_holds_no_request_is_not_replayed,
            a_discarded_letter_is_gone,
            a_malformed_entry_is_delivered_as_such,
            a_record_follows_its_request_to_the_end,
            a_record_that_has_ended_does_not_change,
            a_record_can_be_made_later,
            what_a_requester_did_not_read_becomes_a_result,
            a_result_without_a_record_gets_one,
            a_key_names_one_request,
            a_key_is_free_again_where_nothing_was_attempted,
            a_key_of_work_that_may_have_begun_is_not_freed,
            a_key_is_free_again_after_a_cancellation_in_the_queue,
            a_key_of_work_that_began_once_is_not_freed,
            a_key_that_names_another_request_is_not_freed,
            a_key_lives_as_long_as_its_requests_budget,
            records_are_listed_newest_first_in_pages,
            what_waits_can_be_cancelled,
            what_is_at_work_is_asked_to_end,
            what_has_no_record_can_be_cancelled_by_its_place,
            changes_are_told,
            a_result_that_is_too_large_is_not_kept,
            expired_records_are_swept,
            replies_of_two_requesters_never_mix,
            a_reply_to_a_requester_that_is_gone_goes_nowhere,
            replies_go_on_after_the_connection_broke,
            reading_replies_without_any_ends_in_bounded_time,
            waiting_time_and_deadline_are_counted_from_publishing,
            depth_counts_what_waits_and_what_is_claimed,
            depth_counts_what_was_completed,
            depth_counts_what_was_discarded,
            depth_counts_workers_and_their_terminals,
            depth_says_what_the_requests_take,
            a_backend_that_is_there_answers_a_ping,
        );
    };
}

/// An idle time that any pause in a test exceeds.
const IDLE: Duration = Duration::from_millis(40);

/// Longer than anything takes that comes at all, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn request(reply_to: &ReplyTo, data: &str) -> Request {
    Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: reply_to.clone(),
        budget: Budget::new(Duration::from_secs(30)),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        keep: Keep::No,
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

/// What is in the broker now; what was in it before is another fact's business.
async fn depth(broker: &dyn Broker) -> Depth {
    Depth {
        completed: None,
        discarded: 0,
        bytes: 0,
        memory: None,
        workers: 0,
        terminals: 0,
        ..broker.depth().await.expect("depth")
    }
}

/// Answers a delivery with its own data.
fn echo(delivery: &Delivery) -> Settlement {
    let request = content(delivery);
    let reply = Reply::new(request.id, Origin::default(), Ok(request.data.clone()));
    Settlement::reply(delivery.receipt.clone(), request.reply_to.clone(), reply)
}

/// Claims until `count` deliveries are there.
async fn claim(broker: &dyn Broker, consumer: &Consumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let deadline = Instant::now() + PATIENCE;
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

/// Reclaims until `count` deliveries are there, each as one more attempt.
async fn reclaim(broker: &dyn Broker, consumer: &Consumer, idle: Duration, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        let dropped = take_over(broker, consumer, idle, count).await;
        deliveries.extend(again(broker, consumer, &dropped).await);
    }
    deliveries
}

/// What the first scan takes over that finds something. One that finds nothing is not the end: a backend that was not
/// heard of for a while trusts no lease at first.
async fn take_over(broker: &dyn Broker, consumer: &Consumer, idle: Duration, max: usize) -> Vec<Dropped> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let dropped = broker.reclaim(consumer, idle, max).await.expect("the broker answers");
        if !dropped.is_empty() {
            return dropped;
        }
        assert!(Instant::now() < deadline, "nothing is taken over");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Delivers each as one more attempt.
async fn again(broker: &dyn Broker, consumer: &Consumer, dropped: &[Dropped]) -> Vec<Delivery> {
    let attempts: Vec<_> = dropped.iter().map(|one| (one.entry, one.deliveries + 1)).collect();
    broker.redeliver(consumer, &attempts).await.expect("the broker answers")
}

/// The replies of a requester that is there.
async fn replies_of(broker: &dyn Broker, requester: &ReplyTo) -> Box<dyn ReplyStream> {
    let replies = broker.replies(requester);
    broker.heartbeat(requester).await.expect("the broker answers");
    replies
}

/// Reads until `count` replies are there, calling again after errors.
async fn read(replies: &mut dyn ReplyStream, count: usize) -> Vec<Reply> {
    let mut all = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while all.len() < count && Instant::now() < deadline {
        match replies.next().await {
            Ok(batch) => all.extend(batch),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
    assert!(all.len() >= count, "{} of {count} replies came", all.len());
    all
}
