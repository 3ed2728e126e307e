//! Work that began although nobody could say so.
#![allow(clippy::unwrap_used)]

mod setup;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proxy_service::job::Job;
use proxy_service::metrics::WorkerMetrics;
use proxy_service::workers::Workers;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{
    Acceptance, Accepted, Begun, BrokerErrorKind, Cancelled, Changes, EntryId, IdempotencyKey, Progress, Record,
    Records, Status, Swept,
};
use roundtrip::{BrokerError, Budget, CorrelationId, FaultCode, Keep, Reply, ReplyTo, Request};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use setup::{LONG, Setup, echo, options};

/// Records that cannot be told that work begins.
#[derive(Debug)]
struct Unsaid(Arc<MemoryBroker>);

type Answer<T> = Result<T, BrokerError>;

#[async_trait]
impl Records for Unsaid {
    async fn begin(&self, _: CorrelationId, _: u32) -> Answer<Begun> {
        let kind = BrokerErrorKind::Unavailable;
        Err(BrokerError::new(kind, "begin", "away for a moment"))
    }
    async fn note_progress(&self, id: CorrelationId, progress: &Progress) -> Answer<()> {
        self.0.note_progress(id, progress).await
    }
    async fn records(&self, ids: &[CorrelationId]) -> Answer<Vec<Option<Record>>> {
        self.0.records(ids).await
    }
    async fn cancelling(&self, ids: &[CorrelationId]) -> Answer<Vec<CorrelationId>> {
        self.0.cancelling(ids).await
    }
    async fn sweep(&self) -> Answer<Swept> {
        self.0.sweep().await
    }
    fn changes(&self) -> Box<dyn Changes> {
        self.0.changes()
    }
    async fn accept(&self, _: &[Acceptance]) -> Answer<Vec<Answer<Accepted>>> {
        unreachable!("a worker accepts nothing")
    }
    async fn keep(&self, _: CorrelationId, _: Option<EntryId>, _: Budget, _: &ReplyTo) -> Answer<()> {
        unreachable!("a worker promises nothing")
    }
    async fn finish(&self, _: &[Reply]) -> Answer<usize> {
        unreachable!("a worker settles")
    }
    async fn store(&self, _: &[Reply]) -> Answer<()> {
        unreachable!("a worker settles")
    }
    async fn list(&self, _: Option<Status>, _: Option<CorrelationId>, _: usize) -> Answer<Vec<Record>> {
        unreachable!("a worker lists nothing")
    }
    async fn cancel(&self, _: CorrelationId, _: Option<EntryId>) -> Answer<Cancelled> {
        unreachable!("a worker cancels nothing")
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_began_unsaid_and_ran_out_of_time_frees_no_key() {
    let mut setup = Setup::new();
    let (options, metrics) = (options(&[]), WorkerMetrics::new(&setup.metrics));
    let handler = service_fn(|job: Job| async {
        sleep(LONG).await;
        echo(job).await
    });
    let workers = Workers::new(handler, &options, metrics.clone());
    let records = Arc::new(Unsaid(setup.broker.clone()));
    let _running = workers.start(
        setup.broker.clone(),
        records,
        &options,
        &metrics,
        &CancellationToken::new(),
    );
    let request = Request {
        keep: Keep::WithReply,
        ..setup.request(1, Duration::from_secs(2))
    };
    let acceptance = Acceptance {
        request: request.clone(),
        key: Some(IdempotencyKey {
            name: [1; 32],
            fingerprint: [1; 32],
        }),
    };
    setup.broker.accept(std::slice::from_ref(&acceptance)).await.unwrap();
    let reply = setup.read(1).await.remove(0);
    assert_eq!(reply.outcome.unwrap_err().code, FaultCode::UpstreamTimeout);
    let again = setup.broker.accept(&[acceptance]).await.unwrap().remove(0);
    assert_eq!(again.unwrap(), Accepted::Known(request.id), "it may have been done");
}
