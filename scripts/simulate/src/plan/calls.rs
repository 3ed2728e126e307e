//! What is asked in a history.

use std::time::Duration;

use fastrand::Rng;

use super::{between, millis};
use crate::log::Work;

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) at: Duration,
    pub(crate) work: Work,
    /// Which ingress, by its place.
    pub(crate) door: usize,
    pub(crate) wait: Wait,
    pub(crate) key: Option<Key>,
    /// `Request-Timeout`, in seconds.
    pub(crate) timeout: Option<u64>,
    pub(crate) then: Then,
    /// Between the halves of the body.
    pub(crate) slow_body: Duration,
}

/// An idempotency key, by its number. Those who share one ask for the same work.
pub(crate) type Key = u64;

/// How long its caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    ForAnswer,
    /// `Prefer: wait=N`
    UpTo(u64),
    /// `Prefer: respond-async`
    Not,
}

/// What its caller does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Waits,
    HangsUp(Duration),
    /// Cancels what it was promised, after this time.
    Cancels(Duration),
    /// Watches the events of what it was promised, and takes its time with each.
    Watches,
    /// Tries again with the same key, at another door, when it was refused or does not know.
    TriesAgain,
}

/// Calls in the making.
pub(crate) struct Calls<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) doors: usize,
    pub(crate) asks: Vec<Ask>,
    pub(crate) works: u64,
}

impl Calls<'_> {
    /// The next piece of work, asked for at a time by somebody who waits.
    pub(crate) fn plain(&mut self, at: Duration) -> &mut Ask {
        let work = self.works;
        self.works += 1;
        self.again(at, work)
    }

    /// Another call for a piece of work.
    pub(crate) fn again(&mut self, at: Duration, work: Work) -> &mut Ask {
        let door = self.rng.usize(..self.doors);
        self.asks.push(Ask {
            at,
            work,
            door,
            wait: Wait::ForAnswer,
            key: None,
            timeout: None,
            then: Then::Waits,
            slow_body: Duration::ZERO,
        });
        self.asks.last_mut().expect("it was only just pushed")
    }

    /// A bit of everything that callers do, at a time.
    pub(crate) fn anything(&mut self, at: Duration) {
        let (kind, wait) = (self.rng.u8(..20), self.rng.u64(..4));
        let patience = between(self.rng, 1, 1500);
        let slow = self.rng.u8(..16) == 0;
        let limit = self.rng.u64(1..12);
        let ask = self.plain(at);
        if slow {
            ask.slow_body = patience;
        }
        match kind {
            0..8 => {}
            8 => ask.timeout = Some(limit),
            9 | 10 => ask.wait = Wait::UpTo(wait),
            11 | 12 => ask.wait = Wait::Not,
            13 => (ask.wait, ask.then) = (Wait::Not, Then::Cancels(patience)),
            14 => ask.then = Then::HangsUp(patience),
            15 => (ask.wait, ask.then) = (Wait::UpTo(wait), Then::Watches),
            _ => self.keyed(kind),
        }
    }

    /// Makes the last call one with a key, which others may share.
    fn keyed(&mut self, kind: u8) {
        let others = self.rng.usize(..3);
        let lag = between(self.rng, 0, 2500);
        let wait = match kind {
            16 => Wait::ForAnswer,
            17 => Wait::Not,
            _ => Wait::UpTo(self.rng.u64(..4)),
        };
        let ask = self.asks.last_mut().expect("there is a last call");
        let (at, work) = (ask.at, ask.work);
        (ask.key, ask.wait, ask.then) = (Some(work), wait, Then::TriesAgain);
        for other in 0..others {
            let lag = if other == 0 && kind.is_multiple_of(2) {
                millis(0)
            } else {
                lag
            };
            let ask = self.again(at + lag, work);
            (ask.key, ask.wait, ask.then) = (Some(work), wait, Then::TriesAgain);
        }
    }
}
