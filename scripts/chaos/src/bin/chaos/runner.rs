//! Runs one scenario from its empty Redis to its verdict. Whatever fails on the way, short of an expectation, is a
//! failure of the scenario too: a run that could not be judged has not passed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chaos::ledger;
use fastrand::Rng;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::callers::Callers;
use crate::cluster::Cluster;
use crate::finding::{Finding, Opinion};
use crate::following::follow;
use crate::foreign::Foreign;
use crate::history::{History, Runs};
use crate::journal::Journal;
use crate::judging::{self, Judgement};
use crate::nemesis::Nemesis;
use crate::programs::Programs;
use crate::progress::{Progress, Screen};
use crate::promises::Promises;
use crate::scenario::{Plan, Profile, Scenario};
use crate::settling::Settling;
use crate::step::Load;
use crate::traffic::Traffic;
use crate::wire::{self, Wire};
use crate::wishes::Wishes;

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
    let stage = Stage {
        plan,
        seed,
        progress,
        history: &mut history,
    };
    let outcome = stage.play(&run.programs, lane).await;
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

struct Stage<'a> {
    plan: Plan,
    seed: u64,
    progress: Progress,
    history: &'a mut History,
}

impl Stage<'_> {
    async fn play(self, programs: &Programs, lane: impl Send) -> Result<(), String> {
        let Self {
            mut plan,
            seed,
            progress,
            history,
        } = self;
        let timeout = format!("{}ms", plan.request_timeout.as_millis());
        plan.setup.ingress.push(("REQUEST_TIMEOUT", timeout));
        let mut cluster = Cluster::start(programs, plan.setup).await?;
        let (begin, begun) = (Instant::now(), SystemTime::now());
        let traffic = Arc::new(Traffic::new(seed, plan.poison));
        let journal = Journal::new(begin);
        let budget = plan.request_timeout;
        let front = cluster.front.clone();
        let probing = CancellationToken::new();
        tokio::spawn(probing.clone().run_until_cancelled_owned(front.clone().probe()));
        let _probing = probing.drop_guard();
        let grace = plan.grace;
        let start = |wishes| Callers::start(front.clone(), traffic.clone(), journal.clone(), budget, grace, wishes);
        let callers = start(Wishes::default());
        let wishing: Vec<_> = plan
            .wishes
            .into_iter()
            .map(|wishes| (wishes.rate, start(wishes)))
            .collect();
        for (rate, wishing) in &wishing {
            wishing.set(Load::Open(*rate));
        }
        let wire = wire::Plan {
            url: format!("redis://{}", cluster.redis.address),
            rate: plan.wire,
            budget: plan.wire_budget.unwrap_or(budget),
        };
        let wire = (plan.wire > 0.0)
            .then(|| Wire::start(wire, traffic.clone(), journal.clone()))
            .transpose()?;

        let promised = (plan.promised, plan.some_wait);
        let promises =
            (plan.promised > 0.0).then(|| Promises::start(front.clone(), traffic.clone(), journal.clone(), promised));

        let foreign = Foreign::start(plan.foreign, cluster.redis.address, &cluster.ledger())?;
        let mut conductor = Nemesis {
            cluster: &mut cluster,
            callers: &callers,
            wire: wire.as_ref(),
            progress: &progress,
            begin,
            events: Vec::new(),
            upstream: Vec::new(),
            peak: 0.0,
        };
        let conducted = conductor.conduct(&plan.steps).await;
        progress.say("no load any more; waiting for the last answers");
        let finished = conductor
            .tend_during(async {
                for (_, wishing) in &wishing {
                    wishing.set(Load::Idle);
                }
                callers.finish().await;
                for (_, wishing) in &wishing {
                    wishing.finish().await;
                    wishing.hang_up();
                }
                if let Some(promises) = &promises {
                    promises.finish().await;
                }
                if let Some(wire) = &wire {
                    wire.finish(budget + grace).await;
                }
            })
            .await;
        history.events = std::mem::take(&mut conductor.events);
        history.upstream = std::mem::take(&mut conductor.upstream);
        let ended = conducted.and(finished);
        drop(lane);
        progress.say("asking for what was promised, at other doors");
        history.promises = follow(front.clone(), journal.clone()).await;
        foreign.leave().await;

        let settled = match ended {
            Ok(()) => {
                let settling = Settling {
                    cluster: &mut cluster,
                    callers: &callers,
                    requesters: usize::from(wire.is_some()),
                    run: traffic.run(),
                    journal: &journal,
                    counters: plan.counters,
                    begin,
                };
                progress.say(&format!(
                    "{} requests; waiting until nothing is left of them",
                    journal.len()
                ));
                settling.settle(plan.settling, history).await
            }
            error => error,
        };
        history.starved = callers.starved() + wishing.iter().map(|(_, wishing)| wishing.starved()).sum::<u64>();
        let left = match wire {
            Some(wire) => wire.leave().await,
            None => Ok(()),
        };
        history.promises.extend(follow(front, journal.clone()).await);
        history.calls = journal.calls();
        history.pythons = cluster.pythons.clone();
        history.issued = traffic.issued();
        let ledger =
            ledger::read(&cluster.ledger(), begun).map_err(|error| format!("could not read the ledger: {error}"))?;
        history.runs = Runs::of(traffic.run(), ledger);
        settled.and(left)
    }
}
