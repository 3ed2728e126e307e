//! The round trip: register, publish, await, answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::batch::Batcher;
use roundtrip::broker::BrokerErrorKind;
use roundtrip::service::problem::{Problem, ProblemType};
use roundtrip::{Budget, CorrelationId, Fault, FaultCode, ReplyTo, Request};
use tokio::time::{Instant, timeout_at};

use crate::admission::{Admission, Refusal};
use crate::metrics::IngressMetrics;
use crate::pending::{Outcome, Pending, PendingReply};

/// When to come back while the broker is away: each second it is looked for.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Sends requests through the broker and waits for their replies.
#[derive(Debug)]
pub struct Requester {
    pub(crate) reply_to: ReplyTo,
    pub(crate) admission: Arc<Admission>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) publisher: Batcher<Request>,
    pub(crate) request_timeout: Duration,
    pub(crate) metrics: IngressMetrics,
}

impl Requester {
    /// Has `data` worked on, and returns the operation's JSON.
    ///
    /// # Errors
    /// A [`Problem`] for the caller. With 503 the request was not accepted and will not run; with 504 that
    /// is unknown.
    pub async fn request(&self, id: CorrelationId, data: Bytes) -> Result<Bytes, Problem> {
        let admitted = Instant::now();
        let reply = self.admit(id, admitted).map_err(|refusal| {
            self.metrics.refused.with_label_values(&[refusal.reason()]).inc();
            refusal.problem(id)
        })?;
        let request = Request {
            id,
            reply_to: self.reply_to.clone(),
            budget: Budget::new(self.request_timeout),
            traceparent: None,
            data,
        };
        let answered = async {
            match self.publisher.send(request).await {
                Ok(()) => reply.outcome().await,
                Err(_) => Outcome::Unpublished(BrokerErrorKind::Unavailable),
            }
        };
        let outcome = timeout_at(admitted + self.request_timeout, answered).await;
        match outcome.map_err(|_| self.no_reply())? {
            Outcome::Replied(answer) => {
                self.metrics.reply_latency.observe(admitted.elapsed().as_secs_f64());
                answer.map_err(|fault| self.failed(fault))
            }
            Outcome::Unpublished(reason) => Err(self.unpublished(reason)),
        }
    }

    fn admit(&self, id: CorrelationId, now: Instant) -> Result<PendingReply, Refusal> {
        let full = || self.admission.in_flight_is_full();
        // Before the queue, which counts those it lets in.
        if self.pending.is_full() {
            return Err(full());
        }
        self.admission.admit(now, self.request_timeout)?;
        self.pending.register(id).ok_or_else(full)
    }

    fn failed(&self, fault: Fault) -> Problem {
        if fault.code == FaultCode::Expired {
            self.admission.count_expired();
        }
        Problem::from(fault)
    }

    fn unpublished(&self, reason: BrokerErrorKind) -> Problem {
        if reason == BrokerErrorKind::Unconfirmed {
            self.metrics.refused.with_label_values(&["outcome_unknown"]).inc();
            let detail = "the broker did not confirm the request in time; it may run all the same";
            return Problem::new(ProblemType::OutcomeUnknown, detail);
        }
        self.metrics.refused.with_label_values(&["broker_unavailable"]).inc();
        let detail = "the broker cannot take requests at the moment; this one was not accepted";
        Problem::new(ProblemType::BrokerUnavailable, detail).retry_after(RETRY_AFTER)
    }

    fn no_reply(&self) -> Problem {
        self.metrics.timeouts.inc();
        self.admission.count_expired();
        let detail = "the request was accepted, but no reply came in time; it may still run";
        Problem::new(ProblemType::ReplyTimeout, detail)
    }
}
