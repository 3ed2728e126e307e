//! A world of its own: ingresses, a queue and terminals in steps of a millisecond, on instants that no clock
//! has to reach. What a test reads from it is what operators and callers would see.

use std::collections::VecDeque;
use std::time::Duration;

use roundtrip::broker::Depth;
use roundtrip::observe::health::Sample;
use tokio::time::Instant;

use super::{TICK, caller, job};
use crate::admission::{Admission, Entrant, Follower, Rejection};

/// How many ticks from one sample to the next.
const SAMPLE: u32 = 200;

/// What became of the requests since it was last looked at.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Count {
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) served: u64,
    pub(super) expired: u64,
}

pub(super) struct World<'a> {
    ingresses: Vec<Follower<'a>>,
    now: Instant,
    tick: u32,
    timeout: Duration,
    pub(super) counts_completed: bool,
    /// Whether workers say what they discard.
    pub(super) counts_discarded: bool,
    /// Whether anybody waits for answers, and so knows what expired.
    pub(super) is_waited_for: bool,
    pub(super) queue: VecDeque<(Instant, Entrant)>,
    /// Those who wait for an answer, by when they came, to which ingress and behind how many, until their time is over.
    callers: VecDeque<(Instant, usize, u64)>,
    /// How many requests have joined the queue, and left it, since the beginning.
    joined: u64,
    taken: u64,
    /// When each of the terminals has done its job.
    pub(super) terminals: Vec<Option<Instant>>,
    pub(super) job: Duration,
    completed: u64,
    discarded: u64,
    arrivals: [f64; 2],
    /// Jobs per second that come beside those who wait, and what became of them.
    pub(super) jobs: f64,
    pub(super) job_count: Count,
    turn: usize,
    pub(super) longest_wait: Duration,
    pub(super) refusal: Option<Rejection>,
    count: Count,
}

impl<'a> World<'a> {
    pub(super) fn new(admissions: &'a [Admission], terminals: usize, job: Duration) -> Self {
        let now = Instant::now();
        Self {
            ingresses: admissions
                .iter()
                .map(|admission| Follower::new(admission, now))
                .collect(),
            now,
            tick: 0,
            timeout: admissions[0].limits.request_timeout,
            counts_completed: true,
            counts_discarded: true,
            is_waited_for: true,
            queue: VecDeque::new(),
            callers: VecDeque::new(),
            joined: 0,
            taken: 0,
            terminals: vec![None; terminals],
            job,
            completed: 0,
            discarded: 0,
            arrivals: [0.0; 2],
            jobs: 0.0,
            job_count: Count::default(),
            turn: 0,
            longest_wait: Duration::ZERO,
            refusal: None,
            count: Count::default(),
        }
    }

    /// Requests of `rate` per second for a time, spread over the ingresses; what became of them meanwhile.
    pub(super) fn run(&mut self, time: Duration, rate: f64) -> Count {
        for _ in 0..time.as_millis() {
            let timeout = self.timeout;
            for (kind, (rate, entrant)) in [(rate, caller(timeout)), (self.jobs, job())].into_iter().enumerate() {
                self.arrivals[kind] += rate / 1000.0;
                while self.arrivals[kind] >= 1.0 {
                    self.arrivals[kind] -= 1.0;
                    self.arrive(entrant);
                }
            }
            self.work();
            self.leave();
            self.now += TICK;
            self.tick += 1;
            self.sample();
        }
        std::mem::take(&mut self.count)
    }

    fn count(&mut self, entrant: Entrant) -> &mut Count {
        if entrant.is_job {
            &mut self.job_count
        } else {
            &mut self.count
        }
    }

    fn arrive(&mut self, entrant: Entrant) {
        let ingress = self.turn % self.ingresses.len();
        self.turn += 1;
        match self.ingresses[ingress].admission.admit(self.now, entrant) {
            Ok(()) => {
                self.queue.push_back((self.now, entrant));
                if self.is_waited_for && !entrant.is_job {
                    self.callers.push_back((self.now, ingress, self.joined));
                }
                self.joined += 1;
                self.count(entrant).admitted += 1;
            }
            Err(refusal) => {
                self.refusal = Some(refusal);
                self.count(entrant).refused += 1;
            }
        }
    }

    /// Callers leave when their time is over; those that still wait then were not answered.
    fn leave(&mut self) {
        while let Some((_, ingress, place)) = self
            .callers
            .pop_front_if(|(since, ..)| self.now - *since >= self.timeout)
        {
            if place >= self.taken {
                self.ingresses[ingress].admission.count_expired();
            }
        }
    }

    fn work(&mut self) {
        for terminal in &mut self.terminals {
            if terminal.is_some_and(|done| done <= self.now) {
                *terminal = None;
                self.completed += 1;
            }
            while terminal.is_none()
                && let Some((since, entrant)) = self.queue.pop_front()
            {
                self.taken += 1;
                let wait = self.now - since;
                let count = if entrant.is_job {
                    &mut self.job_count
                } else {
                    &mut self.count
                };
                if wait > entrant.budget {
                    count.expired += 1;
                    self.completed += 1;
                    self.discarded += u64::from(self.counts_discarded);
                    continue;
                }
                count.served += 1;
                if !entrant.is_job {
                    self.longest_wait = self.longest_wait.max(wait);
                }
                *terminal = Some(self.now + self.job);
            }
        }
    }

    /// Each ingress samples at another moment.
    fn sample(&mut self) {
        let depth = Depth {
            waiting: self.queue.len() as u64,
            claimed: self.terminals.iter().flatten().count() as u64,
            oldest_waiting: self.queue.front().map(|(since, _)| self.now - *since),
            completed: self.counts_completed.then_some(self.completed),
            discarded: self.discarded,
            bytes: self.queue.iter().map(|(_, entrant)| entrant.bytes).sum(),
            ..Depth::default()
        };
        let sample = Sample {
            depth,
            taken: Some(self.now),
        };
        let (tick, now, count) = (self.tick, self.now, self.ingresses.len() as u32);
        for (number, ingress) in self.ingresses.iter_mut().enumerate() {
            if tick % SAMPLE == number as u32 * SAMPLE / count {
                ingress.take(&sample, 0, now);
            }
        }
    }
}
