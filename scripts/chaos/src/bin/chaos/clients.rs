//! Everybody who asks in a scenario, in each of the ways there are.

use std::sync::Arc;
use std::time::Duration;

use crate::callers::Callers;
use crate::cluster::Cluster;
use crate::journal::Journal;
use crate::promises::Promises;
use crate::scenario::Plan;
use crate::step::Load;
use crate::traffic::Traffic;
use crate::wire::{self, Wire};
use crate::wishes::Wishes;

/// All of them. End with their value.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Those whose number the steps change.
    pub(crate) callers: Callers,
    /// Callers with wishes of their own, all the time.
    wishing: Vec<Callers>,
    promises: Option<Promises>,
    pub(crate) wire: Option<Wire>,
    /// How long the last answers on the wire may take.
    patience: Duration,
}

impl Clients {
    /// Starts them; the callers ask nothing yet.
    pub(crate) fn start(
        plan: &Plan,
        cluster: &Cluster,
        traffic: &Arc<Traffic>,
        journal: &Arc<Journal>,
    ) -> Result<Self, String> {
        let (front, budget) = (&cluster.front, plan.request_timeout);
        let shared = || (front.clone(), traffic.clone(), journal.clone());
        let callers = |wishes| Callers::start(shared(), budget, plan.grace, wishes);
        let wishing = |wishes: &Wishes| {
            let wishing = callers(wishes.clone());
            wishing.set(Load::Open(wishes.rate));
            wishing
        };
        let wire = wire::Plan {
            url: cluster.redis.url(),
            rate: plan.wire,
            budget: plan.wire_budget.unwrap_or(budget),
        };
        let promised = (plan.promised, plan.some_wait);
        Ok(Self {
            callers: callers(Wishes::default()),
            wishing: plan.wishes.iter().map(wishing).collect(),
            promises: (plan.promised > 0.0).then(|| Promises::start(shared(), promised)),
            wire: (plan.wire > 0.0)
                .then(|| Wire::start(wire, traffic.clone(), journal.clone()))
                .transpose()?,
            patience: budget + plan.grace,
        })
    }

    /// Asks nothing more, and waits until everybody has an answer, or has lost patience.
    pub(crate) async fn finish(&self) {
        for wishing in &self.wishing {
            wishing.set(Load::Idle);
        }
        self.callers.finish().await;
        for wishing in &self.wishing {
            wishing.finish().await;
            wishing.hang_up();
        }
        if let Some(promises) = &self.promises {
            promises.finish().await;
        }
        if let Some(wire) = &self.wire {
            wire.finish(self.patience).await;
        }
    }

    /// Requests that began late because no caller was left to ask them.
    pub(crate) fn starved(&self) -> u64 {
        let all = self.wishing.iter().chain([&self.callers]);
        all.map(Callers::starved).sum()
    }

    /// Removes the reply stream of those on the wire.
    pub(crate) async fn leave(&mut self) -> Result<(), String> {
        match self.wire.take() {
            Some(wire) => wire.leave().await,
            None => Ok(()),
        }
    }
}
