//! The deliveries in hand: claimed, and not settled yet. Their leases are renewed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use roundtrip::CorrelationId;
use roundtrip::broker::{Delivery, EntryId, Receipt, Settlement};
use roundtrip::observe::trace::Span;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What is in hand.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    deliveries: Mutex<HashMap<EntryId, Tracked>>,
    fewer: Notify,
}

#[derive(Debug)]
struct Tracked {
    receipt: Receipt,
    request: Option<CorrelationId>,
    cancelled: CancellationToken,
    /// Ends when the delivery is settled.
    settling: Span,
}

impl InFlight {
    /// Notes a delivery, and returns what tells its work to end; `None` when it is in hand already.
    pub(crate) fn insert(&self, delivery: &Delivery) -> Option<CancellationToken> {
        match self.lock().entry(delivery.receipt.entry) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let in_hand = place.insert(Tracked {
                    receipt: delivery.receipt.clone(),
                    request: delivery.content.as_ref().ok().map(|request| request.id),
                    cancelled: CancellationToken::new(),
                    settling: Span::default(),
                });
                Some(in_hand.cancelled.clone())
            }
        }
    }

    /// Keeps a span until the delivery is settled.
    pub(crate) fn settling(&self, entry: EntryId, span: Span) {
        if span.is_recorded()
            && let Some(in_hand) = self.lock().get_mut(&entry)
        {
            in_hand.settling = span;
        }
    }

    /// Tells those of these requests that are in hand to end. Looks at each: it is a rare wish.
    pub(crate) fn cancel(&self, requests: &[CorrelationId]) {
        if requests.is_empty() {
            return;
        }
        let held = self.lock();
        let wanted = held
            .values()
            .filter(|in_hand| in_hand.request.is_some_and(|id| requests.contains(&id)));
        wanted.for_each(|in_hand| in_hand.cancelled.cancel());
    }

    /// The requests in hand.
    pub(crate) fn requests(&self) -> Vec<CorrelationId> {
        self.lock().values().filter_map(|in_hand| in_hand.request).collect()
    }

    /// Forgets deliveries that are settled.
    pub(crate) fn remove(&self, settlements: &[Settlement]) {
        let mut held = self.lock();
        for settlement in settlements {
            held.remove(&settlement.receipt.entry);
        }
        drop(held);
        self.fewer.notify_waiters();
    }

    pub(crate) fn forget(&self, entry: EntryId) {
        self.lock().remove(&entry);
        self.fewer.notify_waiters();
    }

    /// Waits until no more than `count` are in hand.
    pub(crate) async fn wait_until_at_most(&self, count: usize) {
        loop {
            let fewer = self.fewer.notified();
            tokio::pin!(fewer);
            // Enlisted before it looks: what changes in between is not missed.
            fewer.as_mut().enable();
            if self.len() <= count {
                return;
            }
            fewer.await;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn entries(&self) -> HashSet<EntryId> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.lock().values().map(|in_hand| in_hand.receipt.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EntryId, Tracked>> {
        self.deliveries.lock().expect("no code panics while it holds the map")
    }
}
