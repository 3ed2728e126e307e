//! A scenario on its way, from its empty Redis to its whole history, step by step.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use chaos::ledger;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clients::Clients;
use crate::cluster::Cluster;
use crate::following::follow;
use crate::foreign::Foreign;
use crate::history::{History, Promise, Runs};
use crate::journal::Journal;
use crate::nemesis::Nemesis;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::scenario::Plan;
use crate::settling::Settling;
use crate::traffic::Traffic;

/// Everything of one scenario. Its processes end with its value.
pub(crate) struct Stage {
    plan: Plan,
    progress: Progress,
    cluster: Cluster,
    /// When the load began, by either clock.
    begin: Instant,
    begun: SystemTime,
    traffic: Arc<Traffic>,
    journal: Arc<Journal>,
    clients: Clients,
    foreign: Foreign,
    _probing: DropGuard,
}

impl Stage {
    /// Starts all processes, and everybody who asks.
    pub(crate) async fn start(
        mut plan: Plan,
        seed: u64,
        programs: &Programs,
        progress: Progress,
    ) -> Result<Self, String> {
        let timeout = format!("{}ms", plan.request_timeout.as_millis());
        plan.setup.ingress.push(("REQUEST_TIMEOUT", timeout));
        let cluster = Cluster::start(programs, plan.setup.clone()).await?;
        let (begin, begun) = (Instant::now(), SystemTime::now());
        let traffic = Arc::new(Traffic::new(seed, plan.poison.clone()));
        let journal = Journal::new(begin);
        let probing = CancellationToken::new();
        tokio::spawn(probing.clone().run_until_cancelled_owned(cluster.front.clone().probe()));
        Ok(Self {
            clients: Clients::start(&plan, &cluster, &traffic, &journal)?,
            foreign: Foreign::start(plan.foreign, cluster.redis.address, &cluster.ledger())?,
            _probing: probing.drop_guard(),
            plan,
            progress,
            cluster,
            begin,
            begun,
            traffic,
            journal,
        })
    }

    /// Plays it to its end. `lane` is given back when it is not loud any more.
    pub(crate) async fn play(mut self, lane: impl Send, history: &mut History) -> Result<(), String> {
        let conducted = self.conduct(history).await;
        drop(lane);
        self.progress.say("asking for what was promised, at other doors");
        history.promises = self.follow().await;
        self.foreign.leave().await;
        let settled = match conducted {
            Ok(()) => self.settle(history).await,
            failed => failed,
        };
        settled.and(self.collect(history).await)
    }

    /// Does what the plan says, then waits for the last answers.
    async fn conduct(&mut self, history: &mut History) -> Result<(), String> {
        let mut nemesis = Nemesis {
            cluster: &mut self.cluster,
            callers: &self.clients.callers,
            wire: self.clients.wire.as_ref(),
            progress: &self.progress,
            begin: self.begin,
            events: Vec::new(),
            upstream: Vec::new(),
            peak: 0.0,
        };
        let conducted = nemesis.conduct(&self.plan.steps).await;
        self.progress.say("no load any more; waiting for the last answers");
        let finished = nemesis.tend_during(self.clients.finish()).await;
        history.events = nemesis.events;
        history.upstream = nemesis.upstream;
        conducted.and(finished)
    }

    /// Asks for what callers were told since they were last asked for it.
    async fn follow(&self) -> Vec<Promise> {
        follow(self.cluster.front.clone(), self.journal.clone()).await
    }

    /// Waits until nothing is left of the requests.
    async fn settle(&mut self, history: &mut History) -> Result<(), String> {
        let count = self.journal.len();
        self.progress
            .say(&format!("{count} requests; waiting until nothing is left of them"));
        let settling = Settling {
            cluster: &mut self.cluster,
            callers: &self.clients.callers,
            requesters: usize::from(self.clients.wire.is_some()),
            run: self.traffic.run(),
            journal: &self.journal,
            counters: self.plan.counters,
            begin: self.begin,
        };
        settling.settle(self.plan.settling, history).await
    }

    /// Notes what everybody has got, and what really ran.
    async fn collect(mut self, history: &mut History) -> Result<(), String> {
        history.starved = self.clients.starved();
        let left = self.clients.leave().await;
        history.promises.extend(self.follow().await);
        history.calls = self.journal.calls();
        history.pythons = std::mem::take(&mut self.cluster.pythons);
        history.issued = self.traffic.issued();
        let ledger = ledger::read(&self.cluster.ledger(), self.begun);
        let ledger = ledger.map_err(|error| format!("could not read the ledger: {error}"))?;
        history.runs = Runs::of(self.traffic.run(), ledger);
        left
    }
}
