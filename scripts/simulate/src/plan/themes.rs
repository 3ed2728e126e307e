//! What histories are about.

mod faults;
mod load;

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use super::calls::Calls;
use super::{Plan, Settings, between, millis, secs};
use crate::upstream::Deed;
use crate::weather::{Spell, Trouble};

pub(crate) use load::FICKLE;

/// What a history is mostly about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Nothing is broken.
    Calm,
    /// Everything may be.
    Storm,
    /// More is asked than can be done.
    Overload,
    /// Jobs beside callers.
    Jobs,
    /// What kills its workers beside what takes long.
    Poison,
    /// Instances leave while publishing is slow.
    Drain,
    /// An ingress stands still for longer than it may.
    Absence,
    /// The upstream is sick.
    Upstream,
    /// Many callers with few keys.
    Keys,
    /// There is no room.
    Full,
}

impl Theme {
    pub(crate) const ALL: [Self; 10] = [
        Self::Calm,
        Self::Storm,
        Self::Overload,
        Self::Jobs,
        Self::Poison,
        Self::Drain,
        Self::Absence,
        Self::Upstream,
        Self::Keys,
        Self::Full,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Storm => "storm",
            Self::Overload => "overload",
            Self::Jobs => "jobs",
            Self::Poison => "poison",
            Self::Drain => "drain",
            Self::Absence => "absence",
            Self::Upstream => "upstream",
            Self::Keys => "keys",
            Self::Full => "full",
        }
    }

    /// A history of this theme.
    pub(crate) fn plan(self, rng: &mut Rng) -> Plan {
        let mut plan = Plan {
            theme: self,
            ingresses: rng.usize(1..=3),
            workers: rng.usize(1..=4),
            settings: Settings {
                cancels: rng.bool(),
                lease: secs(rng.u64(2..=4)),
                ..Settings::default()
            },
            latency: millis(rng.u64(0..=4)),
            deeds: Vec::new(),
            moods: Vec::new(),
            asks: Vec::new(),
            blows: Vec::new(),
            spells: Vec::new(),
            end: secs(12),
        };
        let works = match self {
            Self::Calm => plan.mix(rng, 500),
            Self::Storm => faults::storm(&mut plan, rng),
            Self::Overload => load::overload(&mut plan, rng),
            Self::Jobs => load::jobs(&mut plan, rng),
            Self::Poison => faults::poison(&mut plan, rng),
            Self::Drain => faults::drain(&mut plan, rng),
            Self::Absence => faults::absence(&mut plan, rng),
            Self::Upstream => faults::upstream(&mut plan, rng),
            Self::Keys => load::keys(&mut plan, rng),
            Self::Full => load::full(&mut plan, rng),
        };
        plan.fill(works);
        plan
    }
}

impl Plan {
    fn places(&self) -> usize {
        self.ingresses + self.workers
    }

    /// Brings what was decided into order.
    fn fill(&mut self, works: u64) {
        self.deeds.resize(works as usize, Deed::Takes(Duration::ZERO));
        self.spells.resize(self.places(), Vec::new());
        self.asks.sort_by_key(|ask| ask.at);
        self.blows.sort_by_key(|(at, _)| *at);
    }

    /// About so many calls of all kinds, for work that is quick, mostly.
    fn mix(&mut self, rng: &mut Rng, count: u64) -> u64 {
        let end = self.end;
        self.calls(rng, |calls| {
            while (calls.asks.len() as u64) < count {
                let at = some_time(calls.rng, millis(0)..end);
                calls.anything(at);
            }
        });
        let works = self.asks.iter().map(|ask| ask.work + 1).max().unwrap_or(0);
        self.deeds = (0..works).map(|_| quick(rng)).collect();
        works
    }

    fn calls(&mut self, rng: &mut Rng, ask: impl FnOnce(&mut Calls<'_>)) {
        let works = self.asks.iter().map(|ask| ask.work + 1).max().unwrap_or(0);
        let mut calls = Calls {
            rng,
            doors: self.ingresses,
            asks: std::mem::take(&mut self.asks),
            works,
        };
        ask(&mut calls);
        self.asks = calls.asks;
    }

    /// Trouble for a place, at some time of the history.
    fn trouble(&mut self, rng: &mut Rng, place: usize, what: Trouble, longest: Duration) {
        self.spells.resize(self.places(), Vec::new());
        let begin = some_time(rng, millis(500)..self.end);
        let time = begin..begin + longest.mul_f64(0.2 + 0.8 * rng.f64());
        self.spells[place].push(Spell { time, what });
    }
}

fn some_time(rng: &mut Rng, range: Range<Duration>) -> Duration {
    range.start + (range.end - range.start).mul_f64(rng.f64())
}

/// Work that takes no time, or a little.
fn quick(rng: &mut Rng) -> Deed {
    match rng.u8(..40) {
        0..20 => Deed::Takes(Duration::ZERO),
        20..36 => Deed::Takes(between(rng, 1, 60)),
        36 | 37 => Deed::Takes(between(rng, 100, 900)),
        38 => Deed::FailsFirst(1, Duration::ZERO),
        _ => Deed::NotFound,
    }
}
