//! Facts about leases, and about what happens to work whose worker is gone.

use super::*;

/// A crash repeats work, as a counted attempt, instead of losing it.
pub async fn a_dead_consumers_work_is_reclaimed_as_another_attempt(harness: &impl Harness) {
    let (broker, dead, heir) = (harness.broker(), consumer(), consumer());
    let sent = requests(&requester(), 3);
    broker.publish(&sent).await.expect("publish");
    claim(broker.as_ref(), &dead, 3).await;
    let early = broker.reclaim(&heir, PATIENCE * 60, 10).await.expect("reclaim");
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
    let (broker, mut idle) = (harness.broker(), IDLE);
    loop {
        let (me, other) = (consumer(), consumer());
        broker.publish(&requests(&requester(), 2)).await.expect("publish");
        let held = claim(broker.as_ref(), &me, 2).await;
        sleep(idle).await;
        let asked = Instant::now();
        assert_eq!(broker.renew(&me, &[held[0].receipt.clone()]).await.expect("renew"), 1);
        let taken = take_over(broker.as_ref(), &other, idle, 10).await;
        // On a machine that is busy with something else the renewed lease may be over again: another try, with longer
        // leases.
        if asked.elapsed() < idle {
            let (entry, deliveries) = (held[1].receipt.entry, 1);
            assert_eq!(taken, [Dropped { entry, deliveries }]);
            return;
        }
        broker.deregister(&me).await.expect("deregister");
        settle_all(broker.as_ref(), &other).await;
        assert!(idle < PATIENCE, "two commands never take less than a lease");
        idle *= 2;
    }
}

/// Removes whatever somebody has left.
async fn settle_all(broker: &dyn Broker, heir: &Consumer) {
    let dropped = take_over(broker, heir, Duration::ZERO, 10).await;
    let left: Vec<_> = again(broker, heir, &dropped).await.iter().map(echo).collect();
    broker.settle(&left).await.expect("settle");
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
    broker.deregister(&leaving).await.expect("deregister");
    let taken = reclaim(broker.as_ref(), &heir, PATIENCE * 60, 2).await;
    assert_eq!(taken.len(), 2);
    broker
        .deregister(&consumer())
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
    let lost = held_less(&given, &held);
    assert_eq!(recovered.iter().map(|one| one.entry).collect::<Vec<_>>(), lost);
    let attempts: Vec<_> = recovered.iter().map(|one| (one.entry, one.deliveries)).collect();
    let found = broker.redeliver(&me, &attempts).await.expect("redeliver");
    let requests: Vec<_> = found.iter().map(|delivery| content(delivery).clone()).collect();
    assert_eq!(requests, sent[1..]);
    assert!(
        found.iter().all(|delivery| delivery.attempt == 1),
        "nobody has seen it yet"
    );
}

/// What a worker handed back stays behind until somebody takes it, however much it is.
pub async fn what_was_handed_back_hides_nothing_that_got_lost(harness: &impl Harness) {
    const RELEASED: usize = 600;
    let (broker, me) = (harness.broker(), consumer());
    broker
        .publish(&requests(&requester(), RELEASED + 4))
        .await
        .expect("publish");
    let given = claim(broker.as_ref(), &me, RELEASED + 4).await;
    let entries: Vec<_> = given.iter().map(|delivery| delivery.receipt.entry).collect();
    broker.release(&me, &entries[1..=RELEASED]).await.expect("release");
    let held = HashSet::from([entries[0]]);
    for max in [1, 3, 10] {
        let recovered = broker.recover(&me, &held, max).await.expect("recover");
        let recovered: Vec<_> = recovered.iter().map(|one| one.entry).collect();
        assert_eq!(recovered, entries[RELEASED + 1..][..max.min(3)]);
    }
}

fn held_less(given: &[Delivery], held: &HashSet<EntryId>) -> Vec<EntryId> {
    let entries = given.iter().map(|delivery| delivery.receipt.entry);
    entries.filter(|entry| !held.contains(entry)).collect()
}

/// Whoever runs a suspect alone must not count its neighbours before their turn.
pub async fn only_what_is_delivered_again_is_counted(harness: &impl Harness) {
    let (broker, dead, heir) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 2)).await.expect("publish");
    claim(broker.as_ref(), &dead, 2).await;
    for _ in 0..3 {
        sleep(IDLE * 2).await;
        let dropped = take_over(broker.as_ref(), &heir, IDLE, 2).await;
        assert_eq!(dropped.len(), 2);
        assert!(dropped.iter().all(|one| one.deliveries == 1), "{dropped:?}");
    }
    sleep(IDLE * 2).await;
    let dropped = take_over(broker.as_ref(), &heir, IDLE, 2).await;
    let delivered = broker
        .redeliver(&heir, &[(dropped[0].entry, 7)])
        .await
        .expect("redeliver");
    assert_eq!(delivered[0].attempt, 7);
    sleep(IDLE * 2).await;
    let mut dropped = take_over(broker.as_ref(), &dead, IDLE, 2).await;
    dropped.sort_by_key(|one| one.deliveries);
    assert_eq!(dropped.iter().map(|one| one.deliveries).collect::<Vec<_>>(), [1, 7]);
}

/// Between finding and delivering, a worker may have been frozen for longer than its lease.
pub async fn what_passed_on_is_not_delivered_again(harness: &impl Harness) {
    let (broker, frozen, heir) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 1)).await.expect("publish");
    claim(broker.as_ref(), &consumer(), 1).await;
    sleep(IDLE * 2).await;
    let found = take_over(broker.as_ref(), &frozen, IDLE, 1).await;
    sleep(IDLE * 2).await;
    assert_eq!(reclaim(broker.as_ref(), &heir, IDLE, 1).await.len(), 1);
    assert!(again(broker.as_ref(), &frozen, &found).await.is_empty());
}

/// What a worker takes over and cannot run now, another may.
pub async fn what_is_handed_back_can_be_reclaimed_at_once(harness: &impl Harness) {
    let (broker, me, other) = (harness.broker(), consumer(), consumer());
    broker.publish(&requests(&requester(), 2)).await.expect("publish");
    let held = claim(broker.as_ref(), &me, 2).await;
    let (first, second) = (held[0].receipt.entry, held[1].receipt.entry);
    broker
        .release(&other, &[second])
        .await
        .expect("what is not ours is left alone");
    broker.release(&me, &[first]).await.expect("release");
    let found = broker
        .recover(&me, &HashSet::from([second]), 10)
        .await
        .expect("recover");
    assert!(found.is_empty(), "what was handed back was not lost: {found:?}");
    let taken = take_over(broker.as_ref(), &other, PATIENCE * 60, 10).await;
    let deliveries = 1;
    assert_eq!(
        taken,
        [Dropped {
            entry: first,
            deliveries
        }]
    );
}

/// A request that outlives many deploys is not poison.
pub async fn leaving_blames_nothing_for_it(harness: &impl Harness) {
    let broker = harness.broker();
    broker.publish(&requests(&requester(), 1)).await.expect("publish");
    let first = consumer();
    claim(broker.as_ref(), &first, 1).await;
    broker.deregister(&first).await.expect("deregister");
    for _ in 0..5 {
        let next = consumer();
        let taken = reclaim(broker.as_ref(), &next, PATIENCE * 60, 1).await;
        assert_eq!(taken[0].attempt, 2);
        broker.deregister(&next).await.expect("deregister");
    }
}

/// Who only looked at a request, and handed it back, did not run it; also where nobody has run it yet.
pub async fn leaving_takes_nothing_off_what_was_handed_back(harness: &impl Harness) {
    let broker = harness.broker();
    for deliveries in [3, 0] {
        let looking = consumer();
        broker.publish(&requests(&requester(), 1)).await.expect("publish");
        let entry = claim(broker.as_ref(), &looking, 1).await[0].receipt.entry;
        let seen = broker.redeliver(&looking, &[(entry, deliveries)]).await;
        assert_eq!(seen.expect("redeliver")[0].attempt, deliveries);
        broker.release(&looking, &[entry]).await.expect("release");
        broker.deregister(&looking).await.expect("deregister");
        let taken = take_over(broker.as_ref(), &consumer(), PATIENCE * 60, 1).await;
        assert_eq!(taken, [Dropped { entry, deliveries }]);
    }
}
