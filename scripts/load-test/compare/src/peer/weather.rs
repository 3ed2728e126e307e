//! The work: Roundtrip's own handler with its simulated weather, so that every peer gives the same answers at the
//! same cost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proxy_service::handler::{BoxHandler, Job};
use proxy_service::operations::erased;
use proxy_service::operations::weather::simulated::{Latency, Simulated};
use proxy_service::operations::weather::work;
use roundtrip::{Budget, CorrelationId, Keep, Origin, ReplyTo, Request};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers questions about the weather, without latency.
#[derive(Clone)]
pub(crate) struct Weather {
    handler: BoxHandler,
    reply_to: ReplyTo,
}

impl Weather {
    pub(crate) fn new() -> Self {
        let latency = Latency {
            min: Duration::ZERO,
            max: Duration::ZERO,
        };
        Self {
            handler: erased(work::Weather::new(Arc::new(Simulated::new(latency)))),
            // The handler does not look at it.
            reply_to: ReplyTo::unique("peer"),
        }
    }

    /// The answer as JSON; empty when the question is none.
    pub(crate) async fn answer(&self, question: Bytes) -> Bytes {
        let request = Request {
            id: CorrelationId::new(),
            origin: Origin::default(),
            reply_to: self.reply_to.clone(),
            budget: Budget::new(PATIENCE),
            traceparent: None,
            keep: Keep::No,
            data: question,
        };
        let job = Job::new(request, Instant::now() + PATIENCE);
        self.handler.handle(job).await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::Value;

    #[tokio::test]
    async fn an_answer_has_eight_fields_and_the_city_asked_for() {
        let answer = Weather::new().answer(Bytes::from_static(br#"{"city":"Oslo"}"#)).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer.as_object().unwrap().len(), 8);
        assert_eq!(answer["city"], "Oslo");
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_with_an_empty_answer() {
        assert!(Weather::new().answer(Bytes::from_static(b"[]")).await.is_empty());
    }
}
