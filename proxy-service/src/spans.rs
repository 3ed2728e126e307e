//! What a delivery leaves in a trace: how long it waited, the work on it, and its settlement.
//! <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>

use std::time::SystemTime;

use roundtrip::broker::{Delivery, Settlement};
use roundtrip::observe::trace::{Kind, Span, Trace};

/// Begins the span of the work on a delivery, behind those of its wait and its claim. The queue has two ends and two
/// clocks: the wait is as long as the broker says, and ends when the claim returned, on ours.
pub(crate) fn process(delivery: &Delivery) -> Span {
    let Ok(request) = &delivery.content else {
        return Span::default();
    };
    let published = Trace::of_message(request.traceparent.as_deref());
    if !published.is_recorded() {
        return Span::default();
    }
    let queue = request.origin.operation.queue();
    let claimed = SystemTime::now() - delivery.receipt.claimed.elapsed();
    let mut waited = published.begin_at(Some(claimed - delivery.waited), Kind::Internal, || "wait in queue");
    waited.set("roundtrip.queue.wait_ms", delivery.waited.as_millis() as i64);
    waited.end_at(claimed);

    let mut span = published.begin_at(Some(claimed), Kind::Consumer, || format!("process {queue}"));
    span.event("claimed");
    span.set("messaging.system", "redis");
    span.set("messaging.operation.type", "process");
    span.set("messaging.destination.name", queue);
    span.set("messaging.consumer.group.name", "processing-group");
    span.set("messaging.client.id", delivery.receipt.consumer.as_str().to_owned());
    span.set("messaging.message.id", request.id.to_string());
    span.set("roundtrip.entry.id", delivery.receipt.entry.at.to_string());
    span.set("roundtrip.delivery", i64::from(delivery.attempt));
    if delivery.attempt > 1 {
        // The span of the worker that had it before died with it: what is known is where the request came from.
        span.link(&published, "redelivery");
    }
    span
}

/// Ends the work's span, and begins the one of its settlement.
pub(crate) fn settle(mut worked: Span, settlement: &Settlement) -> Span {
    if !worked.is_recorded() {
        return Span::default();
    }
    if settlement.dead_letter.is_some() {
        worked.fail("dead-lettered");
    } else if let Some((_, reply)) = &settlement.reply
        && reply.outcome.is_err()
    {
        worked.fail("fault");
    }
    let mut span = worked.trace().begin(Kind::Internal, || "settle");
    span.set("messaging.operation.type", "settle");
    span
}
