//! The journal: every request from the moment it is asked. A call is noted before it is sent, and closed with its end;
//! one whose caller breaks stays open, and is found.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use checker::nonce::{Nonce, Temper};

use crate::history::{Call, End, Via, Wish};

/// What callers noted. Times count from `begin`.
#[derive(Debug)]
pub(crate) struct Journal {
    begin: Instant,
    calls: Mutex<Vec<Call>>,
    told: Mutex<Vec<Told>>,
    ids: Mutex<HashSet<String>>,
}

/// A call that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(usize);

/// How long a request may take, and how long its caller waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) budget: Duration,
    pub(crate) wait: Duration,
}

/// A Location that a caller was told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) nonce: Nonce,
    pub(crate) id: String,
    /// By which door.
    pub(crate) door: usize,
    pub(crate) wish: Wish,
    /// Whether its nonce is its Idempotency-Key as well.
    pub(crate) is_keyed: bool,
}

impl Times {
    /// Of a caller who waits as long as the work may take.
    pub(crate) fn all(budget: Duration) -> Self {
        Self { budget, wait: budget }
    }
}

impl Journal {
    pub(crate) fn new(begin: Instant) -> Arc<Self> {
        Arc::new(Self {
            begin,
            calls: Mutex::default(),
            told: Mutex::default(),
            ids: Mutex::default(),
        })
    }

    /// Notes that a request is about to be made.
    pub(crate) fn open(&self, nonce: Nonce, via: Via, times: Times) -> Place {
        self.push(Call {
            number: nonce.number,
            temper: nonce.temper,
            via,
            sent: self.now(),
            took: Duration::ZERO,
            budget: times.budget,
            wait: times.wait,
            end: End::Open,
            answers: 0,
        })
    }

    /// Notes how a request ended, and which way it went.
    pub(crate) fn close(&self, place: Place, via: Via, end: End) {
        let now = self.now();
        self.change(place, |call| {
            let unanswered = matches!(
                end,
                End::TurnedAway | End::Broken(_) | End::Left | End::Silent | End::Promised
            );
            call.answers = u32::from(!unanswered);
            call.took = now - call.sent;
            call.via = via;
            call.end = end;
        });
    }

    /// Notes an answer that nobody here asked for: a call of its own, so that it is judged as what it is.
    pub(crate) fn stranger(&self, via: Via, end: End) -> Place {
        let nonce = Nonce {
            temper: Temper::Good,
            run: 0,
            number: 0,
        };
        let place = self.open(nonce, via, Times::all(Duration::ZERO));
        self.close(place, via, end);
        place
    }

    /// Changes what is noted of a request.
    pub(crate) fn change(&self, place: Place, change: impl FnOnce(&mut Call)) {
        if let Some(call) = lock(&self.calls).get_mut(place.0) {
            change(call);
        }
    }

    /// Notes where a caller was told to ask.
    pub(crate) fn tell(&self, told: Told) {
        lock(&self.ids).insert(told.id.clone());
        lock(&self.told).push(told);
    }

    /// Where callers were told to ask since this was called before.
    pub(crate) fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut *lock(&self.told))
    }

    /// Every request that somebody was told to ask for.
    pub(crate) fn ids(&self) -> HashSet<String> {
        lock(&self.ids).clone()
    }

    /// Whether a caller left without knowing what became of its request.
    pub(crate) fn some_left(&self) -> bool {
        let left = |call: &Call| matches!(call.end, End::Broken(_) | End::Silent) || call.is_problem("outcome-unknown");
        lock(&self.calls).iter().any(left)
    }

    /// Requests that were noted so far.
    pub(crate) fn len(&self) -> usize {
        lock(&self.calls).len()
    }

    /// Every call, as it is noted now.
    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// The time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn push(&self, call: Call) -> Place {
        let mut calls = lock(&self.calls);
        calls.push(call);
        Place(calls.len() - 1)
    }
}

/// A caller that broke meanwhile has noted what it did before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(number: u64) -> Nonce {
        Nonce {
            temper: Temper::Good,
            run: 1,
            number,
        }
    }

    #[tokio::test]
    async fn a_call_whose_caller_breaks_stays_open() {
        let journal = Journal::new(Instant::now());
        let times = Times::all(Duration::from_secs(1));
        let well = journal.open(nonce(1), Via::Wire, times);
        let callers = journal.clone();
        let broken = tokio::spawn(async move {
            callers.open(nonce(2), Via::Wire, times);
            panic!("a defect of the tester, on purpose");
        });
        assert!(broken.await.is_err());
        journal.close(well, Via::Ingress(3), End::Ok);
        let ends: Vec<_> = journal
            .calls()
            .into_iter()
            .map(|call| (call.number, call.end))
            .collect();
        assert_eq!(ends, [(1, End::Ok), (2, End::Open)]);
        assert_eq!(journal.calls()[0].via, Via::Ingress(3));
    }

    #[test]
    fn only_an_answer_counts_as_one() {
        let journal = Journal::new(Instant::now());
        for (end, answers) in [(End::Ok, 1), (End::Promised, 0), (End::Silent, 0)] {
            let place = journal.open(nonce(1), Via::Wire, Times::all(Duration::ZERO));
            journal.close(place, Via::Wire, end);
            assert_eq!(journal.calls()[place.0].answers, answers);
        }
    }
}
