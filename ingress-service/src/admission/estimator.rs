//! How fast requests are being completed, from samples of the broker. The rule: a rate means capacity only
//! while requests wait all the time; what cannot be known is `None`, and nobody is refused on a guess.

use std::collections::VecDeque;
use std::time::Duration;

use roundtrip::broker::Depth;
use tokio::time::Instant;

/// How far back completions count.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer completions say nothing.
const FEWEST: u64 = 10;
/// Within a busy period this short, a few requests may have waited at each sample by accident.
const SHORTEST: Duration = Duration::from_secs(1);
/// As many completions, over as long, are exact enough (10 %) to forget what was before: a backend that
/// becomes slow is noticed in seconds.
const ENOUGH: u64 = 100;
const LONG_ENOUGH: Duration = Duration::from_secs(2);
/// For how long a rate is known after requests have stopped waiting: where more comes at once than is worked
/// off, a queue that empties now and then must not let in as much as likes to come each time.
const MEMORY: Duration = Duration::from_secs(5);

/// Measures the completion rate of one busy period: the time from one sample with nothing waiting to the next.
#[derive(Debug, Default)]
pub(super) struct Estimator {
    /// The first sample of the busy period, and those that found more completed than the one before. Long jobs
    /// that began together end together: between two of these is a whole number of such rounds.
    steps: VecDeque<Step>,
    /// Whether nothing has been completed for so long that the last sample is where measuring begins.
    standstill: bool,
    useful: Useful,
    /// When the last sample was taken, and whether nothing waited then.
    last: Option<(Instant, bool)>,
    /// The rate, and when it was measured last.
    known: Option<(Instant, f64)>,
    /// What was completed per second between the last two samples, whether anything waited or not.
    pace: f64,
}

/// Completions without those that were discarded: discarding is so much quicker than work that one burst of it
/// would pass for a capacity nobody has, and the queue that is then let in expires as well. Whoever discards says
/// so; where workers do not, what our callers saw expire is the next best. What counts is the larger of the two, so
/// that nothing is taken off twice. See docs/adr/0016.
#[derive(Debug, Default)]
struct Useful {
    count: u64,
    /// What was discarded in this busy period, as those who did it say, and as callers make believe.
    told: u64,
    guessed: u64,
    /// Expired requests that no worker has found so far.
    unfound: u64,
    /// The counters at the last sample.
    completed: u64,
    discarded: u64,
    expired: u64,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    at: Instant,
    completed: u64,
    waiting: u64,
}

impl Estimator {
    /// Takes a sample in, and returns the completions per second that can be relied on now. `expired` counts
    /// the requests so far whose time ran out while they waited.
    pub(super) fn observe(&mut self, at: Instant, depth: &Depth, expired: u64) -> Option<f64> {
        let Some(completed) = depth.completed else {
            self.forget();
            return None;
        };
        if completed < self.useful.completed {
            // The stream began anew.
            self.forget();
        }
        let idle = depth.waiting == 0;
        if self.last.is_none() {
            self.useful = Useful::begin(completed, depth.discarded, expired);
        }
        let (last, before) = (self.last.replace((at, idle)), self.useful.count);
        let completed = self.useful.observe(completed, depth.discarded, expired, idle);
        if idle {
            self.steps.clear();
            self.standstill = false;
        } else if let Some(rate) = self.measure(at, completed, depth.waiting) {
            self.known = Some((at, rate));
        }
        self.known = self.known.filter(|(when, _)| at - *when <= MEMORY);
        if let Some((last, was_idle)) = last
            && at > last
        {
            self.pace = (completed - before) as f64 / (at - last).as_secs_f64();
            if idle && was_idle {
                // What is done now, with nothing waiting, can be done.
                self.known = self.known.map(|(when, rate)| (when, rate.max(self.pace)));
            }
        }
        self.known.map(|(_, rate)| rate)
    }

    /// What was completed per second before the last sample: less than could be, where nothing waited.
    pub(super) fn pace(&self) -> f64 {
        self.pace
    }

    /// Begins anew, with nothing known.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn measure(&mut self, at: Instant, completed: u64, waiting: u64) -> Option<f64> {
        // Whoever worked has stopped: how fast that was says nothing, and the silence is no part of what comes.
        let moved = self.steps.back().is_some_and(|last| completed > last.completed);
        self.standstill |= self.silence(at) > WINDOW.max(self.longest_gap() * 2);
        if self.standstill && !moved {
            self.steps.clear();
        }
        self.standstill &= !moved;
        if self.steps.back().is_none_or(|last| completed > last.completed) {
            self.steps.push_back(Step { at, completed, waiting });
        }
        // The step before the window is where its first interval begins, and jobs may be longer than the window.
        while self.steps.len() > 2 && self.steps[1].at + WINDOW < at {
            self.steps.pop_front();
        }
        self.rate(at)
    }

    /// How long nothing was completed.
    fn silence(&self, now: Instant) -> Duration {
        self.steps.back().map_or(Duration::ZERO, |last| now - last.at)
    }

    /// For how long nothing was completed before.
    fn longest_gap(&self) -> Duration {
        let gaps = self.steps.iter().zip(self.steps.iter().skip(1));
        gaps.map(|(one, next)| next.at - one.at).max().unwrap_or_default()
    }

    fn rate(&self, now: Instant) -> Option<f64> {
        let last = self.steps.back()?;
        // No longer silent than before is between two rounds; beyond that, the silence counts.
        let end = last.at + self.silence(now).saturating_sub(self.longest_gap());
        let since = |step: &Step| (last.completed - step.completed, end - step.at);
        let exact = |step: &&Step| matches!(since(step), (ENOUGH.., time) if time >= LONG_ENOUGH);
        let reliable = |step: &&Step| {
            let (count, time) = since(step);
            // As much waited as was completed: it cannot have run empty in between.
            count >= FEWEST && (time >= SHORTEST || step.waiting >= count)
        };
        let start = self.steps.iter().rev().find(exact);
        let (count, time) = since(start.or_else(|| self.steps.iter().find(reliable))?);
        Some(count as f64 / time.as_secs_f64())
    }
}

impl Useful {
    fn begin(completed: u64, discarded: u64, expired: u64) -> Self {
        Self {
            completed,
            discarded,
            expired,
            ..Self::default()
        }
    }

    fn observe(&mut self, completed: u64, discarded: u64, expired: u64, idle: bool) -> u64 {
        let new = completed - self.completed;
        let before = self.told.max(self.guessed);
        self.told += discarded.saturating_sub(self.discarded);
        self.guessed += self.find(new, expired - self.expired);
        let useless = self.told.max(self.guessed) - before;
        self.count += new.saturating_sub(useless);
        if idle {
            // Everything that expired has been found.
            (self.told, self.guessed, self.unfound) = (0, 0, 0);
        }
        (self.completed, self.discarded, self.expired) = (completed, discarded, expired);
        self.count
    }

    /// What expired is known when its caller leaves, and counts as completed when a worker finds it: until
    /// then the count stands still. Returns how many of the `new` completions may be such finds.
    fn find(&mut self, new: u64, expired: u64) -> u64 {
        self.unfound += expired;
        let found = new.min(self.unfound);
        self.unfound -= found;
        found
    }
}

/// How much of what comes into the stream comes from here, where several ingresses share it.
#[derive(Debug)]
pub(super) struct Share {
    ours: f64,
    all: f64,
    last: Option<(u64, u64)>,
}

/// Of what counted at one sample, what still counts at the next.
const WEIGHT: f64 = 0.9;
/// Added to each share: the same for all, so that whoever has less gains on whoever has more.
const GAIN: f64 = 0.1;

impl Share {
    pub(super) fn new() -> Self {
        Self {
            ours: 0.0,
            all: 0.0,
            last: None,
        }
    }

    /// Takes a sample in, and returns our share of what arrives: above 0, at most 1; 1 while nothing is known.
    pub(super) fn observe(&mut self, admitted: u64, depth: &Depth) -> f64 {
        let arrived = depth
            .completed
            .map(|completed| completed + depth.waiting + depth.claimed);
        if let (Some((admitted_before, arrived_before)), Some(arrived)) = (self.last, arrived)
            && arrived >= arrived_before
        {
            self.ours = self.ours * WEIGHT + admitted.saturating_sub(admitted_before) as f64;
            self.all = self.all * WEIGHT + (arrived - arrived_before) as f64;
        }
        self.last = arrived.map(|arrived| (admitted, arrived));
        if self.all < FEWEST as f64 {
            return 1.0;
        }
        (self.ours / self.all + GAIN).min(1.0)
    }
}
