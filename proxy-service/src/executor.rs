//! What becomes of a delivery: it is worked on, or given up with a reason, and always settled.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::batch::Batcher;
use roundtrip::broker::{DeadLetter, Delivery, Malformed, Receipt, ResultStore, Settlement, Started};
use roundtrip::observe::trace::Trace;
use roundtrip::process::logging::with_causes;
use roundtrip::{Fault, FaultCode, Keep, Origin, Reply, Request};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::handler::{BoxHandler, Job};
use crate::metrics::WorkerMetrics;
use crate::progress::{Reporter, Reports};
use crate::redelivery::deadlines::DUE;

/// From this attempt on a request runs with nothing beside it: twice its worker died, and its neighbours
/// were blamed with it.
const ALONE_FROM: u32 = 3;

/// Works on the deliveries of one operation.
pub(crate) struct Executor {
    pub(crate) handler: BoxHandler,
    pub(crate) max_deliveries: u32,
    pub(crate) records: Arc<dyn ResultStore>,
    pub(crate) reports: Reports,
    pub(crate) settler: Batcher<Settlement>,
    pub(crate) metrics: WorkerMetrics,
}

/// What becomes of a delivery at first sight.
enum Sorted {
    Worthy(Worthy),
    GivenUp(Settlement),
}

/// Whether work may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It may, and whoever has to know does.
    Said,
    /// It may, and nobody could be told.
    Unsaid,
    Over,
}

/// A request that is worth working on, and the proof of its claim.
struct Worthy {
    receipt: Receipt,
    attempt: u32,
    request: Request,
    deadline: Instant,
}

fn answer(receipt: Receipt, request: Request, outcome: Result<Bytes, Failure>) -> Settlement {
    let outcome = outcome.map_err(|failure| failure.to_fault());
    let reply = Reply::to(&request, outcome);
    Settlement::reply(receipt, request.reply_to, reply).keeping(request.keep)
}

impl Executor {
    /// Works on a delivery, or gives it up.
    pub(crate) async fn execute(&self, delivery: Delivery, cancelled: CancellationToken, trace: &Trace) -> Settlement {
        let Worthy {
            receipt,
            attempt,
            request,
            deadline,
        } = match self.sort(delivery) {
            Sorted::Worthy(worthy) => worthy,
            Sorted::GivenUp(settlement) => return settlement,
        };
        let job = Job {
            request: request.clone(),
            delivery: attempt,
            deadline,
            cancelled,
            progress: self.reporter(&request),
            trace: trace.clone(),
        };
        let start = self.may_begin(&request, attempt, deadline).await;
        let outcome = match start {
            Start::Over => Err(Failure::Cancelled),
            Start::Said | Start::Unsaid => self.handler.handle(job).await,
        };
        match outcome {
            Err(Failure::Panicked { message }) => self.give_up_on_panic(receipt, attempt, &request, message),
            outcome => answer(receipt, request, outcome).perhaps_begun(attempt > 1 || start == Start::Unsaid),
        }
    }

    /// Hands a settlement on. What finds no place before it is abandoned, or comes after the last batch, returns to the
    /// stream with its lease.
    pub(crate) async fn settle(&self, settlement: Settlement, abandon: &CancellationToken) {
        tokio::select! {
            biased;
            _ = self.settler.send(settlement) => {}
            () = abandon.cancelled() => {}
        }
    }

    /// Gives up what is no request, and what was delivered too often.
    fn sort(&self, delivery: Delivery) -> Sorted {
        let deadline = delivery.deadline();
        let Delivery {
            receipt,
            attempt,
            content,
            ..
        } = delivery;
        match content {
            Err(malformed) => Sorted::GivenUp(self.set_aside_malformed(receipt, attempt, malformed)),
            Ok(request) if attempt > self.max_deliveries => {
                Sorted::GivenUp(self.give_up_on_deaths(receipt, attempt, &request))
            }
            Ok(request) => Sorted::Worthy(Worthy {
                deadline: deadline.unwrap_or(receipt.claimed),
                receipt,
                attempt,
                request,
            }),
        }
    }

    /// Settles what will not be worked on any more, because its time is over or about to be: while the upstream is
    /// given a pause for the rest of `pause`, or because there is no room.
    pub(crate) fn tell(&self, delivery: Delivery, pause: Duration) -> Settlement {
        let Worthy {
            receipt,
            attempt,
            request,
            deadline,
        } = match self.sort(delivery) {
            Sorted::Worthy(worthy) => worthy,
            Sorted::GivenUp(settlement) => return settlement,
        };
        let failure = match pause.is_zero() || deadline <= Instant::now() {
            true => Failure::DeadlineExceeded,
            false => Failure::unavailable(attempt, pause),
        };
        self.metrics.failed.with_label_values(&[failure.label()]).inc();
        tracing::info!(request_id = %request.id, failure = failure.label(), "answered without work");
        answer(receipt, request, Err(failure)).perhaps_begun(attempt > 1)
    }

    /// The deadline of a delivery that may wait for room; `None` for one that is to be told.
    pub(crate) fn time_left(&self, delivery: &Delivery) -> Option<Instant> {
        let deadline = delivery.deadline()?;
        (delivery.attempt <= self.max_deliveries && deadline > Instant::now() + DUE).then_some(deadline)
    }

    /// Whether an attempt must run with nothing beside it. One that will not run needs no room.
    pub(crate) fn runs_alone(&self, attempt: u32) -> bool {
        (ALONE_FROM..=self.max_deliveries).contains(&attempt)
    }

    /// Asks, and says that it begins, where somebody may have said otherwise: there is or may be a record, or it is
    /// not the first attempt. Nothing of that for what will not run anyway.
    async fn may_begin(&self, request: &Request, attempt: u32, deadline: Instant) -> Start {
        if (request.keep == Keep::No && attempt == 1) || deadline <= Instant::now() {
            return Start::Said;
        }
        match self.records.start(request.id, attempt).await {
            Ok(Started::Proceed) => Start::Said,
            Ok(Started::Ended) => Start::Over,
            // Its lease runs: better done twice than not at all.
            Err(error) => {
                tracing::debug!(request_id = %request.id, error = with_causes(&error), "could not say that work begins");
                Start::Unsaid
            }
        }
    }

    fn reporter(&self, request: &Request) -> Reporter {
        match request.keep {
            Keep::No => Reporter::none(),
            _ => self.reports.of(request.id),
        }
    }

    fn set_aside_malformed(&self, receipt: Receipt, attempts: u32, malformed: Malformed) -> Settlement {
        tracing::warn!(entry = %receipt.entry, reason = malformed.reason, "dead-lettered an entry that is no request");
        self.metrics.dead_letters.with_label_values(&["malformed"]).inc();
        let reply = malformed.requester.map(|(id, reply_to)| {
            let detail = format!("malformed request entry: {}", malformed.reason);
            let outcome = Err(Fault::new(FaultCode::Invalid, detail));
            (reply_to, Reply::new(id, Origin::of(receipt.entry.operation), outcome))
        });
        let letter = DeadLetter {
            reason: malformed.reason,
            attempts,
            last_error: String::new(),
            fields: malformed.fields,
        };
        Settlement::dead_letter(receipt, letter, reply)
    }

    /// Its workers died of it, or of something else, too often to try again.
    fn give_up_on_deaths(&self, receipt: Receipt, attempt: u32, request: &Request) -> Settlement {
        self.metrics.dead_letters.with_label_values(&["max_deliveries"]).inc();
        let attempts = attempt - 1;
        let reason = format!("delivered {attempts} times without an answer");
        let detail = format!("the request was {reason} and set aside");
        // Nobody lived to tell why.
        give_up(receipt, request, reason, attempts, String::new(), detail)
    }

    /// The same input will meet the same mistake.
    fn give_up_on_panic(&self, receipt: Receipt, attempt: u32, request: &Request, message: String) -> Settlement {
        self.metrics.dead_letters.with_label_values(&["panicked"]).inc();
        let reason = "the handler panicked".to_owned();
        let detail = "the worker failed on this request, and it was set aside".to_owned();
        give_up(receipt, request, reason, attempt, message, detail)
    }
}

fn give_up(
    receipt: Receipt,
    request: &Request,
    reason: String,
    attempts: u32,
    last_error: String,
    detail: String,
) -> Settlement {
    tracing::warn!(request_id = %request.id, entry = %receipt.entry, reason, attempts, "dead-lettered a request");
    let reply = Reply::to(request, Err(Fault::new(FaultCode::DeadLettered, detail)));
    let letter = DeadLetter {
        reason,
        attempts,
        last_error,
        fields: request
            .fields()
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
    };
    Settlement::dead_letter(receipt, letter, Some((request.reply_to.clone(), reply))).keeping(request.keep)
}
