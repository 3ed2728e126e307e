//! Admission: whether a request is let in, by what the last sample of the broker said and what this instance
//! admitted since. The rule: deciding touches a few atomics and nothing else; what takes thought happens once
//! a sample, in [`follow`], and a sample that is old, or that says nothing, refuses nobody.

mod estimator;
mod jobs;
mod rejection;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use roundtrip::OperationName;
use roundtrip::broker::Memory;
use roundtrip::observe::health::{Health, Sample};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::OperationMetrics;
use crate::pending::Pending;
use estimator::{Estimator, Share};
pub(crate) use jobs::JobLimits;
use jobs::Room;
pub(crate) use rejection::{EVENT_STREAMS, Rejection};

/// For how long a sample decides. Three of those that come when nothing waits; after that the broker is away.
const SAMPLE_LIFETIME: Duration = Duration::from_secs(3);

/// A sample is asked for each time this many were admitted: load that comes of a sudden is noticed before it
/// has become a long queue, and a quiet service is sampled no more often than before.
const ADMISSIONS_PER_SAMPLE: u64 = 64;

/// What the limits are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The budget of a request.
    pub(crate) request_timeout: Duration,
    /// How many may be in flight.
    pub(crate) max_in_flight: u32,
    /// The operator's own limit for the age of the oldest waiting request.
    pub(crate) max_queue_age: Option<Duration>,
    /// The share of the broker's memory beyond which nothing is let in.
    pub(crate) max_memory_share: f64,
    /// What of the queue jobs may take.
    pub(crate) jobs: JobLimits,
}

/// A request that is to be let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrant {
    /// How long the work may take.
    pub(crate) budget: Duration,
    /// What its body takes.
    pub(crate) bytes: u64,
    /// Whether its caller may leave before it is done, or more time was asked for than callers get who wait.
    pub(crate) is_job: bool,
}

/// What is known of the wait for one operation. Times are in nanoseconds after `epoch`.
#[derive(Debug)]
pub(crate) struct Admission {
    epoch: Instant,
    limits: Limits,
    /// When what waits now will have been begun. Time passes towards it, each admission pushes it on.
    empty_at: AtomicU64,
    /// How far one admission pushes; 0 while the rate is unknown.
    step: AtomicU64,
    /// How long the oldest waiting request has waited, in nanoseconds; 0 unless that is too long.
    too_old: AtomicU64,
    /// Whether the broker has so little memory left that it is kept for the work that is there.
    is_full: AtomicBool,
    /// Until when the last sample decides.
    decides_until: AtomicU64,
    admitted: AtomicU64,
    /// Those of them that added nothing to the queue.
    withdrawn: AtomicU64,
    /// Requests of this instance whose time ran out.
    expired: AtomicU64,
    /// How long those in flight take to be answered, all of them, in nanoseconds; 0 while that is unknown.
    turnover: AtomicU64,
    room: Room,
    operation: OperationName,
    health: Health,
}

impl Admission {
    pub(crate) fn new(operation: OperationName, limits: Limits, health: Health) -> Self {
        Self {
            epoch: Instant::now(),
            limits,
            empty_at: AtomicU64::new(0),
            step: AtomicU64::new(0),
            too_old: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            decides_until: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            withdrawn: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            turnover: AtomicU64::new(0),
            room: Room::new(limits.jobs),
            operation,
            health,
        }
    }

    /// Whose it is.
    pub(crate) fn operation(&self) -> OperationName {
        self.operation
    }

    /// Counts a call that is turned away because the broker did not answer.
    pub(crate) fn count_turned_away(&self) {
        self.health.count_turned_away();
    }

    /// Whether nobody is there to do the work, as far as is known.
    pub(crate) fn has_no_workers(&self) -> bool {
        self.health.has_no_workers(self.operation)
    }

    /// Lets a request in that has `budget` from `now`, and counts it.
    ///
    /// # Errors
    /// When it would wait for too long.
    pub(crate) fn admit(&self, now: Instant, entrant: Entrant) -> Result<(), Rejection> {
        let budget = entrant.budget;
        let now = self.nanos(now);
        let step = self.step.load(Relaxed);
        if now < self.decides_until.load(Relaxed) {
            if self.is_full.load(Relaxed) {
                return Err(Rejection::Memory);
            }
            match self.too_old.load(Relaxed) {
                age if age > nanos(self.oldest(budget, step > 0)) => {
                    return Err(Rejection::QueueAge(Duration::from_nanos(age)));
                }
                _ => {}
            }
            if entrant.is_job {
                self.room.look(now, step > 0)?;
            }
            if step > 0 {
                self.queue(now, step, &entrant)?;
            }
        }
        if entrant.is_job {
            self.room.take(entrant.bytes);
        }
        // Those refused need not be counted: while there are any, samples come as often as they may.
        if self.admitted.fetch_add(1, Relaxed) % ADMISSIONS_PER_SAMPLE == ADMISSIONS_PER_SAMPLE - 1 {
            self.health.sample_soon();
        }
        Ok(())
    }

    /// Takes one off again that was let in and adds nothing to the queue. After a sample it may be one too many: that
    /// is one request's error until the next.
    pub(crate) fn withdraw(&self, entrant: Entrant) {
        self.withdrawn.fetch_add(1, Relaxed);
        take_off(&self.empty_at, self.step.load(Relaxed));
        if entrant.is_job {
            self.room.give_back(entrant.bytes);
        }
    }

    /// How many were let in so far and added to the queue.
    pub(crate) fn let_in(&self) -> u64 {
        let withdrawn = self.withdrawn.load(Relaxed);
        self.admitted.load(Relaxed).saturating_sub(withdrawn)
    }

    /// What a request is told that finds no place among those in flight.
    pub(crate) fn in_flight_is_full(&self) -> Rejection {
        let turnover = Duration::from_nanos(self.turnover.load(Relaxed));
        Rejection::InFlight((!turnover.is_zero()).then_some(turnover))
    }

    /// How long what is let in now will wait, as far as that is known.
    pub(crate) fn predicted_wait(&self, now: Instant) -> Option<Duration> {
        let now = self.nanos(now);
        let known = self.step.load(Relaxed) > 0 && now < self.decides_until.load(Relaxed);
        known.then(|| Duration::from_nanos(self.empty_at.load(Relaxed).saturating_sub(now)))
    }

    /// Counts a request that was let in and whose own time, not only its caller's, ran out.
    pub(crate) fn count_expired(&self) {
        self.expired.fetch_add(1, Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    fn queue(&self, now: u64, step: u64, entrant: &Entrant) -> Result<(), Rejection> {
        let own = self.longest_wait(entrant.budget);
        let longest = own.min(self.share_of_wait(entrant));
        let queue = |empty_at: u64| {
            let begin = empty_at.max(now);
            (begin - now <= nanos(longest)).then_some(begin + step)
        };
        match self.empty_at.fetch_update(Relaxed, Relaxed, queue) {
            Ok(_) => Ok(()),
            Err(empty_at) => {
                let wait = Duration::from_nanos(empty_at.saturating_sub(now));
                Err(match longest < own {
                    true => Rejection::QueueShare { wait, longest },
                    false => Rejection::QueueWait { wait, longest },
                })
            }
        }
    }

    /// How long a request may wait: a quarter of its time is left for the work, and for the error of the
    /// estimate. The same quarter keeps the queue below the operator's own limit, which refuses everybody
    /// until a sample says otherwise and so should be reached only when the estimate is wrong.
    fn longest_wait(&self, budget: Duration) -> Duration {
        self.limits.max_queue_age.map_or(budget, |age| age.min(budget)) * 3 / 4
    }

    /// How long the wait may be for this one to be let in, whatever its own time: a job leaves those who wait the rest
    /// of what they put up with.
    fn share_of_wait(&self, entrant: &Entrant) -> Duration {
        let share = self.limits.jobs.share;
        match entrant.is_job && share < 1.0 {
            true => self.longest_wait(self.limits.request_timeout).mul_f64(share),
            false => Duration::MAX,
        }
    }

    /// How old the oldest waiting request may be. Where the wait can be predicted, that decides, and age only
    /// when it is beyond all time a request has; half of it where nothing else decides.
    /// Who has more time than that may wait longer behind others.
    fn oldest(&self, budget: Duration, rate_is_known: bool) -> Duration {
        let timeout = self.limits.request_timeout.max(budget);
        let default = if rate_is_known { timeout } else { timeout / 2 };
        self.limits.max_queue_age.unwrap_or(default)
    }

    /// Takes in what a sample says; returns the wait it predicts.
    fn learn(&self, sample: &Sample, rate: Option<f64>, share: f64) -> Option<Duration> {
        let Some(taken) = sample.taken else {
            // The broker is away, and requests go to hear that from it.
            self.decides_until.store(0, Relaxed);
            return None;
        };
        let depth = &sample.depth;
        let wait = rate.map(|rate| seconds(depth.waiting as f64 / rate));
        let shortest = self.oldest(Duration::ZERO, rate.is_some());
        let age = depth.oldest_waiting.filter(|age| *age > shortest);
        // One of ours stands for those of all others that come at the same time.
        let step = rate.map_or(0, |rate| nanos(seconds(1.0 / (rate * share))).max(1));
        self.empty_at
            .store(self.nanos(taken + wait.unwrap_or_default()), Relaxed);
        self.step.store(step, Relaxed);
        self.too_old.store(age.map_or(0, nanos), Relaxed);
        let is_full = |memory: Memory| {
            memory.max > 0 && !memory.evicts && memory.used as f64 >= memory.max as f64 * self.limits.max_memory_share
        };
        self.is_full.store(depth.memory.is_some_and(is_full), Relaxed);
        self.decides_until.store(self.nanos(taken + SAMPLE_LIFETIME), Relaxed);
        wait
    }

    fn nanos(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.epoch))
    }
}

fn take_off(count: &AtomicU64, number: u64) {
    let _ = count.fetch_update(Relaxed, Relaxed, |count| Some(count.saturating_sub(number)));
}

/// 584 years at most.
fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// A day at most: nothing waits longer.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(86_400.0))
}

/// Takes samples in until `stop`.
pub(crate) async fn follow(
    admission: Arc<Admission>,
    pending: Arc<Pending>,
    mut samples: watch::Receiver<Sample>,
    metrics: OperationMetrics,
    stop: CancellationToken,
) {
    let mut follower = Follower::new(&admission, Instant::now());
    while let Some(Ok(())) = stop.run_until_cancelled(samples.changed()).await {
        let sample = *samples.borrow_and_update();
        let (rate, wait) = follower.take(&sample, pending.len() as u64, Instant::now());
        metrics.completion_rate.set(rate.unwrap_or_default());
        metrics.predicted_wait.set(wait.unwrap_or_default().as_secs_f64());
    }
}

/// What has to be remembered from one sample to the next.
struct Follower<'a> {
    admission: &'a Admission,
    estimator: Estimator,
    share: Share,
    /// Our requests whose time ran out, and, extrapolated, everybody's.
    expired: (u64, f64),
    /// When departures were counted last, and how many there had been.
    departed: (Instant, u64),
}

impl<'a> Follower<'a> {
    fn new(admission: &'a Admission, now: Instant) -> Self {
        Self {
            admission,
            estimator: Estimator::default(),
            share: Share::new(),
            expired: (0, 0.0),
            departed: (now, 0),
        }
    }

    /// Returns the completion rate per second and the predicted wait, as far as these are known.
    fn take(&mut self, sample: &Sample, in_flight: u64, now: Instant) -> (Option<f64>, Option<Duration>) {
        self.count_departures(self.admission.let_in().saturating_sub(in_flight), now);
        let share = self.share.observe(self.admission.let_in(), &sample.depth);
        let (before, everybodys) = self.expired;
        let expired = self.admission.expired.load(Relaxed);
        self.expired = (expired, everybodys + (expired - before) as f64 / share);
        let rate = match sample.taken {
            Some(taken) => {
                let rate = self.estimator.observe(taken, &sample.depth, self.expired.1 as u64);
                let taken = self.admission.nanos(taken);
                self.admission
                    .room
                    .learn(taken, &sample.depth, self.estimator.pace(), share);
                rate
            }
            None => {
                self.estimator.forget();
                None
            }
        };
        (rate, self.admission.learn(sample, rate, share))
    }

    /// Counts those that left, answered or not, since a second ago or more.
    fn count_departures(&mut self, departed: u64, now: Instant) {
        let (since, before) = self.departed;
        let time = now - since;
        if time < Duration::from_secs(1) {
            return;
        }
        self.departed = (now, departed);
        let limits = &self.admission.limits;
        let turnover = match departed.saturating_sub(before) {
            0 => Duration::ZERO,
            // Nothing stays longer than its time.
            count => {
                seconds(time.as_secs_f64() * f64::from(limits.max_in_flight) / count as f64).min(limits.request_timeout)
            }
        };
        self.admission.turnover.store(nanos(turnover), Relaxed);
    }
}
