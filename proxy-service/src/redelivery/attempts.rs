//! Which attempt the entries are that we took over: remembered until they are at work or handed back. The broker's
//! count does not say it after a failure: taking over counts nothing, and what was counted may not have run.

use std::collections::HashMap;

use roundtrip::broker::{Dropped, EntryId};

/// An entry in our hands that is not at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) entry: EntryId,
    /// Which attempt it is, once it runs.
    pub(crate) number: u32,
    /// Whether the broker's count says otherwise, and has to be put right before the entry is handed back.
    pub(crate) is_miscounted: bool,
}

/// What is known of entries in our hands.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    numbers: HashMap<EntryId, u32>,
    /// Whether entries may have been taken over that we never heard of.
    missed: bool,
}

impl Attempts {
    /// Notes what others dropped: it has run as often as it was delivered.
    pub(crate) fn dropped(&mut self, dropped: &[Dropped]) -> Vec<Attempt> {
        let note = |one: &Dropped| self.note(*one, one.deliveries.saturating_add(1));
        dropped.iter().map(note).collect()
    }

    /// Notes that a call failed that takes over what others dropped.
    pub(crate) fn missed(&mut self) {
        self.missed = true;
    }

    /// Notes what is ours and did not come; `all`: there is nothing else. What we know nothing of was brought by a
    /// claim, which nobody ran, unless it has been delivered before, or what was dropped was missed.
    pub(crate) fn recovered(&mut self, lost: &[Dropped], all: bool) -> Vec<Attempt> {
        let known = match all {
            true => std::mem::take(&mut self.numbers),
            false => self.numbers.clone(),
        };
        let has_run = |one: &Dropped| self.missed || one.deliveries > 1;
        let numbers = lost.iter().map(|one| match known.get(&one.entry) {
            Some(number) => *number,
            None if has_run(one) => one.deliveries.saturating_add(1),
            None => 1,
        });
        let numbers: Vec<u32> = numbers.collect();
        self.missed &= !all;
        let pairs = lost.iter().zip(numbers);
        pairs.map(|(one, number)| self.note(*one, number)).collect()
    }

    /// Forgets entries that are at work now, or handed back.
    pub(crate) fn forget(&mut self, entries: impl IntoIterator<Item = EntryId>) {
        for entry in entries {
            self.numbers.remove(&entry);
        }
    }

    fn note(&mut self, one: Dropped, number: u32) -> Attempt {
        self.numbers.insert(one.entry, number);
        Attempt {
            entry: one.entry,
            number,
            is_miscounted: one.deliveries != number - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use roundtrip::OperationName;
    use roundtrip::broker::Position;

    use super::*;

    fn dropped(sequence: u64, deliveries: u32) -> Dropped {
        let entry = EntryId::of(OperationName::first(), Position { millis: 1, sequence });
        Dropped { entry, deliveries }
    }

    fn numbers(attempts: &[Attempt]) -> Vec<u32> {
        attempts.iter().map(|attempt| attempt.number).collect()
    }

    #[test]
    fn what_a_claim_brought_is_the_first_attempt() {
        let mut attempts = Attempts::default();
        for _ in 0..2 {
            let lost = attempts.recovered(&[dropped(1, 1), dropped(2, 0)], true);
            assert_eq!(numbers(&lost), [1, 1]);
            assert_eq!((lost[0].is_miscounted, lost[1].is_miscounted), (true, false));
        }
    }

    #[test]
    fn what_was_dropped_stays_the_attempt_it_was_taken_over_as() {
        let mut attempts = Attempts::default();
        assert_eq!(
            numbers(&attempts.dropped(&[dropped(1, 1), dropped(2, u32::MAX)])),
            [2, u32::MAX]
        );
        let lost = [dropped(1, 2), dropped(2, u32::MAX), dropped(3, 1)];
        assert_eq!(numbers(&attempts.recovered(&lost, false)), [2, u32::MAX, 1]);
        assert_eq!(numbers(&attempts.recovered(&lost, true)), [2, u32::MAX, 1]);
        attempts.forget([lost[0].entry]);
        assert_eq!(numbers(&attempts.recovered(&lost[..1], true)), [3], "it has run since");
    }

    #[test]
    fn what_was_missed_has_run_until_all_of_it_is_recovered() {
        let mut attempts = Attempts::default();
        attempts.missed();
        assert_eq!(numbers(&attempts.recovered(&[dropped(1, 1)], false)), [2]);
        assert_eq!(numbers(&attempts.recovered(&[dropped(2, 1)], true)), [2]);
        assert_eq!(numbers(&attempts.recovered(&[dropped(3, 1)], true)), [1]);
        assert_eq!(attempts.numbers.len(), 1, "what is not ours any more is forgotten");
    }
}
