//! Themes of how much is asked, and by whom.

use std::time::Duration;

use fastrand::Rng;

use super::{quick, some_time};
use crate::plan::calls::{Then, Wait};
use crate::plan::{Blow, Plan, between, millis, secs};
use crate::upstream::Deed;
use crate::weather::Trouble;

/// Until then callers hang up, where a history has such.
pub(crate) const FICKLE: Duration = secs(8);

/// How many can be done in a second is terminals by time: the machine is not the limit. Part of those who ask are cut
/// off or have more time than others, and none of that may be taken for work done, or not done.
pub(super) fn overload(plan: &mut Plan, rng: &mut Rng) -> u64 {
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
pub(super) fn jobs(plan: &mut Plan, rng: &mut Rng) -> u64 {
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

pub(super) fn keys(plan: &mut Plan, rng: &mut Rng) -> u64 {
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

pub(super) fn full(plan: &mut Plan, rng: &mut Rng) -> u64 {
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
