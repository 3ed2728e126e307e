//! The deliveries in hand: claimed, and not settled yet. Their leases are renewed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use roundtrip::broker::{Delivery, EntryId, Receipt, Settlement};
use roundtrip::observe::trace::Span;
use roundtrip::{CorrelationId, OperationName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What is in hand, of all operations.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    tracked: Mutex<Tracked>,
    fewer: Notify,
}

#[derive(Debug, Default)]
struct Tracked {
    deliveries: HashMap<EntryId, InHand>,
    counts: HashMap<OperationName, usize>,
}

#[derive(Debug)]
struct InHand {
    receipt: Receipt,
    request: Option<CorrelationId>,
    cancelled: CancellationToken,
    /// Ends when the delivery is settled.
    settling: Span,
}

impl Tracked {
    fn remove(&mut self, entry: EntryId) {
        if self.deliveries.remove(&entry).is_some()
            && let Some(count) = self.counts.get_mut(&entry.operation)
        {
            *count -= 1;
        }
    }

    fn of(&self, operation: OperationName) -> impl Iterator<Item = (&EntryId, &InHand)> {
        let deliveries = self.deliveries.iter();
        deliveries.filter(move |(entry, _)| entry.operation == operation)
    }
}

impl InFlight {
    /// Notes a delivery, and returns what tells its work to end; `None` when it is in hand already.
    pub(crate) fn insert(&self, delivery: &Delivery) -> Option<CancellationToken> {
        let mut tracked = self.lock();
        let entry = delivery.receipt.entry;
        let Entry::Vacant(place) = tracked.deliveries.entry(entry) else {
            return None;
        };
        let in_hand = place.insert(InHand {
            receipt: delivery.receipt.clone(),
            request: delivery.content.as_ref().ok().map(|request| request.id),
            cancelled: CancellationToken::new(),
            settling: Span::default(),
        });
        let cancelled = in_hand.cancelled.clone();
        *tracked.counts.entry(entry.operation).or_default() += 1;
        Some(cancelled)
    }

    /// Keeps a span until the delivery is settled.
    pub(crate) fn settling(&self, entry: EntryId, span: Span) {
        if span.is_recorded()
            && let Some(in_hand) = self.lock().deliveries.get_mut(&entry)
        {
            in_hand.settling = span;
        }
    }

    /// Tells those of these requests that are in hand to end. Looks at each: it is a rare wish.
    pub(crate) fn cancel(&self, requests: &[CorrelationId]) {
        if requests.is_empty() {
            return;
        }
        let tracked = self.lock();
        let wanted = tracked
            .deliveries
            .values()
            .filter(|in_hand| in_hand.request.is_some_and(|id| requests.contains(&id)));
        wanted.for_each(|in_hand| in_hand.cancelled.cancel());
    }

    /// The requests in hand.
    pub(crate) fn requests(&self) -> Vec<CorrelationId> {
        let tracked = self.lock();
        tracked
            .deliveries
            .values()
            .filter_map(|in_hand| in_hand.request)
            .collect()
    }

    /// Forgets deliveries that are settled.
    pub(crate) fn remove(&self, settlements: &[Settlement]) {
        let mut tracked = self.lock();
        for settlement in settlements {
            tracked.remove(settlement.receipt.entry);
        }
        drop(tracked);
        self.fewer.notify_waiters();
    }

    pub(crate) fn forget(&self, entry: EntryId) {
        self.lock().remove(entry);
        self.fewer.notify_waiters();
    }

    /// Waits until nothing is in hand.
    pub(crate) async fn wait_until_empty(&self) {
        self.wait_until(|tracked| tracked.deliveries.is_empty()).await;
    }

    /// Waits until no more than `count` of an operation are in hand.
    pub(crate) async fn wait_until_at_most(&self, operation: OperationName, count: usize) {
        let of = |tracked: &Tracked| tracked.counts.get(&operation).copied().unwrap_or_default();
        self.wait_until(|tracked| of(tracked) <= count).await;
    }

    async fn wait_until(&self, enough: impl Fn(&Tracked) -> bool) {
        loop {
            let fewer = self.fewer.notified();
            tokio::pin!(fewer);
            // Enlisted before it looks: what changes in between is not missed.
            fewer.as_mut().enable();
            if enough(&self.lock()) {
                return;
            }
            fewer.await;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().deliveries.len()
    }

    /// How many of an operation are in hand.
    pub(crate) fn count(&self, operation: OperationName) -> usize {
        self.lock().counts.get(&operation).copied().unwrap_or_default()
    }

    pub(crate) fn entries(&self, operation: OperationName) -> HashSet<EntryId> {
        self.lock().of(operation).map(|(entry, _)| *entry).collect()
    }

    pub(crate) fn receipts(&self, operation: OperationName) -> Vec<Receipt> {
        let tracked = self.lock();
        tracked
            .of(operation)
            .map(|(_, in_hand)| in_hand.receipt.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tracked> {
        self.tracked.lock().expect("no code panics while it holds the map")
    }
}
