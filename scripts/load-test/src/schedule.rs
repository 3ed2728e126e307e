//! When each request starts. Whoever has a free connection takes the next start; a start is taken once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::plan::{Limits, Mode};

/// A request's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Which request of the run this is, from 0.
    pub(crate) number: u64,
    /// When it starts. Latency counts from here, also when this is long past.
    pub(crate) at: Instant,
}

/// The starts of a run.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// As soon as there is a free connection.
    Closed(Closed),
    /// At a constant rate.
    Open(Open),
}

impl Schedule {
    /// The starts of a run that begins at `begin`.
    pub(crate) fn new(mode: Mode, limits: Limits, begin: Instant) -> Self {
        match mode {
            Mode::Sequential | Mode::Concurrent { .. } => Self::Closed(Closed::new(limits, begin)),
            Mode::Open { rate, .. } => Self::Open(Open::new(rate, limits, begin)),
        }
    }

    /// The next start, as soon as it is due; `None` at the end of the run.
    pub(crate) async fn next(&self) -> Option<Start> {
        match self {
            Self::Closed(closed) => closed.next(),
            Self::Open(open) => open.next().await,
        }
    }

    /// Requests that were due so far, taken or not.
    pub(crate) fn due(&self) -> u64 {
        match self {
            Self::Closed(closed) => closed.taken.load(Ordering::Relaxed).min(closed.count),
            Self::Open(open) => open.pace.due.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Closed {
    count: u64,
    end: Option<Instant>,
    taken: AtomicU64,
}

impl Closed {
    fn new(limits: Limits, begin: Instant) -> Self {
        Self {
            count: limits.count.unwrap_or(u64::MAX),
            end: limits.duration.map(|duration| begin + duration),
            taken: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Option<Start> {
        let at = Instant::now();
        if self.end.is_some_and(|end| at >= end) {
            return None;
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then_some(Start { number, at })
    }
}

/// Starts at a constant rate. A thread of its own releases them, because tokio's timers are a millisecond coarse,
/// and that would count as latency.
#[derive(Debug)]
pub(crate) struct Open {
    pace: Arc<Pace>,
    taken: AtomicU64,
    releaser: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Pace {
    begin: Instant,
    rate: f64,
    total: u64,
    /// One permit for each start that is due and not taken.
    released: Semaphore,
    due: AtomicU64,
    stopped: AtomicBool,
}

impl Open {
    fn new(rate: f64, limits: Limits, begin: Instant) -> Self {
        let pace = Arc::new(Pace {
            begin,
            rate,
            total: total(rate, limits),
            released: Semaphore::new(0),
            due: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let releaser = std::thread::spawn({
            let pace = pace.clone();
            move || pace.release()
        });
        Self {
            pace,
            taken: AtomicU64::new(0),
            releaser: Some(releaser),
        }
    }

    async fn next(&self) -> Option<Start> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if number >= self.pace.total {
            return None;
        }
        // First come, first served: permits go out in the order of the numbers.
        self.pace
            .released
            .acquire()
            .await
            .expect("the semaphore is never closed")
            .forget();
        let at = self.pace.start(number);
        Some(Start { number, at })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pace.stopped.store(true, Ordering::Relaxed);
        if let Some(releaser) = self.releaser.take() {
            releaser.thread().unpark();
            let _ = releaser.join();
        }
    }
}

impl Pace {
    fn start(&self, number: u64) -> Instant {
        self.begin + Duration::from_secs_f64(number as f64 / self.rate)
    }

    fn release(&self) {
        let mut due = 0;
        while due < self.total && !self.stopped.load(Ordering::Relaxed) {
            let now = Instant::now();
            let before = due;
            while due < self.total && self.start(due) <= now {
                due += 1;
            }
            if due > before {
                self.due.store(due, Ordering::Relaxed);
                self.released.add_permits((due - before) as usize);
            }
            // Ends early when the run is stopped.
            std::thread::park_timeout(self.start(due).saturating_duration_since(Instant::now()));
        }
    }
}

/// How many starts lie within the limits.
fn total(rate: f64, limits: Limits) -> u64 {
    let within = limits
        .duration
        .map_or(u64::MAX, |duration| (duration.as_secs_f64() * rate).ceil() as u64);
    within.min(limits.count.unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn limits(count: Option<u64>, duration: Option<Duration>) -> Limits {
        Limits { count, duration }
    }

    async fn all(schedule: &Schedule) -> Vec<Start> {
        let mut starts = Vec::new();
        while let Some(start) = schedule.next().await {
            starts.push(start);
        }
        starts
    }

    #[test]
    fn whichever_limit_comes_first_ends_an_open_run() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(total(100.0, limits(None, second)), 100);
        assert_eq!(total(100.0, limits(Some(7), second)), 7);
        assert_eq!(total(100.0, limits(Some(700), second)), 100);
        assert_eq!(total(0.1, limits(None, second)), 1);
        assert_eq!(total(100.0, limits(Some(7), None)), 7);
    }

    #[tokio::test]
    async fn a_closed_run_ends_at_its_count() {
        let mode = Mode::Sequential;
        let schedule = Schedule::new(mode, limits(Some(3), None), Instant::now());
        let numbers: Vec<_> = all(&schedule).await.iter().map(|start| start.number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(schedule.due(), 3);
    }

    #[tokio::test]
    async fn a_closed_run_ends_at_its_time() {
        let past = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let schedule = Schedule::new(Mode::Sequential, limits(None, Some(Duration::from_secs(1))), past);
        assert!(schedule.next().await.is_none());
    }

    #[tokio::test]
    async fn open_starts_are_evenly_spaced_and_never_early_however_late_they_are_taken() {
        let connections = 1.try_into().unwrap();
        let mode = Mode::Open {
            connections,
            rate: 1000.0,
        };
        let begin = Instant::now();
        let schedule = Schedule::new(mode, limits(Some(20), None), begin);
        let first = schedule.next().await.unwrap();
        // Nobody takes a start for a while: those that follow are due all the same.
        std::thread::sleep(Duration::from_millis(10));
        let mut starts = vec![first];
        while let Some(start) = schedule.next().await {
            assert!(start.at <= Instant::now());
            starts.push(start);
        }
        let offsets: Vec<_> = starts.iter().map(|start| (start.at - begin).as_micros()).collect();
        let expected: Vec<_> = (0..20).map(|number| number * 1000).collect();
        assert_eq!(offsets, expected);
    }
}
