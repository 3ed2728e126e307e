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
    /// When the run was disturbed.
    pub disturbances: Disturbances,
}

/// What a run broke, and when: as much as excuses something.
#[derive(Debug, Clone, Default)]
pub struct Disturbances {
    /// Times in which a request may get lost on its way to the broker, so that calls end in `outcome-unknown`.
    pub uncertain: Vec<Range<Duration>>,
    /// When what was in flight was destroyed (`FLUSHALL`): its callers may be told so by a timeout, and it may be
    /// answered twice.
    pub destroyed: Vec<Duration>,
    /// When each ingress was killed that was, by instance.
    pub kills: HashMap<u32, Duration>,
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
    /// What its caller got.
    pub end: End,
    /// Terminal answers that reached the caller.
    pub answers: u32,
}

/// A result that was promised, and what was got for it.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// The request's number, of its nonce.
    pub number: u64,
    /// What its caller wants.
    pub wish: Wish,
    /// What was got for it.
    pub end: End,
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
    /// Answered with a problem, by status and type (`/problems/…`).
    Problem(u16, &'static str),
    /// No connection could be made: nothing was sent.
    TurnedAway,
    /// The connection broke before the answer was there.
    Broken(String),
    /// No answer at all.
    Silent,
}

impl End {
    /// Whether it is this type of problem, named by the end of its URI.
    #[must_use]
    pub fn is_problem(&self, name: &str) -> bool {
        matches!(self, Self::Problem(_, kind) if kind.strip_prefix("/problems/") == Some(name))
    }
}

impl Call {
    /// When the call was over.
    #[must_use]
    pub fn ended(&self) -> Duration {
        self.sent + self.took
    }

    /// Whether it was answered well.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.end == End::Ok
    }

    /// Whether it was refused with an error that promises that nothing ran.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.end, End::Problem(400..=499 | 503, _) | End::TurnedAway)
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

    /// Whether it was under way at a moment.
    #[must_use]
    pub fn was_in_flight(&self, at: Duration) -> bool {
        self.sent <= at && at <= self.ended()
    }
}

impl Disturbances {
    /// Whether a call was under way when everything was destroyed.
    pub(crate) fn destroyed(&self, call: &Call) -> bool {
        self.destroyed.iter().any(|at| call.was_in_flight(*at))
    }

    /// Whether a call was under way in a time in which requests get lost.
    pub(crate) fn is_uncertain(&self, call: &Call) -> bool {
        let mut windows = self.uncertain.iter();
        windows.any(|window| call.sent < window.end && window.start <= call.ended())
    }
}
