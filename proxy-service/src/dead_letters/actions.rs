//! What operators did, counted.

use prometheus::IntCounterVec;
use roundtrip::http::problem::{Problem, ProblemType};
use roundtrip::observe::metrics::Metrics;

/// What an operator does to a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Replay,
    Discard,
}

/// The count of what operators did.
#[derive(Debug, Clone)]
pub(super) struct Actions(IntCounterVec);

impl Actions {
    /// Registers the counter.
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self(metrics.counters(
            "roundtrip_proxy_admin_actions_total",
            "What operators did to dead letters, by action (replay or discard) and outcome: done, not_found, \
             not_replayable, broker_unavailable, outcome_unknown or failed",
            &["action", "outcome"],
        ))
    }

    /// Counts an action by how it ended.
    pub(super) fn count<T>(&self, action: Action, ended: &Result<T, Problem>) {
        let action = match action {
            Action::Replay => "replay",
            Action::Discard => "discard",
        };
        let outcome = match ended.as_ref().map_err(Problem::kind) {
            Ok(_) => "done",
            Err(ProblemType::NotFound) => "not_found",
            Err(ProblemType::NotReplayable) => "not_replayable",
            Err(ProblemType::BrokerUnavailable) => "broker_unavailable",
            Err(ProblemType::OutcomeUnknown) => "outcome_unknown",
            Err(_) => "failed",
        };
        self.0.with_label_values(&[action, outcome]).inc();
    }
}
