//! Memory for request bodies: a budget in bytes that all bodies of this process share. The rule: bytes are taken from
//! it before they are read, and given back when the body is dropped, whatever became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use prometheus::IntGauge;

/// The budget.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    most: usize,
    taken: AtomicUsize,
    gauge: IntGauge,
}

/// What one body has taken.
#[derive(Debug)]
pub(crate) struct Share {
    memory: BodyMemory,
    bytes: usize,
}

impl BodyMemory {
    /// A budget of so many bytes.
    pub(crate) fn new(most: usize, gauge: IntGauge) -> Self {
        let taken = AtomicUsize::new(0);
        Self(Arc::new(Budget { most, taken, gauge }))
    }

    /// The share of a body of which nothing is known.
    pub(crate) fn share(&self) -> Share {
        let memory = self.clone();
        Share { memory, bytes: 0 }
    }
}

impl Share {
    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it so large, or leaves it as it is: `false` where there is not so much left.
    #[must_use]
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let Budget { most, taken, gauge } = self.memory.0.as_ref();
        let take = |taken: usize| taken.checked_add(more).filter(|taken| taken <= most);
        let is_taken = taken.fetch_update(Relaxed, Relaxed, take).is_ok();
        if is_taken {
            self.bytes += more;
            gauge.add(more as i64);
        }
        is_taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.0.taken.fetch_sub(self.bytes, Relaxed);
        self.memory.0.gauge.sub(self.bytes as i64);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_budget_and_give_back_what_they_have() {
        let gauge = IntGauge::new("bytes", "bytes").unwrap();
        let memory = BodyMemory::new(100, gauge.clone());
        let (mut one, mut other) = (memory.share(), memory.share());
        assert!(one.grow_to(60) && one.grow_to(60) && one.grow_to(10));
        assert!(!other.grow_to(41) && !other.grow_to(usize::MAX));
        assert!(other.grow_to(40));
        assert_eq!((one.bytes(), other.bytes(), gauge.get()), (60, 40, 100));
        drop(one);
        assert!(other.grow_to(100) && !other.grow_to(101));
        drop(other);
        assert_eq!((gauge.get(), memory.0.taken.load(Relaxed)), (0, 0));
    }
}
