//! What becomes of a delivery: it is worked on, or given up with a reason, and always settled.

use roundtrip::broker::{DeadLetter, Delivery, Malformed, Receipt, Settlement};
use roundtrip::{Fault, FaultCode, Reply, ReplyTo, Request};
use tower::ServiceExt;

use crate::job::{BoxHandler, Job};
use crate::metrics::WorkerMetrics;

/// When a delivery is given up.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) max_deliveries: u32,
    pub(crate) metrics: WorkerMetrics,
}

/// Works on a delivery, or gives it up.
pub(crate) async fn settlement(delivery: Delivery, handler: BoxHandler, judge: &Judge) -> Settlement {
    let deadline = delivery.deadline();
    let Delivery {
        receipt,
        attempt,
        content,
        ..
    } = delivery;
    match (content, deadline) {
        (Err(malformed), _) => judge.set_aside_malformed(receipt, attempt, malformed),
        (Ok(request), _) if attempt > judge.max_deliveries => judge.give_up(receipt, attempt, request),
        (Ok(request), deadline) => {
            let (id, reply_to) = (request.id, request.reply_to.clone());
            let job = Job {
                request,
                delivery: attempt,
                deadline: deadline.unwrap_or(receipt.claimed),
            };
            let outcome = handler.oneshot(job).await.map_err(|failure| failure.to_fault());
            Settlement::reply(receipt, reply_to, Reply { id, outcome })
        }
    }
}

impl Judge {
    fn set_aside_malformed(&self, receipt: Receipt, attempts: u32, malformed: Malformed) -> Settlement {
        tracing::warn!(entry = %receipt.entry, reason = malformed.reason, "dead-lettered an entry that is no request");
        self.metrics.dead_letters.with_label_values(&["malformed"]).inc();
        let reply = malformed.requester.map(|(id, reply_to)| {
            let fault = Fault::new(
                FaultCode::Invalid,
                format!("malformed request entry: {}", malformed.reason),
            );
            (
                reply_to,
                Reply {
                    id,
                    outcome: Err(fault),
                },
            )
        });
        let letter = DeadLetter {
            reason: malformed.reason,
            attempts,
            fields: malformed.fields,
        };
        Settlement::dead_letter(receipt, letter, reply)
    }

    /// Its workers died of it, or of something else, too often to try again.
    fn give_up(&self, receipt: Receipt, attempts: u32, request: Request) -> Settlement {
        let reason = format!("delivered {} times without an answer", attempts - 1);
        tracing::warn!(request_id = %request.id, entry = %receipt.entry, reason, "dead-lettered a request");
        self.metrics.dead_letters.with_label_values(&["max_deliveries"]).inc();
        let fault = Fault::new(
            FaultCode::DeadLettered,
            format!("the request was {reason} and set aside"),
        );
        let reply: (ReplyTo, Reply) = (
            request.reply_to.clone(),
            Reply {
                id: request.id,
                outcome: Err(fault),
            },
        );
        let letter = DeadLetter {
            reason,
            attempts: attempts - 1,
            fields: request.fields().map(|(name, value)| (name.into(), value)).to_vec(),
        };
        Settlement::dead_letter(receipt, letter, Some(reply))
    }
}
