//! The round trip: register, publish, await, answer. A caller who does not wait to the end is promised the result
//! under the request's id, and only then something is kept.

mod deferred;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::broker::{Acceptance, Accepted, BrokerErrorKind, IdempotencyKey, Record};
use roundtrip::http::problem::{Asked, BROKER_RETRY_AFTER, Problem, ProblemType};
use roundtrip::observe::trace::{Kind, Span};
use roundtrip::{Budget, CorrelationId, Fault, FaultCode, Keep, OperationName, Origin, Reply, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::admission::{Admission, Entrant, Rejection};
use crate::disconnects::Disconnect;
use crate::metrics::OperationMetrics;
use crate::pending::{Outcome, PendingReply};
use crate::publisher::recorded::Application;
use crate::request_options::{RequestOptions, Wait};
use crate::result_writer::ResultWriter;
use crate::transport::Transport;
use crate::watches::Seen;

/// Sends requests of one operation through the broker and waits for their replies.
#[derive(Debug)]
pub struct Requester {
    pub(crate) operation: OperationName,
    pub(crate) transport: Arc<Transport>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: OperationMetrics,
}

impl Deref for Requester {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        &self.transport
    }
}
/// One request to be made.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Its id.
    pub id: CorrelationId,
    /// Method and path of its route, within which an idempotency key counts.
    pub route: &'static str,
    /// The operation's input, a JSON document.
    pub data: Bytes,
    /// What its caller wishes.
    pub call: &'a RequestOptions,
}

/// What a caller gets who is not refused.
#[derive(Debug)]
pub enum Answer {
    /// The work has ended so.
    Done {
        /// The request, which is another's where an idempotency key named it.
        id: CorrelationId,
        /// Its result: the operation's JSON, or why there is none.
        outcome: Result<Bytes, Fault>,
        /// Whether the result was there before this call, or another call asked for it.
        replayed: bool,
        /// Whether it can be asked for.
        has_record: bool,
        /// Whether an idempotency key stands for this outcome, so that another call with it will hear the same.
        has_key: bool,
    },
    /// The work goes on, and the result can be asked for.
    Promised {
        /// The request.
        id: CorrelationId,
        /// What is known of it; `None` where it was only just accepted.
        record: Option<Arc<Record>>,
        /// When it was accepted, on the broker's clock, as far as its entry says; in milliseconds since the Unix epoch.
        accepted: Option<u64>,
    },
}

impl Requester {
    /// Has something worked on.
    ///
    /// # Errors
    /// A [`Problem`] for the caller. With 503 the request was not accepted and will not run; with 504 that is unknown,
    /// or it goes on. What a worker says of an accepted request, even that its upstream is unavailable, is no error but
    /// an [`Answer::Done`].
    pub async fn request(&self, ask: Ask<'_>) -> Result<Answer, Problem> {
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
        let published = if publishing.is_recorded() {
            publishing.trace()
        } else {
            call.trace.clone()
        };
        place.publishing(publishing);
        let request = Request {
            id,
            origin: origin.clone(),
            reply_to: self.reply_to.clone(),
            budget: Budget::new(budget),
            traceparent: published.traceparent(),
            keep: self.keep(wait, budget, key.is_some()),
            data,
        };
        let mut waiting = Waiting {
            origin,
            budget: request.budget,
            has_record: key.is_some() || wait == Wait::Not,
            has_key: key.is_some(),
            results: &self.results,
            disconnects: self.disconnects.as_ref().filter(|_| key.is_none()),
            place,
        };
        let deadline = admitted + patience;
        if waiting.has_record {
            let accepted = self.accept(request, key).await;
            if accepted.is_err() {
                // It may run all the same, and its caller is told so.
                waiting.disconnects = None;
            }
            match accepted? {
                Accepted::As(entry) if wait == Wait::Not => {
                    waiting.disconnects = None;
                    self.metrics.promised.with_label_values(&["async"]).inc();
                    let accepted = Some(entry.at.millis);
                    return Ok(Answer::Promised {
                        id,
                        record: None,
                        accepted,
                    });
                }
                Accepted::As(entry) => {
                    self.pending.published(id, entry);
                }
                // Nothing of its own is in flight, or in the queue.
                Accepted::Known(other) => {
                    drop(waiting);
                    self.admission.withdraw(entrant);
                    return self.follow(other, id, wait, deadline).await;
                }
                Accepted::Conflict => {
                    self.admission.withdraw(entrant);
                    return Err(conflict());
                }
            }
        } else {
            // The queue is full of those whose callers have gone, or it is closed: either way it was not sent.
            let queued = timeout_at(deadline + deferred::PUBLICATION, self.publisher.send(request)).await;
            if !matches!(queued, Ok(Ok(()))) {
                waiting.disconnects = None;
                return Err(self.unpublished(BrokerErrorKind::Unavailable));
            }
        }
        let mut awaiting = call.trace.begin(Kind::Internal, || "await reply");
        let outcome = tokio::select! {
            biased;
            outcome = timeout_at(deadline, waiting.place.outcome()) => outcome.ok().flatten(),
            // Those who are content with a promise get it now: this instance is about to leave.
            () = self.draining.cancelled(), if wait != Wait::ForAnswer => None,
        };
        match outcome {
            Some(outcome) => {
                waiting.disconnects = None;
                self.done(&waiting, id, outcome, admitted).await
            }
            None => {
                awaiting.event("the wait is over");
                self.promise(waiting, id, wait, admitted).await
            }
        }
    }

    /// Refuses a request that would find no place, before its body is read.
    ///
    /// # Errors
    /// A [`Problem`] for the caller while the maximum is in flight.
    pub fn check_room(&self, id: CorrelationId) -> Result<(), Problem> {
        match self.pending.is_full() {
            true => Err(self.refuse(self.admission.in_flight_is_full(), id)),
            false => Ok(()),
        }
    }

    /// When a caller who was promised a result may ask for it.
    pub(crate) fn ask_again(&self) -> Duration {
        let wait = self.admission.predicted_wait(Instant::now()).unwrap_or_default();
        wait.clamp(BROKER_RETRY_AFTER, Duration::from_secs(60))
    }

    /// How long the work may take, and how long its caller waits.
    fn times_of(&self, call: &RequestOptions, wait: Wait) -> (Duration, Duration) {
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

    /// Counts a refusal; returns what the call of this id is told.
    pub(crate) fn refuse(&self, refusal: Rejection, id: CorrelationId) -> Problem {
        self.metrics.refused.with_label_values(&[refusal.reason()]).inc();
        refusal.problem(id)
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

    async fn done(
        &self,
        waiting: &Waiting<'_>,
        id: CorrelationId,
        outcome: Outcome,
        admitted: Instant,
    ) -> Result<Answer, Problem> {
        let outcome = match outcome {
            Outcome::Replied(outcome) => outcome,
            Outcome::Unpublished(reason) => return Err(self.unpublished(reason)),
        };
        self.metrics.reply_latency.observe(admitted.elapsed().as_secs_f64());
        let mut has_record = waiting.has_record;
        if matches!(&outcome, Err(fault) if fault.code == FaultCode::Expired) {
            self.admission.count_expired();
            // Whoever hears 504 can ask again what became of it, whether its time ran out there or here.
            let outcome = outcome.clone();
            let reply = Reply::new(id, waiting.origin.clone(), outcome);
            has_record |= self.records.store(&[reply]).await.is_ok();
        } else if has_record {
            // The record knows already, unless the worker knows nothing of records.
            self.results
                .note(Reply::new(id, waiting.origin.clone(), outcome.clone()));
        }
        let has_key = waiting.has_key && self.key_stands_for(id, &outcome).await;
        Ok(Answer::Done {
            id,
            outcome,
            replayed: false,
            has_record,
            has_key,
        })
    }

    /// Whether the key of a request stands for its outcome. Where nothing was attempted it is free again, and only the
    /// record knows. Of a result nobody needs to know.
    async fn key_stands_for(&self, id: CorrelationId, outcome: &Result<Bytes, Fault>) -> bool {
        if outcome.is_ok() {
            return true;
        }
        let record = self.watches.read(id).await.ok().flatten();
        record.is_none_or(|record| record.key_stands_for(outcome))
    }

    fn unpublished(&self, reason: BrokerErrorKind) -> Problem {
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

/// One who waits. Whoever drops it while there is somebody to tell has hung up.
#[derive(Debug)]
struct Waiting<'a> {
    place: PendingReply,
    origin: Origin,
    budget: Budget,
    has_record: bool,
    has_key: bool,
    results: &'a ResultWriter,
    disconnects: Option<&'a mpsc::Sender<Disconnect>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.has_record && self.disconnects.is_none() {
            return;
        }
        let entry = self.place.entry();
        if let Some(Outcome::Replied(outcome)) = self.place.leave()
            && self.has_record
        {
            // It came in the moment in which its caller left.
            let id = self.place.id();
            self.results.note(Reply::new(id, self.origin.clone(), outcome));
        }
        if let Some(disconnects) = self.disconnects {
            // Where there is no room the work is done for nobody: no worse than without this.
            let _ = disconnects.try_send((self.place.id(), entry));
        }
    }
}

fn conflict() -> Problem {
    Problem::new(
        ProblemType::IdempotencyKeyReused,
        "the Idempotency-Key was used before, for a request with other content; use another one",
    )
}
