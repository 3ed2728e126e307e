//! The rules that processes are judged by as well, on what a history and a run of processes have in common: requests
//! that one call made, for work that does not fail by itself.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use checker::nonce::{Nonce, Temper};
use checker::{Disturbances, End as Ended, Interruption, Promise, Record, Rule, Run, Runs, Via, Wish};
use roundtrip::http::problem::ProblemType;

use super::Case;
use crate::caller::{Answer, End};
use crate::log::{Told, Work};
use crate::plan::{Then, Wait, secs};
use crate::upstream::Deed;
use crate::world::{Call, Fate};

const RUN: u32 = 1;

pub(super) fn judge(case: &mut Case<'_>) {
    let works = alone(case);
    let record = Record {
        calls: works
            .iter()
            .map(|(number, call)| call_of(case, *number, call))
            .collect(),
        promises: promises(case, &works),
        runs: Runs::of(RUN, runs(case, &works)),
        dead_letters: letters(case, &works),
        late_replies: Vec::new(),
        issued: works.len() as u64,
        work: case.seen.took,
        disturbances: disturbances(case),
    };
    let work_of: HashMap<u64, Work> = works.iter().map(|(number, call)| (*number, call.ask.work)).collect();
    for violation in checker::judge(&record).violations {
        let work = violation.number.and_then(|number| work_of.get(&number).copied());
        let sentence = violation.sentence;
        case.breaks(name(violation.rule), work, sentence);
    }
}

/// The calls that nobody shares, numbered from 1 on.
fn alone<'a>(case: &Case<'a>) -> Vec<(u64, &'a Call)> {
    let mut calls: HashMap<Work, usize> = HashMap::new();
    for call in &case.seen.calls {
        *calls.entry(call.ask.work).or_default() += 1;
    }
    let plan = &case.seen.plan;
    let is_plain = |call: &&Call| {
        let deed = &plan.deeds[call.ask.work as usize];
        let is_work = matches!(deed, Deed::Takes(time) if *time < plan.settings.attempt_timeout);
        // A history judges for itself whether somebody could have answered in time.
        let is_told = match &call.end {
            Some((_, End::Answer(answer))) => answer.problem.as_deref() != Some("reply-timeout"),
            _ => true,
        };
        calls[&call.ask.work] == 1 && is_work && is_told
    };
    let plain = case.seen.calls.iter().filter(is_plain);
    plain.enumerate().map(|(at, call)| (at as u64 + 1, call)).collect()
}

fn call_of(case: &Case<'_>, number: u64, call: &Call) -> checker::Call {
    let settings = &case.seen.plan.settings;
    let budget = call.ask.timeout.map_or(
        match call.ask.wait {
            Wait::ForAnswer => settings.request_timeout,
            Wait::UpTo(_) | Wait::Not => settings.job_timeout,
        },
        secs,
    );
    let wait = match call.ask.wait {
        Wait::ForAnswer => budget,
        Wait::UpTo(seconds) => secs(seconds),
        Wait::Not => Duration::ZERO,
    };
    let (at, end) = match &call.end {
        Some((at, end)) => (*at, ended(call, end)),
        None => (case.seen.took, Ended::Silent),
    };
    checker::Call {
        number,
        temper: Temper::Good,
        via: Via::Ingress(instance(&call.via)),
        sent: call.sent,
        took: at - call.sent,
        budget: budget + call.ask.slow_body,
        wait,
        answers: u32::from(matches!(end, Ended::Ok)),
        end,
    }
}

fn ended(call: &Call, end: &End) -> Ended {
    match end {
        End::Answer(answer) => match (answer.status, answer.work) {
            (200, Some(work)) if work == call.ask.work => Ended::Ok,
            (200, Some(work)) => Ended::Foreign(work.to_string()),
            (200, None) => Ended::Damaged(answer.detail.clone()),
            (202, _) => Ended::Promised,
            _ => problem(answer),
        },
        End::Broken => Ended::Broken("its ingress is gone".to_owned()),
        End::HungUp => Ended::Left,
        End::TurnedAway => Ended::TurnedAway,
    }
}

fn problem(answer: &Answer) -> Ended {
    let name = answer.problem.as_deref().unwrap_or_default();
    let mut known = ProblemType::ALL.iter().map(|kind| kind.uri());
    match known.find(|uri| uri.rsplit('/').next() == Some(name)) {
        Some(uri) => Ended::Problem(answer.status, uri),
        None => Ended::Damaged(format!("status {}: {}", answer.status, answer.detail)),
    }
}

fn promises(case: &Case<'_>, works: &[(u64, &Call)]) -> Vec<Promise> {
    let fates: HashMap<_, _> = case.seen.fates.iter().map(|(id, fate)| (*id, fate)).collect();
    let promise = |(number, call): &(u64, &Call)| {
        let Some((_, End::Answer(answer))) = &call.end else {
            return None;
        };
        let id = answer.location?;
        let wish = match call.ask.then {
            Then::Cancels(_) if case.seen.cancelled.contains(&id) => Wish::Cancelled,
            Then::Cancels(_) => Wish::Either,
            _ if answer.status == 504 => Wish::Known,
            _ => Wish::Kept,
        };
        let uri = |kind: ProblemType| kind.uri();
        let end = match fates.get(&id)? {
            Fate::Ended(state) => match state.as_str() {
                "succeeded" => Ended::Ok,
                "expired" => Ended::Problem(504, uri(ProblemType::Expired)),
                "cancelled" => Ended::Problem(409, uri(ProblemType::Cancelled)),
                _ => Ended::Problem(502, uri(ProblemType::UpstreamFailed)),
            },
            Fate::Unknown => Ended::Problem(404, uri(ProblemType::UnknownRequest)),
            Fate::Open(_) => return None,
        };
        Some(Promise {
            number: *number,
            wish,
            end,
            heard: case.seen.took,
        })
    };
    works.iter().filter_map(promise).collect()
}

fn runs(case: &Case<'_>, works: &[(u64, &Call)]) -> Vec<Run> {
    let of = |(number, call): &(u64, &Call)| {
        let number = *number;
        let runs = case.facts(call.ask.work).runs;
        runs.into_iter().map(move |run| Run {
            nonce: Nonce {
                temper: Temper::Good,
                run: RUN,
                number,
            },
            delivery: run.delivery,
            worker: instance(&run.instance),
            at: run.began,
        })
    };
    works.iter().flat_map(of).collect()
}

fn letters(case: &Case<'_>, works: &[(u64, &Call)]) -> Vec<Option<u64>> {
    let is_letter = |(_, call): &&(u64, &Call)| {
        let settled = case.facts(call.ask.work).settled;
        settled.iter().any(|one| one.told == Told::Letter)
    };
    works
        .iter()
        .filter(is_letter)
        .map(|(number, _)| Some(*number))
        .collect()
}

/// The number of an instance, which its name ends in.
fn instance(name: &str) -> u32 {
    let number = name.rsplit('.').next().and_then(|number| number.parse().ok());
    number.unwrap_or_default()
}

fn disturbances(case: &Case<'_>) -> Disturbances {
    let (seen, plan) = (case.seen, &case.seen.plan);
    let until = |time: &Range<Duration>| time.start..time.end.min(seen.took).saturating_add(secs(4));
    let spells = plan.spells.iter().flatten().map(|spell| until(&spell.time));
    let halts = || seen.halts.iter();
    let kills = halts().filter(|(_, time)| time.end == Duration::MAX);
    let halted = halts().map(|(name, time)| Interruption {
        worker: Some(instance(name)),
        during: until(time),
    });
    let cut_off = spells.clone().map(|during| Interruption { worker: None, during });
    // What a worker hands back when it leaves runs again elsewhere.
    let rolled = plan
        .blows
        .iter()
        .filter(|(_, blow)| matches!(blow, crate::plan::Blow::RollWorker(_)));
    let rolled = rolled.map(|(at, _)| Interruption {
        worker: None,
        during: *at..*at + plan.settings.drain_timeout + secs(4),
    });
    // What some work does to the upstream is told to other work as well: its circuit opens.
    let harmless = |deed: &Deed| {
        matches!(deed, Deed::Takes(time) if *time < plan.settings.attempt_timeout) || *deed == Deed::NotFound
    };
    let is_sick = !plan.moods.is_empty() || !plan.deeds.iter().all(harmless);
    Disturbances {
        uncertain: spells.chain(halts().map(|(_, time)| until(time))).collect(),
        destroyed: Vec::new(),
        kills: kills.map(|(name, time)| (instance(name), time.start)).collect(),
        interruptions: halted.chain(cut_off).chain(rolled).collect(),
        upstream: is_sick.then_some(Duration::ZERO..seen.took).into_iter().collect(),
    }
}

fn name(rule: Rule) -> &'static str {
    rule.expected()
}
