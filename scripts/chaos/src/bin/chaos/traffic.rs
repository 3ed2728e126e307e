//! What is asked for: nonces, one after the other, some of them poisonous. Which ones follows from the seed alone,
//! whoever asks them and when.

use std::sync::atomic::{AtomicU64, Ordering};

use checker::nonce::{Nonce, Temper};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Which requests are not like the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Poison {
    /// The share of those on which a handler panics.
    pub(crate) panics: f64,
    /// The numbers of those on which a worker's process aborts: so few that chance might choose none.
    pub(crate) aborts: Vec<u64>,
    /// The numbers of those that take long: no poison, and as few.
    pub(crate) slow: Vec<u64>,
}

/// The requests of one run of a scenario.
#[derive(Debug)]
pub(crate) struct Traffic {
    seed: u64,
    poison: Poison,
    next: AtomicU64,
}

impl Traffic {
    pub(crate) fn new(seed: u64, poison: Poison) -> Self {
        Self {
            seed,
            poison,
            next: AtomicU64::new(1),
        }
    }

    /// Which run all nonces belong to.
    pub(crate) fn run(&self) -> u32 {
        (self.seed >> 32) as u32 ^ self.seed as u32
    }

    /// How many were handed out; their numbers begin with 1.
    pub(crate) fn issued(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// The next request.
    pub(crate) fn next(&self) -> Nonce {
        self.nonce(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The next request of those that can be answered.
    pub(crate) fn next_good(&self) -> Nonce {
        self.next_of(Temper::Good)
    }

    /// The next request, of this temper.
    pub(crate) fn next_of(&self, temper: Temper) -> Nonce {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Nonce {
            temper,
            ..self.nonce(number)
        }
    }

    fn nonce(&self, number: u64) -> Nonce {
        let chance = xxh3_64_with_seed(&number.to_le_bytes(), self.seed) as f64 / u64::MAX as f64;
        let temper = match number {
            aborts if self.poison.aborts.contains(&aborts) => Temper::Aborts,
            slow if self.poison.slow.contains(&slow) => Temper::Slow,
            _ if chance < self.poison.panics => Temper::Panics,
            _ => Temper::Good,
        };
        Nonce {
            temper,
            run: self.run(),
            number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_poisons() {
        let poison = Poison {
            panics: 0.01,
            aborts: vec![3, 7000],
            slow: vec![5],
        };
        let poisons = |seed| {
            let traffic = Traffic::new(seed, poison.clone());
            let all = (0..20_000).map(|_| traffic.next());
            all.filter(|nonce| nonce.temper.is_poison()).collect::<Vec<_>>()
        };
        assert_eq!(poisons(7), poisons(7));
        assert_ne!(poisons(7), poisons(8));
        let count = |temper| poisons(7).iter().filter(|nonce| nonce.temper == temper).count();
        assert_eq!(Traffic::new(7, poison.clone()).nonce(5).temper, Temper::Slow);
        assert!((150..250).contains(&count(Temper::Panics)) && count(Temper::Aborts) == 2);
    }

    #[test]
    fn without_poison_all_are_good() {
        let traffic = Traffic::new(1, Poison::default());
        assert!((0..1000).all(|_| traffic.next().temper == Temper::Good));
    }
}
