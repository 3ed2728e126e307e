//! Those who wait for requests that other calls made. They hold no place among the requests in flight, so they have
//! bounds of their own, each kind apart: who watches takes nothing from who waits for an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

use crate::metrics::IngressMetrics;

/// The places of an instance.
#[derive(Debug)]
pub(crate) struct WaitLimits {
    /// For calls whose Idempotency-Key names a request at work.
    pub(crate) followers: Arc<Places>,
    /// For those who ask for a request, and wait for its end.
    pub(crate) waits: Arc<Places>,
    /// For streams of events.
    pub(crate) streams: Arc<Places>,
}

impl WaitLimits {
    /// So many places for each kind of call that waits, and so many for streams.
    pub(crate) fn new(max_followers: u32, max_streams: u32, metrics: &IngressMetrics) -> Self {
        Self {
            followers: Places::new(max_followers, metrics.followers.clone()),
            waits: Places::new(max_followers, metrics.waits.clone()),
            streams: Places::new(max_streams, metrics.event_streams.clone()),
        }
    }
}

/// A fixed number of places.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    max: usize,
    gauge: IntGauge,
}

/// One place, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new(max: u32, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            max: max as usize,
            gauge,
        })
    }

    /// Takes a place; `None` when none is free.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let take = |taken| (taken < self.max).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        self.gauge.inc();
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_once_and_free_again_when_it_is_dropped() {
        let places = Places::new(2, IntGauge::new("places", "places").unwrap());
        let (first, _second) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        assert_eq!(places.gauge.get(), 2);
        drop(first);
        assert!(places.take().is_some());
        assert_eq!(places.gauge.get(), 1);
    }
}
