//! The part of the queue that jobs may take. The rule: it is measured on the whole queue as it was last sampled, with
//! what was let in since, so that it holds whichever instance let them in.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use roundtrip::broker::Depth;

use super::{Rejection, take_off};

/// How many jobs a burst may bring where nothing waits, before anything is known of them.
const BURST: u64 = 256;

/// How many may wait behind each request at work while the rate is unknown: a few rounds of work say how fast it is.
const ROUNDS: u64 = 4;

/// That many at least: what is at work may be one request.
const FEWEST: u64 = 32;

/// What of the queue jobs may take: those whose callers may leave before the work ends, and so do not mind how long it
/// waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobLimits {
    /// The share of the wait that those who wait put up with, above 0; with 1 only a job's own time limits its wait.
    pub(crate) share: f64,
    /// How many requests may wait at most while nobody knows how long that takes.
    pub(crate) queued: u64,
    /// What the requests in the broker may take, in bytes.
    pub(crate) bytes: u64,
}

/// What is known of the room that is left.
#[derive(Debug)]
pub(super) struct Room {
    limits: JobLimits,
    /// How many waited and were at work when the last sample was taken, and when that was, in nanoseconds.
    waiting: AtomicU64,
    claimed: AtomicU64,
    taken: AtomicU64,
    /// What was completed per second before it.
    pace: AtomicU64,
    /// Jobs that were let in since.
    since: AtomicU64,
    /// What the requests took at that sample, and jobs that were let in since.
    bytes: AtomicU64,
    /// For how many one of ours stands, in thousandths: others let in as well.
    weight: AtomicU64,
}

impl Room {
    pub(super) fn new(limits: JobLimits) -> Self {
        Self {
            limits,
            waiting: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            since: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            weight: AtomicU64::new(1000),
        }
    }

    /// Takes in what was sampled at a time, what was completed per second before that, and how much of what comes is
    /// let in here.
    pub(super) fn learn(&self, taken: u64, depth: &Depth, pace: f64, share: f64) {
        self.waiting.store(depth.waiting, Relaxed);
        self.claimed.store(depth.claimed, Relaxed);
        self.taken.store(taken, Relaxed);
        self.pace.store(pace as u64, Relaxed);
        self.since.store(0, Relaxed);
        self.bytes.store(depth.bytes, Relaxed);
        self.weight.store((1000.0 / share) as u64, Relaxed);
    }

    /// Whether there is room for another job `now`. Where the wait can be predicted, number says nothing: what matters
    /// is how long others wait behind it.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn look(&self, now: u64, rate_is_known: bool) -> Result<(), Rejection> {
        let (bytes, most) = (self.bytes.load(Relaxed), self.limits.bytes);
        if bytes >= most {
            return Err(Rejection::QueueBytes { bytes, most });
        }
        let (waiting, most) = (self.waiting(now), self.most());
        if !rate_is_known && waiting >= most {
            return Err(Rejection::QueueLength { waiting, most });
        }
        Ok(())
    }

    /// Counts a job that was let in.
    pub(super) fn take(&self, bytes: u64) {
        self.since.fetch_add(1, Relaxed);
        self.bytes.fetch_add(self.of_all(bytes), Relaxed);
    }

    /// Takes a job off again that was let in and adds nothing to the queue.
    pub(super) fn give_back(&self, bytes: u64) {
        take_off(&self.since, 1);
        take_off(&self.bytes, self.of_all(bytes));
    }

    /// How many may wait while the rate is unknown. Few workers with long work would need minutes for what others do in
    /// a moment: so as many as say something about them. Where nobody works, nobody is kept waiting.
    fn most(&self) -> u64 {
        let (waiting, claimed) = (self.waiting.load(Relaxed), self.claimed.load(Relaxed));
        let most = match (waiting, claimed) {
            (0, claimed) => (claimed * ROUNDS).max(BURST),
            (_, 0) => self.limits.queued,
            (_, claimed) => (claimed * ROUNDS).max(FEWEST),
        };
        most.min(self.limits.queued)
    }

    /// How many wait, at the pace there was: where nothing waits for long, those since the last sample do not either.
    fn waiting(&self, now: u64) -> u64 {
        let time = Duration::from_nanos(now.saturating_sub(self.taken.load(Relaxed)));
        let done = (self.pace.load(Relaxed) as f64 * time.as_secs_f64()) as u64;
        let waiting = self.waiting.load(Relaxed) + self.of_all(self.since.load(Relaxed));
        waiting.saturating_sub(done)
    }

    fn of_all(&self, ours: u64) -> u64 {
        ours.saturating_mul(self.weight.load(Relaxed)) / 1000
    }
}
