//! Beside ours there are workers of another make, which know nothing of records: they answer whoever asked, and that is
//! all. What was promised, or has a key, ends all the same, and who asks again hears what was done.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::foreign;
use crate::history::{End, History};
use crate::step::{Load, Step};
use crate::wishes::{Prefer, Wishes};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "mixed-fleet",
    about: "workers of another make beside ours, which know nothing of records",
    alone: false,
    plan,
    judge,
};

/// A request waits for nobody.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

fn plan(profile: Profile, _: &mut Rng) -> Plan {
    let wishes = |prefer, is_keyed| Wishes {
        prefer,
        is_keyed,
        rate: profile.pick(40.0, 60.0),
        ..Wishes::default()
    };
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 1,
            worker: vec![("SIMULATED_LATENCY", "10ms..40ms".to_owned())],
            ..Setup::default()
        },
        steps: vec![
            Step::Load(Load::Open(60.0)),
            Step::Wait(profile.pick(secs(10), secs(60))),
        ],
        foreign: 4,
        wishes: vec![
            wishes(Prefer::Answer, true),
            wishes(Prefer::Async, false),
            wishes(Prefer::Async, true),
        ],
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let by_them = |number: u64| history.runs.of_request(number).iter().any(foreign::did);
    let promised = history
        .promises
        .iter()
        .filter(|promise| by_them(promise.number))
        .count();
    let all = history.calls.iter().filter(|call| by_them(call.number)).count();
    let took: Vec<_> = history.calls.iter().map(|call| call.took).collect();
    let kept = history.promises.iter().filter(|promise| promise.end == End::Ok).count();
    Opinion {
        findings: vec![
            Finding::new(
                "both makes worked",
                all > 0 && all < history.calls.len(),
                format!("they did {all} of {}", history.calls.len()),
            ),
            expect::was_hit("also on what was promised or has a key", promised),
            expect::all_ok(history),
            Finding::within("within 2 s", ANSWERED_WITHIN, &took),
            Finding::new(
                "who asked again heard the result",
                kept > 0 && kept == history.promises.len(),
                format!("{kept} of {}", history.promises.len()),
            ),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
        ],
        recoveries: Vec::new(),
    }
}
