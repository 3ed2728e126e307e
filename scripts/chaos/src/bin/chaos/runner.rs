//! Runs one scenario from its empty Redis to its verdict. Whatever fails on the way, short of an expectation, is a
//! failure of the scenario too: a run that could not be judged has not passed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::Serialize;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::judging::{self, Judgement};
use crate::programs::Programs;
use crate::progress::Screen;
use crate::scenario::{Profile, Scenario};
use crate::stage::Stage;

/// Scenarios under load at the same time, where time is short.
pub(crate) const LANES: u32 = 2;

/// What all scenarios of a run share.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) programs: Programs,
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
    pub(crate) screen: Screen,
    /// Who may be loud. Waiting for the services to clean up is not.
    pub(crate) lanes: Arc<Semaphore>,
}

/// How a scenario went.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) id: &'static str,
    pub(crate) seed: u64,
    pub(crate) took: Duration,
    pub(crate) faults: usize,
    pub(crate) judgement: Judgement,
    pub(crate) opinion: Opinion,
    pub(crate) history: History,
}

impl Verdict {
    /// Every finding, the invariants first.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.judgement.findings.iter().chain(&self.opinion.findings)
    }

    pub(crate) fn passed(&self) -> bool {
        self.findings().all(|finding| finding.passed)
    }
}

/// Runs a scenario and judges it.
pub(crate) async fn run(run: Run, scenario: Scenario) -> Verdict {
    let seed = xxh3_64_with_seed(scenario.id.as_bytes(), run.seed);
    let plan = (scenario.plan)(run.profile, &mut Rng::with_seed(seed));
    let alone = scenario.alone || run.profile == Profile::Long;
    let lanes = match alone {
        _ if plan.light => 0,
        true => LANES,
        false => 1,
    };
    let lane = run.lanes.clone().acquire_many_owned(lanes).await;
    let lane = lane.expect("the lanes are never closed");
    let progress = run.screen.show(scenario.id);
    progress.say(scenario.about);
    let began = Instant::now();
    let mut history = History {
        allowed: plan.allowed,
        ..History::default()
    };
    let outcome = match Stage::start(plan, seed, &run.programs, progress).await {
        Ok(stage) => stage.play(lane, &mut history).await,
        Err(error) => Err(error),
    };
    // Judging a hundred thousand calls would hold up the load of the scenario beside this one.
    let judged = tokio::task::spawn_blocking(move || {
        let (judgement, opinion) = (judging::judge(&history), (scenario.judge)(&history));
        (history, judgement, opinion)
    });
    let (history, mut judgement, opinion) = judged.await.expect("judging does not panic");
    if let Err(error) = outcome {
        judgement
            .findings
            .push(Finding::new("the scenario could be played to its end", false, error));
    }
    Verdict {
        id: scenario.id,
        seed: run.seed,
        took: began.elapsed(),
        faults: history.faults(),
        judgement,
        opinion,
        history,
    }
}
