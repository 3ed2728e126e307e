//! The number of entries that a read asks for. Their size is known only when they are here, and the next read goes by
//! it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batch::MAX_BYTES;
use crate::broker::redis::connection::dedicated::MAX_ANSWER;

/// What a first read asks for, at most.
const FIRST: usize = 128;

/// The most that is ever asked for; bounds the time of one answer.
const MOST: usize = 1024;

/// An answer with many entries is given up beyond this, and they are read one by one. Large enough for a read that
/// was asked for before anybody knew.
const MAX_MANY: usize = 16 * MAX_BYTES;

/// The number of entries that make up about [`MAX_BYTES`].
#[derive(Debug)]
pub(super) struct Portion(AtomicUsize);

impl Default for Portion {
    fn default() -> Self {
        Self(FIRST.into())
    }
}

impl Portion {
    /// How many of `max` to ask for.
    pub(super) fn of(&self, max: usize) -> usize {
        self.0.load(Ordering::Relaxed).min(max)
    }

    /// The most bytes of an answer with so many entries.
    pub(super) fn limit(asked: usize) -> usize {
        if asked == 1 { MAX_ANSWER } else { MAX_MANY }
    }

    /// So many entries came, in so many bytes.
    pub(super) fn came(&self, count: usize, bytes: usize) {
        let now = self.0.load(Ordering::Relaxed);
        let next = match bytes > MAX_BYTES {
            true => MAX_BYTES * count / bytes,
            false if count == now => now * 2,
            // There were no more, or its reader had room for no more: nothing is known of larger portions.
            false => now,
        };
        self.0.store(next.clamp(1, MOST), Ordering::Relaxed);
    }

    /// They were too large, or came too slowly, to be read together.
    pub(super) fn cut(&self) {
        self.0.store(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_as_many_as_one_call_takes_in_time() {
        let portion = Portion::default();
        assert_eq!((portion.of(10), portion.of(10_000)), (10, FIRST));
        portion.came(FIRST, FIRST * 1000);
        assert_eq!(portion.of(10_000), 2 * FIRST, "small ones come in larger portions");
        portion.came(10, 1000);
        assert_eq!(portion.of(10_000), 2 * FIRST, "nothing is known of more");
        portion.came(4, 4 * MAX_BYTES);
        assert_eq!(portion.of(10_000), 1);
        for _ in 0..20 {
            let asked = portion.of(10_000);
            portion.came(asked, asked * 100_000);
        }
        assert!((5..=20).contains(&portion.of(10_000)), "{portion:?}");
        portion.cut();
        assert_eq!(portion.of(10_000), 1, "and grows again");
        portion.came(1, 100);
        assert_eq!(portion.of(10_000), 2);
    }
}
