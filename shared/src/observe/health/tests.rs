//! How often the broker is asked.

use tokio::time::sleep;

use super::*;
use crate::broker::memory::MemoryBroker;
use crate::message::{Budget, CorrelationId, Keep, Origin, ReplyTo, Request};
use crate::observe::metrics::Metrics;
use crate::resilience::circuit_broker::CircuitBroker;

fn watched(broker: Arc<dyn Broker>) -> Health {
    let breaker = CircuitBroker::new(broker.clone()).breaker();
    let health = Health::new("test", breaker, &Metrics::new(), [OperationName::first()]);
    tokio::spawn(
        health
            .clone()
            .watch(broker, "test".to_owned(), Role::Worker, CancellationToken::new()),
    );
    health
}

async fn with_one_waiting() -> Arc<dyn Broker> {
    let request = Request {
        id: CorrelationId::new(),
        origin: Origin::default(),
        reply_to: ReplyTo::unique("r"),
        budget: Budget::new(Duration::from_secs(60)),
        traceparent: None,
        keep: Keep::No,
        data: "{}".into(),
    };
    let broker = MemoryBroker::new();
    broker.publish(&[request]).await.unwrap();
    Arc::new(broker)
}

/// How many samples come within two seconds, as somebody who follows sees them.
async fn samples(mut follower: watch::Receiver<Sample>) -> usize {
    let end = sleep(Duration::from_secs(2) + BUSY_INTERVAL / 2);
    let mut count = 0;
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return count,
            changed = follower.changed() => { changed.unwrap(); count += 1; }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_broker_is_sampled_each_second() {
    let health = watched(Arc::new(MemoryBroker::new()));
    assert_eq!(samples(health.follow(OperationName::first())).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_broker_in_which_requests_wait_is_sampled_five_times_a_second() {
    let health = watched(with_one_waiting().await);
    assert_eq!(samples(health.follow(OperationName::first())).await, 11);
}

#[tokio::test(start_paused = true)]
async fn without_a_follower_once_a_second_is_enough() {
    let health = watched(with_one_waiting().await);
    sleep(Duration::from_millis(950)).await;
    let seen = health.samples().next().unwrap().1.taken.unwrap();
    assert!(seen.elapsed() > BUSY_INTERVAL * 4, "{:?}", seen.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_sample_asked_for_comes_early_and_asking_again_brings_no_more() {
    let health = watched(Arc::new(MemoryBroker::new()));
    let mut follower = health.follow(OperationName::first());
    follower.changed().await.unwrap();
    let first = follower.borrow_and_update().taken.unwrap();
    health.sample_soon();
    health.sample_soon();
    follower.changed().await.unwrap();
    assert_eq!(follower.borrow_and_update().taken.unwrap() - first, BUSY_INTERVAL);
    follower.changed().await.unwrap();
    assert_eq!(
        follower.borrow().taken.unwrap() - first,
        BUSY_INTERVAL + SAMPLE_INTERVAL
    );
}
