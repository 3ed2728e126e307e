//! The accept loop: requests with a record, or with a key, go to the broker with both in one step. Whatever piled up
//! goes together; each gets an answer of its own.

use std::sync::Arc;

use roundtrip::BrokerError;
use roundtrip::batch::{Batches, Weigh};
use roundtrip::broker::{Acceptance, Accepted, BrokerErrorKind, ResultStore};
use tokio::sync::oneshot;

use super::retries::{Retries, report};

/// The most requests of one call. Each is a script of its own: fewer than what is published plainly.
pub(crate) const MAX_BATCH: usize = 128;

/// A request to be accepted, and who wants to know what became of it.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) acceptance: Acceptance,
    pub(crate) answer: oneshot::Sender<Result<Accepted, BrokerErrorKind>>,
}

impl Weigh for Application {
    fn weight(&self) -> usize {
        self.acceptance.request.weight()
    }
}

/// Accepts until the last sender is gone and the queue is empty.
pub(crate) async fn run(records: Arc<dyn ResultStore>, mut batches: Batches<Application>) {
    let (mut batch, mut retries) = (Vec::with_capacity(MAX_BATCH), Retries::new());
    while batches.next(&mut batch).await {
        accept(records.as_ref(), &mut batch, &mut retries).await;
    }
}

/// Accepts a batch. What definitely had no effect is tried again, and only that.
async fn accept(records: &dyn ResultStore, batch: &mut Vec<Application>, retries: &mut Retries) {
    loop {
        // Whoever has gone before anything was sent wants no work done.
        batch.retain(|application| !application.answer.is_closed());
        if batch.is_empty() {
            return;
        }
        let requests: Vec<_> = batch.iter().map(|application| application.acceptance.clone()).collect();
        let outcomes = match records.submit(&requests).await {
            Ok(outcomes) => outcomes,
            Err(error) => requests.iter().map(|_| Err(error.clone())).collect(),
        };
        if outcomes.iter().any(Result::is_ok) {
            retries.succeeded();
        }
        let mut refused = Vec::new();
        for (application, outcome) in batch.drain(..).zip(outcomes) {
            match outcome {
                Ok(accepted) => drop(application.answer.send(Ok(accepted))),
                Err(error) => refused.push((application, error)),
            }
        }
        let (mut again, over): (Vec<_>, Vec<_>) = refused.into_iter().partition(|(_, error)| retries.may_help(error));
        refuse(over);
        if let Some((_, error)) = again.first()
            && retries.after(error.clone()).await.is_err()
        {
            refuse(std::mem::take(&mut again));
        }
        batch.extend(again.into_iter().map(|(application, _)| application));
    }
}

fn refuse(all: Vec<(Application, BrokerError)>) {
    if let Some((_, error)) = all.first() {
        report(error, all.len());
    }
    for (application, error) in all {
        let _ = application.answer.send(Err(error.kind()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use roundtrip::broker::conformance::FirstQueue as _;
    use roundtrip::broker::memory::MemoryBroker;
    use roundtrip::broker::{
        CancelOutcome, Changes, EntryId, NewRecord, Progress, Purged, Record, RecordPage, Started,
    };
    use roundtrip::{Budget, CorrelationId, Keep, Origin, Reply, ReplyTo, Request, batch};

    use super::*;

    /// Refuses some requests, as often as is said for each.
    #[derive(Debug)]
    struct Refusing {
        broker: MemoryBroker,
        refusals: Mutex<HashMap<CorrelationId, (u32, BrokerErrorKind)>>,
    }

    #[async_trait]
    impl ResultStore for Refusing {
        async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
            let mut outcomes = Vec::new();
            for one in requests {
                let refusal = match self.refusals.lock().unwrap().get_mut(&one.request.id) {
                    Some((left, kind)) if *left > 0 => {
                        *left -= 1;
                        Some(*kind)
                    }
                    _ => None,
                };
                outcomes.push(match refusal {
                    Some(kind) => Err(BrokerError::new(kind, "accept", "refused by the test")),
                    None => self.broker.submit(std::slice::from_ref(one)).await?.remove(0),
                });
            }
            Ok(outcomes)
        }

        async fn create(&self, _: &NewRecord<'_>) -> Result<(), BrokerError> {
            unreachable!("nobody asks for it")
        }

        async fn start(&self, _: CorrelationId, _: u32) -> Result<Started, BrokerError> {
            unreachable!("nobody asks for it")
        }
        async fn note_progress(&self, _: CorrelationId, _: &Progress) -> Result<(), BrokerError> {
            unreachable!("nobody asks for it")
        }
        async fn complete(&self, _: &[Reply]) -> Result<usize, BrokerError> {
            unreachable!("nobody asks for it")
        }
        async fn store(&self, _: &[Reply]) -> Result<(), BrokerError> {
            unreachable!("nobody asks for it")
        }
        async fn records(&self, _: &[CorrelationId]) -> Result<Vec<Option<Record>>, BrokerError> {
            unreachable!("nobody asks for it")
        }
        async fn list(&self, _: &RecordPage<'_>) -> Result<Vec<Record>, BrokerError> {
            unreachable!("nobody asks for it")
        }

        async fn cancel(&self, _: CorrelationId, _: Option<EntryId>) -> Result<CancelOutcome, BrokerError> {
            unreachable!("nobody asks for it")
        }
        async fn cancelling(&self, _: &[CorrelationId]) -> Result<Vec<CorrelationId>, BrokerError> {
            unreachable!("nobody asks for it")
        }
        async fn purge_expired(&self) -> Result<Purged, BrokerError> {
            unreachable!("nobody asks for it")
        }
        fn changes(&self) -> Box<dyn Changes> {
            unreachable!("nobody asks for it")
        }
    }

    type Answered = oneshot::Receiver<Result<Accepted, BrokerErrorKind>>;

    /// Runs applications through the loop that are refused so often, for that reason.
    async fn run_all(plan: &[(u32, BrokerErrorKind)]) -> (Arc<Refusing>, Vec<Answered>) {
        let request = |_: &_| Request {
            id: CorrelationId::new(),
            origin: Origin::default(),
            reply_to: ReplyTo::unique("test"),
            budget: Budget::new(std::time::Duration::from_secs(30)),
            traceparent: None,
            keep: Keep::Only,
            data: "{}".into(),
        };
        let requests: Vec<_> = plan.iter().map(request).collect();
        let refusals = requests.iter().map(|request| request.id).zip(plan.iter().copied());
        let records = Arc::new(Refusing {
            broker: MemoryBroker::new(),
            refusals: Mutex::new(refusals.collect()),
        });
        let (acceptor, batches) = batch::channel(plan.len(), MAX_BATCH);
        let mut answers = Vec::new();
        for request in requests {
            let (answer, answered) = oneshot::channel();
            let acceptance = Acceptance { request, key: None };
            acceptor.send(Application { acceptance, answer }).await.unwrap();
            answers.push(answered);
        }
        drop(acceptor);
        run(records.clone(), batches).await;
        (records, answers)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_refused_is_tried_again_and_each_hears_its_own() {
        use BrokerErrorKind::{Full, Rejected, Unavailable, Unconfirmed};
        // How often each is refused, why, and what it hears at last.
        let plan = [
            (0, Unavailable, None),
            (2, Unavailable, None),
            (1, Full, Some(Full)),
            (1, Rejected, Some(Rejected)),
            (1, Unconfirmed, Some(Unconfirmed)),
            (99, Unavailable, Some(Unavailable)),
            (0, Unavailable, None),
        ];
        let (records, answers) = run_all(&plan.map(|(times, kind, _)| (times, kind))).await;
        for (answered, (_, _, refused)) in answers.into_iter().zip(plan) {
            let outcome = answered.await.unwrap();
            assert_eq!(outcome.map(drop).err(), refused);
        }
        let published = records.broker.depth().await.unwrap().waiting;
        assert_eq!(published, 3, "each at most once");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_behind_a_window_that_is_used_up_hears_at_once() {
        let began = tokio::time::Instant::now();
        let plan = [(u32::MAX, BrokerErrorKind::Loading); 8 * MAX_BATCH];
        let (_, answers) = run_all(&plan).await;
        for answered in answers {
            assert!(answered.await.unwrap().is_err());
        }
        let took = began.elapsed().as_secs();
        assert!(
            (9..12).contains(&took),
            "one window for all of them, not one for each batch: {took} s"
        );
    }
}
