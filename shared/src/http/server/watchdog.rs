//! Notices a client that keeps its connection waiting. The rule: the clock is read only when a wait begins
//! that no good client makes long (a head in pieces, an answer that is not taken), and when the timer has
//! run out; a request that comes and goes costs neither. The end of an idle connection is therefore only
//! seen by sampling, a quarter of its limit apart: it lives that much longer at most, and never shorter.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Waiting;
use super::limits::Limits;

/// What a client was too late with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// A head, or the first byte of all.
    Head,
    /// The next request.
    Idle,
    /// Taking its answer.
    Write,
}

impl Late {
    /// The label it is counted under.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Write => "write",
        }
    }
}

/// Watches one connection, within the task that serves it.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    seen: Waiting,
    since: Instant,
    timer: Pin<Box<Sleep>>,
    is_armed: bool,
    is_parting: bool,
}

impl Watchdog {
    /// Starts with a connection of which nothing has come.
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            limits,
            seen: Waiting::New,
            since: now,
            timer: Box::pin(sleep_until(now + limits.head)),
            is_armed: false,
            is_parting: false,
        }
    }

    /// From now on the connection ends by itself; only its last answer has to be taken.
    pub(super) fn part(&mut self) {
        self.is_parting = true;
    }

    /// To be called whenever the connection was polled, with what it waits for since. Ready when it has
    /// waited for too long; otherwise the task is woken to look again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<Late> {
        let begins = waiting.is_urgent() && waiting != self.seen;
        if self.is_armed && !begins && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            let now = Instant::now();
            if waiting != self.seen {
                (self.seen, self.since) = (waiting, now);
            }
            let limit = self.limit(waiting);
            if let Some((limit, late)) = limit
                && now >= self.since + limit
            {
                return Poll::Ready(late);
            }
            let next_look = now + self.limits.idle / 4;
            let wake = match limit {
                Some((limit, Late::Idle)) => next_look.min(self.since + limit),
                Some((limit, _)) => self.since + limit,
                None => next_look,
            };
            self.timer.as_mut().reset(wake);
            self.is_armed = true;
            // A timer that is not polled for want of budget would never wake anybody.
            let timer = std::pin::pin!(unconstrained(self.timer.as_mut()));
            if timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn limit(&self, waiting: Waiting) -> Option<(Duration, Late)> {
        match waiting {
            Waiting::Write(_) => Some((self.limits.write, Late::Write)),
            _ if self.is_parting => None,
            Waiting::New | Waiting::Head(_) => Some((self.limits.head, Late::Head)),
            Waiting::Idle(_) => Some((self.limits.idle, Late::Idle)),
            Waiting::Busy => None,
        }
    }
}
