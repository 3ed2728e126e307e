//! The server's clock is set, or the server stands still: nothing is blamed for it, and nothing is stuck.

use roundtrip::broker::{Delivery, Dropped};
use testbed::Signal;
use tokio::time::{Instant, sleep};

use super::*;

const LEASE: Duration = Duration::from_secs(3);
const HOUR: i64 = 3_600_000;

/// Longer than any pause of a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server whose wall clock can be set.
struct Settable {
    server: RedisServer,
    broker: Arc<dyn Broker>,
}

impl Settable {
    async fn spawn() -> Self {
        let server = RedisServer::spawn_with_clock().await;
        let url: BrokerUrl = server.url().parse().unwrap();
        let broker = connect(&url, LEASE, Durability::Volatile).broker;
        broker.prepare().await.unwrap();
        Self { server, broker }
    }

    async fn claim(&self, consumer: &Consumer, count: usize) -> Vec<Delivery> {
        self.broker
            .publish(&vec![request(&ReplyTo::unique("a")); count])
            .await
            .unwrap();
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.broker.claim(consumer, count).await.unwrap());
        }
        all
    }

    /// Scans as workers do until something is found, while `alive` renews. Nothing where the machine was so busy that
    /// the lease of who is alive was over as well.
    async fn scan_until_found(&self, heir: &Consumer, alive: &[Delivery]) -> Option<Vec<Dropped>> {
        let receipts: Vec<_> = alive.iter().map(|delivery| delivery.receipt.clone()).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = Instant::now();
            let renewed = self.broker.renew(&receipts[0].consumer, &receipts).await;
            assert_eq!(renewed.unwrap(), alive.len(), "nobody took what is at work");
            let found = self.broker.reclaim(heir, LEASE, 10).await.unwrap();
            if !found.is_empty() {
                return (asked.elapsed() < LEASE).then_some(found);
            }
            assert!(Instant::now() < deadline, "what a dead worker held is never taken over");
            sleep(LEASE / 5).await;
        }
    }
}

/// Tries until the machine was quick enough that who is alive could say so.
async fn once_quick(mut attempt: impl AsyncFnMut() -> Option<()>) {
    for _ in 0..10 {
        if attempt().await.is_some() {
            return;
        }
    }
    panic!("two commands take longer than {LEASE:?}, each time");
}

#[tokio::test]
async fn a_clock_set_ahead_or_back_takes_nothing_from_the_living_and_keeps_nothing_of_the_dead() {
    for offset in [HOUR, -HOUR] {
        once_quick(async || {
            let redis = Settable::spawn().await;
            let [alive, dead, heir] = ["alive", "dead", "heir"].map(Consumer::unique);
            let at_work = redis.claim(&alive, 3).await;
            let dropped = redis.claim(&dead, 1).await;
            let early = redis.broker.reclaim(&heir, PATIENCE, 10).await.unwrap();
            assert_eq!(early, [], "no lease is over");
            redis.server.set_clock(offset).unwrap();
            let at_once = redis.broker.reclaim(&heir, LEASE, 10).await.unwrap();
            assert_eq!(at_once, [], "the clock was set by {offset} ms");
            let found = redis.scan_until_found(&heir, &at_work).await?;
            let (entry, deliveries) = (dropped[0].receipt.entry, 1);
            assert_eq!(found, [Dropped { entry, deliveries }], "{offset} ms");
            Some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_waits_does_not_age_by_a_clock_set_ahead() {
    let (redis, me) = (Settable::spawn().await, Consumer::unique("me"));
    redis.claim(&me, 1).await;
    redis.broker.depth().await.unwrap();
    redis.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    redis.server.set_clock(HOUR).unwrap();
    let oldest = redis.broker.depth().await.unwrap().oldest_waiting;
    assert!(oldest.is_some_and(|age| age < PATIENCE), "{oldest:?}");
    let due = redis
        .broker
        .claim_due(&me, Duration::from_millis(700), 10)
        .await
        .unwrap();
    assert!(due.is_empty(), "{due:?}");
    redis.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    let mut claimed = Vec::new();
    while claimed.len() < 2 {
        claimed.extend(redis.broker.claim(&me, 10).await.unwrap());
    }
    for delivery in claimed {
        assert!(delivery.waited < PATIENCE, "{:?}", delivery.waited);
    }
}

#[tokio::test]
async fn a_server_that_stood_still_for_a_lease_takes_nothing_from_the_living() {
    once_quick(async || {
        let redis = Settable::spawn().await;
        let [alive, dead, heir] = ["alive", "dead", "heir"].map(Consumer::unique);
        let dropped = redis.claim(&dead, 1).await;
        let at_work = redis.claim(&alive, 3).await;
        let early = redis.broker.reclaim(&heir, PATIENCE, 10).await.unwrap();
        assert_eq!(early, [], "no lease is over");
        redis.server.signal(Signal::STOP).unwrap();
        sleep(LEASE + Duration::from_secs(1)).await;
        redis.server.signal(Signal::CONT).unwrap();
        let at_once = redis.broker.reclaim(&heir, LEASE, 10).await.unwrap();
        assert_eq!(at_once, [], "nobody could renew");
        let found = redis.scan_until_found(&heir, &at_work).await?;
        let (entry, deliveries) = (dropped[0].receipt.entry, 1);
        assert_eq!(found, [Dropped { entry, deliveries }]);
        Some(())
    })
    .await;
}
