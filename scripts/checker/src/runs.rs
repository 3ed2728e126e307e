//! What ran, as the handlers themselves noted it. Nothing here comes from what the services say.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::nonce::Nonce;

/// One time that a handler began to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The request it worked on.
    pub nonce: Nonce,
    /// The delivery; the first is 1.
    pub delivery: u32,
    /// The worker: a process, or an instance.
    pub worker: u32,
    /// The time since the beginning of the record.
    pub at: Duration,
}

/// All runs, by request.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    by_number: HashMap<u64, Vec<Run>>,
    total: u64,
}

impl Runs {
    /// Sorts the runs that belong to `run` by their requests.
    #[must_use]
    pub fn of(run: u32, all: impl IntoIterator<Item = Run>) -> Self {
        let mut runs = Self::default();
        for one in all.into_iter().filter(|one| one.nonce.run == run) {
            runs.total += 1;
            runs.by_number.entry(one.nonce.number).or_default().push(one);
        }
        runs
    }

    /// The runs of a request, in the order in which they were noted.
    #[must_use]
    pub fn of_request(&self, number: u64) -> &[Run] {
        self.by_number.get(&number).map_or(&[], Vec::as_slice)
    }

    /// How often a request ran.
    #[must_use]
    pub fn count(&self, number: u64) -> usize {
        self.of_request(number).len()
    }

    /// The highest delivery in which a request ran; 0 when it did not.
    #[must_use]
    pub fn deliveries(&self, number: u64) -> u32 {
        let deliveries = self.of_request(number).iter().map(|run| run.delivery);
        deliveries.max().unwrap_or(0)
    }

    /// Numbers of the requests that ran.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.by_number.keys().copied()
    }

    /// All runs there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Requests that ran at all.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.by_number.len() as u64
    }

    /// Writes the runs of requests that ran more than once, or again.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn unusual<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unusual = |runs: &&Vec<Run>| runs.len() > 1 || runs.iter().any(|run| run.delivery > 1);
        serializer.collect_seq(self.by_number.values().filter(unusual).flatten())
    }
}
