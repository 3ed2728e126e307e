//! What happened in one scenario: every call, every fault, everything that ran and everything left behind. Collected
//! while it happens and never changed afterwards; judging reads nothing else.

use std::time::Duration;

pub(crate) use checker::{Call, End, Promise, Runs, Via, Wish};
use serde::Serialize;
use testbed::Process;

use crate::step::Step;

/// Everything about one run of a scenario. Times count from its beginning.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct History {
    pub(crate) calls: Vec<Call>,
    /// Numbers that were handed out, from 1 on.
    pub(crate) issued: u64,
    /// Every Location that a caller was told, followed to its end.
    pub(crate) promises: Vec<Promise>,
    pub(crate) events: Vec<Event>,
    /// In the JSON, those of requests that did not go the usual way.
    #[serde(rename = "unusual_runs", serialize_with = "Runs::unusual")]
    pub(crate) runs: Runs,
    /// The workers in Python.
    pub(crate) pythons: Pythons,
    /// Numbers of the requests that were set aside; `None` for a dead letter that is none of ours.
    pub(crate) dead_letters: Vec<Option<u64>>,
    /// Replies that came when nobody waited, by ingress that is still there.
    pub(crate) late_replies: Vec<(u32, u64)>,
    /// Counters of the services that a scenario asked for, summed.
    pub(crate) counters: Vec<(&'static str, u64)>,
    pub(crate) upstream: Vec<(Duration, u64)>,
    pub(crate) remains: Remains,
    /// Requests that began late because no caller was left to ask them.
    pub(crate) starved: u64,
    pub(crate) allowed: Allowed,
}

/// Workers in Python: all that there were, by pid.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Pythons {
    pub(crate) pids: Vec<u32>,
    /// Why there were none where there should have been.
    pub(crate) missing: Option<String>,
}

/// What a scenario breaks so thoroughly that it cannot hold it against the services.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Allowed {
    /// Every ingress may be away at once.
    pub(crate) turned_away: bool,
}

/// Something that was done to the services, or that happened to them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    /// When it was done, where that takes time.
    pub(crate) done: Duration,
    pub(crate) what: What,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) enum What {
    /// A step of the schedule, and the process it hit, where it hit one: an ingress by its instance, a worker by its
    /// pid.
    Step(Step, Option<u32>),
    /// The highest rate of good answers, a second.
    Peak(f64),
    /// A process ended by itself, and with what.
    Died(String),
    /// A process that ended by itself was started again.
    Restarted(String),
    /// Which worker ended by itself.
    Lost(u32),
}

/// What is left when all callers have gone.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Remains {
    pub(crate) requests: u64,
    pub(crate) pending: u64,
    pub(crate) consumers: usize,
    pub(crate) stale_consumers: usize,
    pub(crate) live_workers: usize,
    pub(crate) reply_streams: usize,
    pub(crate) requesters: usize,
    pub(crate) live_ingresses: usize,
    /// Keys that should not be there, or not so; a sentence each.
    pub(crate) surplus: Vec<String>,
    pub(crate) growth: Vec<Growth>,
    /// How long it took until nothing was left that should not be; `None` when it did not come to that.
    pub(crate) settled: Option<Duration>,
    /// How long that was waited for.
    pub(crate) waited: Duration,
}

/// A surviving process, then and now.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Growth {
    pub(crate) process: String,
    pub(crate) before: Usage,
    pub(crate) after: Usage,
}

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

impl Usage {
    /// Of a process now; `None` when it is gone.
    pub(crate) fn of(process: &Process) -> Option<Self> {
        Some(Self {
            resident: process.resident().ok()?,
            descriptors: process.descriptors().ok()?,
        })
    }
}

impl History {
    /// A counter of the services; 0 where the scenario did not ask for it.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counter = self.counters.iter().find(|(known, _)| *known == name);
        counter.map_or(0, |(_, count)| *count)
    }

    /// The steps that were done, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Event, &Step)> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Step(step, _) => Some((event, step)),
            _ => None,
        })
    }

    /// How many faults were injected.
    pub(crate) fn faults(&self) -> usize {
        let poisons = self.calls.iter().filter(|call| call.temper.is_poison()).count();
        self.steps().filter(|(_, step)| step.is_fault()).count() + poisons
    }
}
