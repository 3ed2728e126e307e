//! The beginning of a wait: a request is let in, gets a place for its reply, and is published.

use std::time::Duration;

use roundtrip::broker::{Acceptance, Accepted, BrokerErrorKind, IdempotencyKey};
use roundtrip::http::problem::{Asked, Problem};
use roundtrip::observe::trace::{Kind, Span};
use roundtrip::{Budget, CorrelationId, Keep, Origin, Request};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Ask, Requester, Waiting, conflict, deferred};
use crate::admission::{Entrant, Rejection};
use crate::pending::PendingReply;
use crate::publisher::recorded::Application;
use crate::request_options::{RequestOptions, Wait};

/// How a request was let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) id: CorrelationId,
    pub(super) wait: Wait,
    entrant: Entrant,
    pub(super) admitted: Instant,
    /// Until when its caller waits.
    pub(super) deadline: Instant,
}

/// What became of a request with a record.
pub(super) enum Submitted<'a> {
    /// Its reply is to come.
    Waiting(Waiting<'a>),
    /// Nothing is.
    Answered(Answer),
}

impl Requester {
    /// Lets a request in, and takes a place for its reply.
    pub(super) fn enter(&self, ask: Ask<'_>) -> Result<(Terms, Request, Option<IdempotencyKey>, Waiting<'_>), Problem> {
        let Ask { id, route, data, call } = ask;
        let wait = call.preference.wait();
        let (budget, patience) = self.times_of(call, wait);
        let admitted = Instant::now();
        let entrant = Entrant {
            budget,
            bytes: data.len() as u64,
            is_job: self.times.is_job(budget, patience),
        };
        let place = self
            .admit(id, admitted, entrant)
            .map_err(|refusal| self.refuse(refusal, id))?;
        let origin = Origin {
            operation: self.operation,
            tenant: call.tenant.clone(),
        };
        let key = call.key.as_ref().map(|key| key.digest(&origin.tenant, route, &data));
        let publishing = self.publishing(call, id);
        let traceparent = match publishing.is_recorded() {
            true => publishing.trace().traceparent(),
            false => call.trace.traceparent(),
        };
        place.publishing(publishing);
        let budget = Budget::new(budget);
        let request = Request {
            id,
            origin: origin.clone(),
            reply_to: self.reply_to.clone(),
            budget,
            traceparent,
            keep: self.keep(wait, entrant.budget, key.is_some()),
            data,
        };
        let waiting = Waiting {
            origin,
            budget,
            has_record: key.is_some() || wait == Wait::Not,
            has_key: key.is_some(),
            results: &self.results,
            disconnects: self.disconnects.as_ref().filter(|_| key.is_none()),
            place,
        };
        let terms = Terms {
            id,
            wait,
            entrant,
            admitted,
            deadline: admitted + patience,
        };
        Ok((terms, request, key, waiting))
    }

    /// Publishes a request together with its record.
    pub(super) async fn submit<'a>(
        &self,
        terms: Terms,
        request: Request,
        key: Option<IdempotencyKey>,
        mut waiting: Waiting<'a>,
    ) -> Result<Submitted<'a>, Problem> {
        let accepted = self.accept(request, key).await;
        if accepted.is_err() {
            // It may run all the same, and its caller is told so.
            waiting.disconnects = None;
        }
        match accepted? {
            Accepted::As(entry) if terms.wait == Wait::Not => {
                waiting.disconnects = None;
                self.metrics.promised.with_label_values(&["async"]).inc();
                Ok(Submitted::Answered(Answer::Promised {
                    id: terms.id,
                    record: None,
                    accepted: Some(entry.at.millis),
                }))
            }
            Accepted::As(entry) => {
                self.pending.published(terms.id, entry);
                Ok(Submitted::Waiting(waiting))
            }
            // Nothing of its own is in flight, or in the queue.
            Accepted::Known(other) => {
                drop(waiting);
                self.admission.withdraw(terms.entrant);
                let known = self.follow(other, terms.id, terms.wait, terms.deadline).await;
                known.map(Submitted::Answered)
            }
            Accepted::Conflict => {
                self.admission.withdraw(terms.entrant);
                Err(conflict())
            }
        }
    }

    /// Publishes a request that has no record.
    pub(super) async fn send<'a>(
        &self,
        terms: Terms,
        request: Request,
        mut waiting: Waiting<'a>,
    ) -> Result<Waiting<'a>, Problem> {
        // The queue is full of those whose callers have gone, or it is closed: either way it was not sent.
        let queued = timeout_at(terms.deadline + deferred::PUBLICATION, self.publisher.send(request)).await;
        if !matches!(queued, Ok(Ok(()))) {
            waiting.disconnects = None;
            return Err(self.unpublished(BrokerErrorKind::Unavailable));
        }
        Ok(waiting)
    }

    /// How long the work may take, and how long its caller waits.
    pub(super) fn times_of(&self, call: &RequestOptions, wait: Wait) -> (Duration, Duration) {
        match wait {
            Wait::ForAnswer => {
                let budget = call.timeout.unwrap_or(self.times.request);
                (budget, budget.min(self.times.request))
            }
            Wait::UpTo(patience) => (call.timeout.unwrap_or(self.times.job), patience),
            Wait::Not => (call.timeout.unwrap_or(self.times.job), Duration::ZERO),
        }
    }

    /// <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>
    fn publishing(&self, call: &RequestOptions, id: CorrelationId) -> Span {
        let queue = self.operation.queue();
        let mut span = call.trace.begin(Kind::Producer, || format!("publish {queue}"));
        if span.is_recorded() {
            span.set("messaging.system", "redis");
            span.set("messaging.operation.type", "send");
            span.set("messaging.destination.name", queue);
            span.set("messaging.message.id", id.to_string());
        }
        span
    }

    /// What is kept: nothing of what is over, one way or the other, when its caller stops waiting.
    fn keep(&self, wait: Wait, budget: Duration, has_key: bool) -> Keep {
        match wait {
            Wait::Not => Keep::Only,
            Wait::ForAnswer if !has_key && budget <= self.times.request => Keep::No,
            _ => Keep::WithReply,
        }
    }

    fn admit(&self, id: CorrelationId, now: Instant, entrant: Entrant) -> Result<PendingReply, Rejection> {
        let full = || self.admission.in_flight_is_full();
        // Before the queue, which counts those it lets in.
        if self.pending.is_full() {
            return Err(full());
        }
        self.admission.admit(now, entrant)?;
        self.pending.register(id).ok_or_else(full)
    }

    async fn accept(&self, request: Request, key: Option<IdempotencyKey>) -> Result<Accepted, Problem> {
        let has_key = key.is_some();
        let (answer, answered) = oneshot::channel();
        let acceptance = Acceptance { request, key };
        // Whoever takes the application answers it; where nobody does, it was not sent.
        let _ = self.recorder.send(Application { acceptance, answer }).await;
        let accepted = answered.await.unwrap_or(Err(BrokerErrorKind::Unavailable));
        let accepted = accepted.map_err(|reason| self.unpublished(reason))?;
        if has_key {
            let outcome = match accepted {
                Accepted::As(_) => "new",
                Accepted::Known(_) => "known",
                Accepted::Conflict => "conflict",
            };
            self.metrics.keys.with_label_values(&[outcome]).inc();
        }
        Ok(accepted)
    }

    pub(super) fn unpublished(&self, reason: BrokerErrorKind) -> Problem {
        if reason != BrokerErrorKind::Full {
            self.admission.count_turned_away();
        }
        let label = match reason {
            BrokerErrorKind::Unconfirmed => "outcome_unknown",
            _ => "broker_unavailable",
        };
        self.metrics.refused.with_label_values(&[label]).inc();
        Problem::of_broker_kind(reason, Asked::ToAccept)
    }
}
