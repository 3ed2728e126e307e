//! The round trip: register, publish, await, answer. A caller who does not wait to the end is promised the result
//! under the request's id, and only then something is kept.

mod deferred;
mod publication;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::broker::Record;
use roundtrip::http::problem::{BROKER_RETRY_AFTER, Problem, ProblemType};
use roundtrip::observe::trace::Kind;
use roundtrip::{Budget, CorrelationId, Fault, FaultCode, OperationName, Origin, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use self::publication::Submitted;
use crate::admission::{Admission, Rejection};
use crate::disconnects::Disconnect;
use crate::metrics::OperationMetrics;
use crate::pending::{Outcome, PendingReply};
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
        let call = ask.call;
        let (terms, request, key, waiting) = self.enter(ask)?;
        let mut waiting = match key.is_some() || terms.wait == Wait::Not {
            true => match self.submit(terms, request, key, waiting).await? {
                Submitted::Waiting(waiting) => waiting,
                Submitted::Answered(answer) => return Ok(answer),
            },
            false => self.send(terms, request, waiting).await?,
        };
        let mut awaiting = call.trace.begin(Kind::Internal, || "await reply");
        let outcome = tokio::select! {
            biased;
            outcome = timeout_at(terms.deadline, waiting.place.outcome()) => outcome.ok().flatten(),
            // Those who are content with a promise get it now: this instance is about to leave.
            () = self.draining.cancelled(), if terms.wait != Wait::ForAnswer => None,
        };
        match outcome {
            Some(outcome) => {
                waiting.disconnects = None;
                self.done(&waiting, terms.id, outcome, terms.admitted).await
            }
            None => {
                awaiting.event("the wait is over");
                self.promise(waiting, terms.id, terms.wait, terms.admitted).await
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

    /// Counts a refusal; returns what the call of this id is told.
    pub(crate) fn refuse(&self, refusal: Rejection, id: CorrelationId) -> Problem {
        self.metrics.refused.with_label_values(&[refusal.reason()]).inc();
        refusal.problem(id)
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
