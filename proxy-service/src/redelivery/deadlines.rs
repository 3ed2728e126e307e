//! What is about to expire, and has no room: it is told, so that nobody who waits hears nothing. What time dropped
//! entries have is known only by a look into them, so it is remembered.

use std::collections::HashMap;
use std::time::Duration;

use roundtrip::broker::EntryId;
use tokio::time::Instant;

/// How long before its end something is told. Longer than the time between two looks, and than its answer's way back.
pub(crate) const DUE: Duration = Duration::from_millis(700);

/// How often dropped work is looked at while it cannot be taken over: because no terminal becomes free for so long,
/// or because the upstream is given a pause.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// The most that is told in one turn, and the most dropped entries that one turn finds.
pub(crate) const MAX_DUE: usize = 64;

/// The most entries that one turn looks into, one after the other: they may be large.
pub(crate) const MAX_LOOKS: usize = 16;

/// How many deadlines are remembered. Of what is forgotten another look is taken.
const MAX_KNOWN: usize = 4096;

/// The deadlines of dropped entries that this worker has looked into.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    known: HashMap<EntryId, Instant>,
    /// Or an earlier moment, after that one was forgotten.
    earliest: Option<Instant>,
    next_look: Option<Instant>,
}

impl Deadlines {
    /// Notes when an entry is over.
    pub(crate) fn note(&mut self, entry: EntryId, deadline: Instant) {
        if self.known.len() == MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(entry, deadline);
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// Whether one of them is due, and it is time for another look. Each stays due until it was seen or is past: one
    /// look may miss it.
    pub(crate) fn are_due(&mut self) -> bool {
        let now = Instant::now();
        let soon = now + DUE;
        let is_soon = |earliest: Option<Instant>| earliest.is_some_and(|earliest| earliest <= soon);
        if !is_soon(self.earliest) || self.next_look.is_some_and(|next| next > now) {
            return false;
        }
        let due = is_soon(self.known.values().min().copied());
        self.known.retain(|_, deadline| *deadline > now);
        self.earliest = self.known.values().min().copied();
        self.next_look = due.then(|| now + LOOK_INTERVAL);
        due
    }

    /// Forgets an entry that is told, or at work.
    pub(crate) fn forget(&mut self, entry: EntryId) {
        self.known.remove(&entry);
    }

    /// Whether a look into an entry is worth while: nothing is known of it, or that it is due.
    pub(crate) fn are_worth_a_look(&self, entry: EntryId) -> bool {
        let soon = Instant::now() + DUE;
        self.known.get(&entry).is_none_or(|deadline| *deadline <= soon)
    }
}

/// When to look at dropped work again.
#[derive(Debug)]
pub(crate) struct LookTimer(Instant);

impl LookTimer {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Whether it is time; if so, the next time is set.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0 <= now;
        if due {
            self.0 = now + LOOK_INTERVAL;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use roundtrip::OperationName;
    use roundtrip::broker::Position;

    use super::*;

    fn entry(sequence: u64) -> EntryId {
        EntryId::of(OperationName::first(), Position { millis: 1, sequence })
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_unknown_or_due_is_looked_into() {
        let mut deadlines = Deadlines::default();
        deadlines.note(entry(1), Instant::now() + DUE * 2);
        deadlines.note(entry(2), Instant::now() + DUE / 2);
        let worth = |deadlines: &Deadlines| [1, 2, 3].map(|n| deadlines.are_worth_a_look(entry(n)));
        assert_eq!(worth(&deadlines), [false, true, true]);
        advance(DUE).await;
        assert_eq!(worth(&deadlines), [true; 3]);
        assert!(deadlines.are_due());
        assert!(!deadlines.are_due(), "not at once again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_stays_so_until_it_was_seen_or_is_past() {
        let mut deadlines = Deadlines::default();
        deadlines.note(entry(1), Instant::now() + DUE);
        deadlines.note(entry(2), Instant::now() + DUE * 4);
        assert!(deadlines.are_due());
        advance(LOOK_INTERVAL).await;
        assert!(deadlines.are_due(), "the look may have missed it");
        deadlines.forget(entry(1));
        advance(LOOK_INTERVAL).await;
        assert!(!deadlines.are_due(), "it was seen");
        advance(DUE * 4).await;
        assert!(deadlines.are_due(), "past or not, it was not seen yet");
        advance(LOOK_INTERVAL).await;
        assert!(!deadlines.are_due());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let mut deadlines = Deadlines::default();
        for n in 0..10_000 {
            deadlines.note(entry(n), Instant::now() + DUE * 2);
        }
        assert!(deadlines.known.len() <= MAX_KNOWN);
    }
}
