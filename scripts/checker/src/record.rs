//! The record of a run: every call and its end, every promise, everything that ran, and when the run was disturbed.
//! Times count from its beginning.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use crate::nonce::Temper;
use crate::runs::Runs;

/// All that the rules read.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// One for each request.
    pub calls: Vec<Call>,
    /// One for each result that was asked for later.
    pub promises: Vec<Promise>,
    /// What the handlers did.
    pub runs: Runs,
    /// Numbers of the requests that were set aside; `None` for a dead letter that is none of ours.
    pub dead_letters: Vec<Option<u64>>,
    /// Replies that came when nobody waited, by ingress that is still there.
    pub late_replies: Vec<(u32, u64)>,
    /// How many numbers were handed out, from 1 on.
    pub issued: u64,
    /// The longest that a handler works on a request while nothing is disturbed.
    pub work: Duration,
    /// When the run was disturbed.
    pub disturbances: Disturbances,
}

/// What a run broke, and when: as much as excuses something. Times in which nothing is broken excuse nothing.
#[derive(Debug, Clone, Default)]
pub struct Disturbances {
    /// Times in which the broker was out of reach: a call that was under way may end in `outcome-unknown`, and a reply
    /// of the moment before may be read once more.
    pub uncertain: Vec<Range<Duration>>,
    /// When what was in flight was destroyed (`FLUSHALL`): its callers may be told so by a timeout, what was promised
    /// is gone, and it may run and be answered twice.
    pub destroyed: Vec<Duration>,
    /// When each ingress was killed that was, by instance.
    pub kills: HashMap<u32, Duration>,
    /// Times in which workers could not finish what they had in hand: it runs again elsewhere.
    pub interruptions: Vec<Interruption>,
    /// Times in which the upstream was sick: calls fail with it, and work is tried again within a delivery.
    pub upstream: Vec<Range<Duration>>,
}

/// A time in which a worker could not finish what it had in hand: killed, frozen, or cut off from the broker.
#[derive(Debug, Clone)]
pub struct Interruption {
    /// The worker, as in [`Run::worker`](crate::Run); `None` for all of them.
    pub worker: Option<u32>,
    /// When; the end of a worker is a moment.
    pub during: Range<Duration>,
}

/// One request and what its caller got.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// The request's number, of its nonce.
    pub number: u64,
    /// What the worker does with it.
    pub temper: Temper,
    /// The way it went.
    pub via: Via,
    /// When it was sent.
    pub sent: Duration,
    /// How long its caller waited for the end.
    pub took: Duration,
    /// How long the work may take: `Request-Timeout`, or what the ingress gives where there is none.
    pub budget: Duration,
    /// How long its caller wishes to wait at most: `Prefer: wait`, or the budget.
    pub wait: Duration,
    /// What its caller got.
    pub end: End,
    /// Terminal answers that reached the caller.
    pub answers: u32,
}

/// A Location that a caller was told, and what was got there.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// The request's number, of its nonce.
    pub number: u64,
    /// What its caller wants.
    pub wish: Wish,
    /// What was got at last.
    pub end: End,
    /// When that was got.
    pub heard: Duration,
}

/// What the caller wants, as far as the service has heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Wish {
    /// Its result.
    Kept,
    /// Nothing: the service has said that it will not run.
    Cancelled,
    /// Nothing, if it is not too late.
    Either,
    /// To know what became of it: its caller heard no more than that its outcome is unknown.
    Known,
}

/// Which way a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Via {
    /// Through this instance of an ingress.
    Ingress(u32),
    /// Published without an ingress.
    Wire,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum End {
    /// Answered well, with its own nonce and all fields.
    Ok,
    /// Answered with another's nonce.
    Foreign(String),
    /// Answered with something that is no answer of ours.
    Damaged(String),
    /// Not answered yet, and promised (202).
    Promised,
    /// Answered with a problem, by status and type (`/problems/…`).
    Problem(u16, &'static str),
    /// No connection could be made: nothing was sent.
    TurnedAway,
    /// The connection broke before the answer was there.
    Broken(String),
    /// Its caller hung up before there was an answer.
    Left,
    /// No answer at all.
    Silent,
    /// Nobody noted how it ended: whoever asked broke.
    Open,
}

impl End {
    /// Whether it is this type of problem, named by the end of its URI.
    #[must_use]
    pub fn is_problem(&self, name: &str) -> bool {
        self.problem() == Some(name)
    }

    /// The end of the problem's URI.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Problem(_, kind) => Some(kind.strip_prefix("/problems/").unwrap_or(kind)),
            _ => None,
        }
    }
}

impl Call {
    /// When the call was over.
    #[must_use]
    pub fn ended(&self) -> Duration {
        self.sent + self.took
    }

    /// Whether it was answered well: with its result, or with the promise of it.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.end, End::Ok | End::Promised)
    }

    /// Whether it was refused with an error that promises that nothing ran.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        // Who cancels may be too late for that.
        matches!(self.end, End::Problem(400..=499 | 503, _) | End::TurnedAway) && !self.is_problem("cancelled")
    }

    /// Whether it ended in this type of problem, named by the end of its URI.
    #[must_use]
    pub fn is_problem(&self, name: &str) -> bool {
        self.end.is_problem(name)
    }

    /// Whether the service took it on.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        // The worker's own 503 comes after its admission.
        !self.is_refused() || self.is_problem("upstream-unavailable")
    }

    /// From when it was sent until it was over.
    pub(crate) fn time(&self) -> Range<Duration> {
        self.sent..self.ended()
    }

    /// Whether it was under way at a moment.
    #[must_use]
    pub fn was_in_flight(&self, at: Duration) -> bool {
        self.sent <= at && at <= self.ended()
    }
}

impl Disturbances {
    /// Whether everything was destroyed within some time.
    pub(crate) fn destroyed(&self, time: &Range<Duration>) -> bool {
        self.destroyed.iter().any(|at| time.start <= *at && *at <= time.end)
    }

    /// Whether what a worker began at one moment may run again at another.
    pub(crate) fn interrupted(&self, worker: u32, time: &Range<Duration>) -> bool {
        let of_worker = |one: &&Interruption| one.worker.is_none_or(|one| one == worker);
        let mut interruptions = self.interruptions.iter().filter(of_worker);
        interruptions.any(|one| meet(&one.during, time))
    }
}

/// Whether two times have a moment in common, their ends included.
pub(crate) fn meet(one: &Range<Duration>, other: &Range<Duration>) -> bool {
    one.start <= other.end && other.start <= one.end
}
