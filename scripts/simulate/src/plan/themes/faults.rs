//! Themes of what is broken.

use std::time::Duration;

use fastrand::Rng;

use super::some_time;
use crate::plan::calls::Wait;
use crate::plan::{Blow, Plan, between, millis, secs};
use crate::upstream::{Deed, Mood};
use crate::weather::{Call, Trouble};

pub(super) fn storm(plan: &mut Plan, rng: &mut Rng) -> u64 {
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

pub(super) fn poison(plan: &mut Plan, rng: &mut Rng) -> u64 {
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

pub(super) fn drain(plan: &mut Plan, rng: &mut Rng) -> u64 {
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

pub(super) fn absence(plan: &mut Plan, rng: &mut Rng) -> u64 {
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

pub(super) fn upstream(plan: &mut Plan, rng: &mut Rng) -> u64 {
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
