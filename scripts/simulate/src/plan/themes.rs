//! What histories are about.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use super::calls::{Calls, Then, Wait};
use super::{Blow, Plan, Settings, between, millis, secs};
use crate::upstream::{Deed, Mood};
use crate::weather::{Call, Spell, Trouble};

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
            Self::Storm => storm(&mut plan, rng),
            Self::Overload => overload(&mut plan, rng),
            Self::Jobs => jobs(&mut plan, rng),
            Self::Poison => poison(&mut plan, rng),
            Self::Drain => drain(&mut plan, rng),
            Self::Absence => absence(&mut plan, rng),
            Self::Upstream => upstream(&mut plan, rng),
            Self::Keys => keys(&mut plan, rng),
            Self::Full => full(&mut plan, rng),
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

fn storm(plan: &mut Plan, rng: &mut Rng) -> u64 {
    let works = plan.mix(rng, 450);
    for _ in 0..rng.usize(1..6) {
        let work = rng.usize(..works as usize);
        plan.deeds[work] = match rng.u8(..7) {
            0 => Deed::Panics,
            1 => Deed::Kills,
            2 => Deed::Hangs,
            3 => Deed::Fails,
            4 => Deed::Throttled(between(rng, 100, 1500)),
            _ => Deed::Takes(between(rng, 2000, 9000)),
        };
    }
    for _ in 0..rng.usize(1..8) {
        let place = rng.usize(..plan.places());
        let what = match rng.u8(..8) {
            0 => Trouble::Slow(None, millis(rng.u64(10..900))),
            1 => Trouble::Slow(Some(Call::Publish), millis(rng.u64(100..900))),
            2 | 3 => Trouble::Errors(0.05 + 0.5 * rng.f64()),
            4 => Trouble::Lost([Call::Settle, Call::Claim, Call::Publish][rng.usize(..3)], 0.5),
            5 => Trouble::Repeated(0.3),
            6 => Trouble::Full,
            _ => Trouble::Hole,
        };
        plan.trouble(rng, place, what, secs(3));
    }
    for _ in 0..rng.usize(0..5) {
        let at = some_time(rng, millis(500)..plan.end);
        let (ingress, worker) = (rng.usize(..plan.ingresses), rng.usize(..plan.workers));
        let time = between(rng, 200, 9000);
        let blow = match rng.u8(..7) {
            0 => Blow::KillIngress(ingress),
            1 => Blow::KillWorker(worker),
            2 => Blow::FreezeIngress(ingress, time),
            3 => Blow::FreezeWorker(worker, time),
            4 => Blow::RollIngress(ingress),
            5 => Blow::RollWorker(worker),
            _ => Blow::Clock(rng.i64(-90_000..90_000)),
        };
        plan.blows.push((at, blow));
    }
    works
}

/// Until then callers hang up, where a history has such.
pub(crate) const FICKLE: Duration = secs(8);

/// How many can be done in a second is terminals by time: the machine is not the limit. Part of those who ask are cut
/// off or have more time than others, and none of that may be taken for work done, or not done.
fn overload(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.ingresses = 1;
    plan.workers = rng.usize(1..=2);
    plan.settings.terminals = rng.u32(2..=6);
    plan.settings.request_timeout = secs(3);
    plan.end = secs(20);
    plan.settings.cancels = true;
    let time = between(rng, 150, 300);
    let capacity = plan.workers as f64 * f64::from(plan.settings.terminals) / time.as_secs_f64();
    let kind = rng.u8(..3);
    let end = plan.end;
    plan.calls(rng, |calls| {
        let (mut at, times) = (0.0, 1.5 + calls.rng.f64());
        while at < end.as_secs_f64() {
            let is_early = at < FICKLE.as_secs_f64();
            let rate = capacity * if kind == 0 && is_early { 5.0 } else { times };
            at += calls.rng.f64() * 2.0 / rate;
            let some = calls.rng.u8(..10);
            let patience = between(calls.rng, 20, 900);
            let ask = calls.plain(Duration::from_secs_f64(at));
            match kind {
                // They hang up, and what they asked for is cancelled, until others come who do not.
                0 if some < 9 && is_early => ask.then = Then::HangsUp(patience),
                // They have more time than the others.
                1 if some < 6 => ask.timeout = Some(12),
                _ => {}
            }
        }
    });
    let works = plan.asks.len() as u64;
    plan.deeds = vec![Deed::Takes(time); works as usize];
    works
}

/// Jobs come in a flood, and callers who wait in a trickle that is easily served.
fn jobs(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.ingresses = rng.usize(1..=2);
    plan.settings.terminals = rng.u32(4..=8);
    plan.settings.request_timeout = secs(6);
    plan.settings.max_in_flight = 4096;
    plan.end = secs(15);
    let time = between(rng, 200, 500);
    let capacity = plan.workers as f64 * f64::from(plan.settings.terminals) / time.as_secs_f64();
    let end = plan.end.as_secs_f64();
    plan.calls(rng, |calls| {
        let mut at = 0.0;
        while at < end {
            at += calls.rng.f64() * 2.0 / (capacity * 4.0).max(60.0);
            let ask = calls.plain(Duration::from_secs_f64(at));
            (ask.wait, ask.timeout) = (Wait::Not, Some(86_400));
        }
        let mut at = 2.0;
        while at < end {
            at += calls.rng.f64() * 2.0 / (capacity * 0.15);
            calls.plain(Duration::from_secs_f64(at));
        }
    });
    let works = plan.asks.len() as u64;
    plan.deeds = vec![Deed::Takes(time); works as usize];
    works
}

fn poison(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.workers = rng.usize(1..=2);
    plan.settings.terminals = rng.u32(2..=6);
    plan.settings.request_timeout = secs(40);
    plan.settings.job_timeout = secs(60);
    plan.settings.attempt_timeout = secs(60);
    plan.end = secs(30);
    let works = plan.mix(rng, 350);
    plan.asks.iter_mut().for_each(|ask| ask.timeout = None);
    for deed in &mut plan.deeds {
        if !matches!(deed, Deed::Takes(_)) {
            *deed = Deed::Takes(Duration::ZERO);
        }
    }
    for _ in 0..rng.usize(1..=2) {
        plan.deeds[rng.usize(..works as usize)] = Deed::Kills;
    }
    for _ in 0..rng.usize(1..=2) {
        plan.deeds[rng.usize(..works as usize)] = Deed::Takes(between(rng, 8000, 30_000));
    }
    works
}

fn drain(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.ingresses = rng.usize(1..=2);
    plan.settings.drain_timeout = between(rng, 2000, 8000);
    plan.settings.shutdown_delay = between(rng, 0, 500);
    let works = plan.mix(rng, 350);
    let end = plan.end;
    // Work that outlasts a drain, and those who follow it.
    plan.calls(rng, |calls| {
        for number in 0..calls.rng.u64(4..40) {
            let (at, lag) = (some_time(calls.rng, millis(0)..end), between(calls.rng, 1, 800));
            let ask = calls.plain(at);
            let work = ask.work;
            match number % 4 {
                0 => {
                    ask.key = Some(work);
                    calls.again(at + lag, work).key = Some(work);
                }
                1 => ask.wait = Wait::UpTo(8),
                2 => ask.wait = Wait::UpTo(1),
                _ => {}
            }
        }
    });
    let all = plan.asks.iter().map(|ask| ask.work + 1).max().unwrap_or(0);
    plan.deeds
        .extend((works..all).map(|_| Deed::Takes(between(rng, 1000, 5000))));
    for place in 0..plan.ingresses {
        if rng.bool() {
            let slow = Trouble::Slow(Some(Call::Publish), between(rng, 300, 2500));
            plan.trouble(rng, place, slow, secs(6));
        }
    }
    for _ in 0..rng.usize(1..=3) {
        let at = some_time(rng, millis(500)..plan.end);
        let blow = match rng.u8(..3) {
            0 => Blow::RollWorker(rng.usize(..plan.workers)),
            _ => Blow::RollIngress(rng.usize(..plan.ingresses)),
        };
        plan.blows.push((at, blow));
    }
    all
}

fn absence(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.ingresses = rng.usize(2..=3);
    plan.settings.request_timeout = secs(rng.u64(6..=30));
    plan.end = secs(6);
    let works = plan.mix(rng, 300);
    for deed in &mut plan.deeds {
        if rng.u8(..4) == 0 {
            *deed = Deed::Takes(between(rng, 300, 2000));
        }
    }
    let (at, victim) = (between(rng, 500, 5000), rng.usize(..plan.ingresses));
    match rng.u8(..3) {
        0 => plan.blows.push((at, Blow::KillIngress(victim))),
        _ => plan
            .blows
            .push((at, Blow::FreezeIngress(victim, between(rng, 50_000, 80_000)))),
    }
    works
}

fn upstream(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.workers = rng.usize(1..=2);
    plan.settings.terminals = rng.u32(4..=12);
    plan.settings.request_timeout = secs(4);
    plan.settings.attempt_timeout = secs(rng.u64(2..=8));
    plan.end = secs(25);
    let works = plan.mix(rng, 600);
    let begin = between(rng, 1000, 4000);
    let time = begin..begin + between(rng, 8000, 16_000);
    let deed = match rng.u8(..4) {
        0 | 1 => Deed::Hangs,
        2 => Deed::Fails,
        _ => Deed::Takes(between(rng, 3500, 4200)),
    };
    match rng.u8(..3) {
        // One who wants to be left alone for long, once.
        0 => {
            for _ in 0..rng.usize(1..4) {
                plan.deeds[rng.usize(..works as usize)] = Deed::Throttled(between(rng, 6000, 120_000));
            }
            plan.settings.job_timeout = secs(60);
        }
        _ => plan.moods.push(Mood { time, deed }),
    }
    works
}

fn keys(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.settings.max_in_flight = rng.u32(8..=24);
    plan.settings.max_followers = rng.u32(16..=64);
    plan.settings.request_timeout = secs(3);
    let end = plan.end;
    plan.calls(rng, |calls| {
        for _ in 0..calls.rng.usize(3..=8) {
            let begin = some_time(calls.rng, millis(0)..end);
            let first = calls.plain(begin);
            let work = first.work;
            (first.key, first.then) = (Some(work), Then::TriesAgain);
            for _ in 0..calls.rng.usize(5..80) {
                let at = begin + between(calls.rng, 0, 4000);
                let wait = if calls.rng.bool() {
                    Wait::ForAnswer
                } else {
                    Wait::UpTo(3)
                };
                let ask = calls.again(at, work);
                (ask.key, ask.wait) = (Some(work), wait);
            }
            // Who comes back much later, when its first try has long ended.
            for _ in 0..calls.rng.usize(0..3) {
                let at = begin + between(calls.rng, 4000, 9000);
                let ask = calls.again(at, work);
                (ask.key, ask.then) = (Some(work), Then::TriesAgain);
            }
        }
        for _ in 0..150 {
            let at = some_time(calls.rng, millis(0)..end);
            calls.plain(at);
        }
    });
    let works = plan.asks.iter().map(|ask| ask.work + 1).max().unwrap_or(0);
    plan.deeds = (0..works).map(|_| quick(rng)).collect();
    for ask in &plan.asks {
        if ask.key.is_some() {
            plan.deeds[ask.work as usize] = Deed::Takes(millis(500 + 37 * (ask.work % 60)));
        }
    }
    // Nobody works for a while: what waits runs out of time, and its keys are free again.
    if rng.bool() {
        for worker in 0..plan.workers {
            let at = between(rng, 500, 4000);
            plan.blows
                .push((at, Blow::FreezeWorker(worker, between(rng, 4000, 7000))));
        }
    }
    works
}

fn full(plan: &mut Plan, rng: &mut Rng) -> u64 {
    plan.settings.memory_limit = rng.usize(1 << 20..3 << 20);
    plan.settings.terminals = rng.u32(2..=6);
    let works = plan.mix(rng, 700);
    let at = between(rng, 500, 6000);
    plan.blows.push((at, Blow::FreezeWorker(0, between(rng, 500, 4000))));
    for place in 0..plan.ingresses {
        plan.trouble(rng, place, Trouble::Full, secs(3));
    }
    works
}
