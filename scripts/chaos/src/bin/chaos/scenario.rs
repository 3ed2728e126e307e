//! What a scenario is: what runs, what is asked, what is broken when, and what is expected of the services then. Each
//! has a file of its own, and no random choice that does not come from its seed.

mod black_hole;
mod clock_step;
mod freeze_ingress;
mod freeze_worker;
mod full_memory;
mod hang_ups;
mod jobs_beside_callers;
mod kill_ingress;
mod kill_worker;
mod long_beside_poison;
mod lose_group;
mod mixed_fleet;
mod overload;
mod paused_redis;
mod poison;
mod restart_redis;
mod rolling_restart;
mod sick_upstream;
mod slow_publish;

use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;

use crate::callers::GRACE;
use crate::cluster::Setup;
use crate::finding::Opinion;
use crate::history::{Allowed, History};
use crate::step::Step;
use crate::traffic::Poison;
use crate::wishes::Wishes;

/// How thorough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// All scenarios in about four minutes
    Ci,
    /// Half an hour and 1.8 million messages
    Long,
}

impl Profile {
    /// One value for each profile.
    pub(crate) fn pick<T>(self, ci: T, long: T) -> T {
        match self {
            Self::Ci => ci,
            Self::Long => long,
        }
    }
}

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    /// What is broken, in a sentence.
    pub(crate) about: &'static str,
    /// Whether it needs the machine for itself.
    pub(crate) alone: bool,
    pub(crate) plan: fn(Profile, &mut Rng) -> Plan,
    /// What is expected besides the invariants.
    pub(crate) judge: fn(&History) -> Opinion,
}

/// One run of a scenario, with all choices made.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
    pub(crate) poison: Poison,
    /// Requests a second that go past the ingresses.
    pub(crate) wire: f64,
    /// How long those are worth working on; `None` for as long as those of callers.
    pub(crate) wire_budget: Option<Duration>,
    /// Calls a second whose callers do not wait.
    pub(crate) promised: f64,
    /// Whether some of those wait for a second, without a key: with Redis away, nobody can promise them anything.
    pub(crate) some_wait: bool,
    /// Callers with wishes of their own, all the time.
    pub(crate) wishes: Vec<Wishes>,
    /// Workers of another make.
    pub(crate) foreign: usize,
    /// How much longer than they wait callers stay: whoever is not told by then is never told.
    pub(crate) grace: Duration,
    /// Whether it asks so little, for so long, that it runs beside all others.
    pub(crate) light: bool,
    /// REQUEST_TIMEOUT of the ingresses.
    pub(crate) request_timeout: Duration,
    pub(crate) allowed: Allowed,
    /// Counters of the services that are judged.
    pub(crate) counters: &'static [&'static str],
    /// How long cleaning up may take.
    pub(crate) settling: Duration,
}

impl Scenario {
    /// Whether some of its workers are in Python.
    pub(crate) fn has_python(&self, profile: Profile) -> bool {
        (self.plan)(profile, &mut Rng::with_seed(0)).setup.python > 0
    }

    /// How long cleaning up may take.
    pub(crate) fn settling(&self, profile: Profile) -> Duration {
        (self.plan)(profile, &mut Rng::with_seed(0)).settling
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            setup: Setup::default(),
            steps: Vec::new(),
            poison: Poison::default(),
            wire: 0.0,
            wire_budget: None,
            promised: 0.0,
            some_wait: false,
            wishes: Vec::new(),
            foreign: 0,
            grace: GRACE,
            light: false,
            request_timeout: Duration::from_secs(30),
            allowed: Allowed::default(),
            counters: &[],
            // Two leases of a dead worker, and a turn of whoever looks for it.
            settling: Duration::from_secs(20),
        }
    }
}

/// All scenarios, in the order of the table.
pub(crate) const ALL: [Scenario; 19] = [
    kill_worker::SCENARIO,
    freeze_worker::SCENARIO,
    kill_ingress::SCENARIO,
    restart_redis::SCENARIO,
    black_hole::SCENARIO,
    lose_group::SCENARIO,
    poison::SCENARIO,
    overload::SCENARIO,
    sick_upstream::SCENARIO,
    rolling_restart::SCENARIO,
    slow_publish::SCENARIO,
    freeze_ingress::SCENARIO,
    full_memory::SCENARIO,
    long_beside_poison::SCENARIO,
    jobs_beside_callers::SCENARIO,
    hang_ups::SCENARIO,
    mixed_fleet::SCENARIO,
    clock_step::SCENARIO,
    paused_redis::SCENARIO,
];

/// Whole seconds.
const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A wait of `time`, give or take a fifth.
fn about(time: Duration, rng: &mut Rng) -> Step {
    Step::Wait(time.mul_f64(0.8 + 0.4 * rng.f64()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Those in which what is asked is the fault.
    const BROKEN_BY_CALLERS: [&str; 5] = [
        "poison",
        "long-beside-poison",
        "jobs-beside-callers",
        "hang-ups",
        "mixed-fleet",
    ];

    #[test]
    fn every_scenario_has_an_id_and_a_schedule_that_its_seed_repeats() {
        let ids: HashSet<_> = ALL.iter().map(|scenario| scenario.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for scenario in ALL {
            for profile in [Profile::Ci, Profile::Long] {
                let steps = || (scenario.plan)(profile, &mut Rng::with_seed(7)).steps;
                assert_eq!(steps(), steps(), "{}", scenario.id);
                assert!(steps().iter().any(Step::is_fault) || BROKEN_BY_CALLERS.contains(&scenario.id));
            }
        }
    }
}
