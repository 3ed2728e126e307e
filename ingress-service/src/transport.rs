//! What all operations of this instance share: who reads its replies, who waits, the ways to the broker, the records.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use roundtrip::batch::Batcher;
use roundtrip::broker::ResultStore;
use roundtrip::http::problem::{Asked, Problem};
use roundtrip::{CorrelationId, ReplyTo, Request};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::admission::Rejection;
use crate::disconnects::Disconnect;
use crate::metrics::IngressMetrics;
use crate::pending::Pending;
use crate::publisher::recorded::Application;
use crate::request_options::Wait;
use crate::result_writer::ResultWriter;
use crate::wait_limits::WaitLimits;
use crate::watches::{Seen, Watches};

/// How long work may take whose caller does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// For those who wait for the answer; also how long they wait.
    pub(crate) request: Duration,
    /// For those who do not.
    pub(crate) job: Duration,
}

impl Times {
    /// Whether work may outlast its caller's wait, or has more time than callers get who wait.
    pub(crate) fn is_job(self, budget: Duration, patience: Duration) -> bool {
        patience < budget || budget > self.request
    }
}

/// One instance's side of the broker.
#[derive(Debug)]
pub struct Transport {
    pub(crate) reply_to: ReplyTo,
    pub(crate) pending: Arc<Pending>,
    pub(crate) publisher: Batcher<Request>,
    pub(crate) recorder: Batcher<Application>,
    pub(crate) records: Arc<dyn ResultStore>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) wait_limits: WaitLimits,
    /// Counts event streams that found no place.
    pub(crate) refused_streams: Option<IntCounter>,
    /// Whom to tell that a caller has gone; `None` where work is finished all the same.
    pub(crate) disconnects: Option<mpsc::Sender<Disconnect>>,
    /// Where results are noted whose records may not know them.
    pub(crate) results: ResultWriter,
    pub(crate) times: Times,
    /// Cancelled when this instance drains: nobody waits for longer than needed then.
    pub(crate) draining: CancellationToken,
    /// Cancelled shortly before connections are cut off: whoever still waits is told where to ask.
    pub(crate) last_call: CancellationToken,
    /// For how long a request that somebody else made may still be taken back, as replicas did not confirm it.
    pub(crate) probation: Duration,
    pub(crate) metrics: IngressMetrics,
}

impl Transport {
    /// Counts an event stream that finds no place; returns what its caller is told.
    pub(crate) fn refuse_events(&self) -> Problem {
        if let Some(refused) = &self.refused_streams {
            refused.inc();
        }
        Rejection::EventStreams.problem(CorrelationId::new())
    }

    /// A record when it has ended, or as it is at the deadline; when this instance drains, for those who do not wait
    /// for the answer.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub(crate) async fn end_of(&self, id: CorrelationId, deadline: Instant, wait: Wait) -> Result<Seen, Problem> {
        let mut watch = self.watches.watch(id);
        let mut seen = watch
            .next()
            .await
            .map_err(|error| Problem::of_broker(&error, Asked::ToRead))?;
        while seen.as_ref().is_some_and(|record| !record.status.is_final()) {
            let next = tokio::select! {
                next = timeout_at(deadline, watch.next()) => next,
                () = self.draining.cancelled(), if wait != Wait::ForAnswer => break,
                () = self.last_call.cancelled() => break,
            };
            match next {
                Ok(next) => seen = next.map_err(|error| Problem::of_broker(&error, Asked::ToRead))?,
                Err(_) => break,
            }
        }
        Ok(seen)
    }
}
