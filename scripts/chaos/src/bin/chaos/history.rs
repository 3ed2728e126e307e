//! What happened in one scenario: every call, every fault, everything that ran and everything left behind. Collected
//! while it happens and never changed afterwards; judging reads nothing else.

use std::collections::HashMap;
use std::time::Duration;

use chaos::ledger::Run;
use chaos::nonce::Temper;
use serde::{Serialize, Serializer};

use crate::step::Step;
use crate::usage::Usage;

/// Everything about one run of a scenario. Times count from its beginning.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct History {
    pub(crate) calls: Vec<Call>,
    /// What was promised to callers who did not wait.
    pub(crate) promises: Vec<Promise>,
    pub(crate) events: Vec<Event>,
    /// In the JSON, those of requests that did not go the usual way.
    #[serde(rename = "unusual_runs", serialize_with = "Runs::unusual")]
    pub(crate) runs: Runs,
    /// Numbers of the requests that were set aside; `None` for a dead letter that is none of ours.
    pub(crate) dead_letters: Vec<Option<u64>>,
    /// Replies that came when nobody waited, by ingress that is still there.
    pub(crate) late_replies: Vec<(u32, u64)>,
    pub(crate) upstream: Vec<(Duration, u64)>,
    pub(crate) remains: Remains,
    /// Requests that began late because no caller was left to ask them.
    pub(crate) starved: u64,
    pub(crate) allowed: Allowed,
}

/// What a scenario breaks so thoroughly that it cannot hold it against the services.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Allowed {
    /// Calls may end in `outcome-unknown`: the way to Redis, or an ingress, is broken.
    pub(crate) outcome_unknown: bool,
    /// What is in flight at a FLUSHALL or XGROUP DESTROY is gone from Redis: its callers may be told so by a
    /// timeout, and it may be answered twice.
    pub(crate) destroyed: bool,
    /// Every ingress may be away at once.
    pub(crate) turned_away: bool,
}

/// One request and what its caller got.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) temper: Temper,
    pub(crate) via: Via,
    pub(crate) sent: Duration,
    pub(crate) took: Duration,
    pub(crate) end: End,
    /// Terminal answers that reached the caller.
    pub(crate) answers: u32,
}

/// A result that was promised, and what was got for it, at another door.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Promise {
    pub(crate) number: u64,
    pub(crate) wish: Wish,
    pub(crate) end: End,
}

/// What the caller wants, as far as the service has heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Wish {
    /// Its result.
    Kept,
    /// Nothing: the service has said that it will not run.
    Cancelled,
    /// Nothing, if it is not too late.
    Either,
}

/// Which way a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Via {
    /// Through this ingress process, over HTTP.
    Ingress(u32),
    /// Published by ourselves.
    Wire,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) enum End {
    /// Answered well, with its own nonce and all fields.
    Ok,
    /// Answered with another's nonce.
    Foreign(String),
    /// Answered with something that is no answer of ours.
    Damaged(String),
    /// Answered with a problem, by status and type.
    Problem(u16, &'static str),
    /// No connection could be made: nothing was sent.
    TurnedAway,
    /// The connection broke before the answer was there.
    Broken(String),
    /// No answer at all.
    Silent,
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
    /// A step of the schedule, and the ingress process it hit, where it hit one.
    Step(Step, Option<u32>),
    /// The highest rate of good answers, a second.
    Peak(f64),
    /// A process ended by itself, and with what.
    Died(String),
    /// A process that ended by itself was started again.
    Restarted(String),
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

/// The ledger by request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    by_number: HashMap<u64, Vec<Run>>,
    total: u64,
}

impl Runs {
    /// Sorts the runs that belong to `run` by their requests.
    pub(crate) fn of(run: u32, ledger: Vec<Run>) -> Self {
        let mut runs = Self::default();
        for line in ledger.into_iter().filter(|line| line.nonce.run == run) {
            runs.total += 1;
            runs.by_number.entry(line.nonce.number).or_default().push(line);
        }
        runs
    }

    /// How often a request ran.
    pub(crate) fn count(&self, number: u64) -> usize {
        self.by_number.get(&number).map_or(0, Vec::len)
    }

    /// The highest delivery in which a request ran; 0 when it did not.
    pub(crate) fn deliveries(&self, number: u64) -> u32 {
        let runs = self.by_number.get(&number).into_iter().flatten();
        runs.map(|run| run.delivery).max().unwrap_or(0)
    }

    /// Writes the runs of requests that ran more than once, or again.
    fn unusual<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unusual = |runs: &&Vec<Run>| runs.len() > 1 || runs.iter().any(|run| run.delivery > 1);
        serializer.collect_seq(self.by_number.values().filter(unusual).flatten())
    }

    /// All runs there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Requests that ran at all.
    pub(crate) fn distinct(&self) -> u64 {
        self.by_number.len() as u64
    }
}

impl Call {
    /// When the call was over.
    pub(crate) fn ended(&self) -> Duration {
        self.sent + self.took
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.end == End::Ok
    }

    /// Whether it was refused with an error that promises that nothing ran.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.end, End::Problem(400..=499 | 503, _) | End::TurnedAway)
    }

    /// Whether it ended in this type of problem, named by the end of its URI.
    pub(crate) fn is_problem(&self, name: &str) -> bool {
        matches!(self.end, End::Problem(_, kind) if kind.strip_prefix("/problems/") == Some(name))
    }

    /// Whether the service took it on.
    pub(crate) fn is_admitted(&self) -> bool {
        // The worker's own 503 comes after its admission.
        !self.is_refused() || self.is_problem("upstream-unavailable")
    }

    /// Whether it was under way at a moment.
    pub(crate) fn was_in_flight(&self, at: Duration) -> bool {
        self.sent <= at && at <= self.ended()
    }
}

impl History {
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
