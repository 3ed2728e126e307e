//! Work that began although nobody could say so.
#![allow(clippy::unwrap_used)]

mod setup;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proxy_service::handler::Job;
use proxy_service::pool::Running;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{
    Acceptance, Accepted, BrokerErrorKind, CancelOutcome, Changes, EntryId, IdempotencyKey, NewRecord, Progress,
    Purged, Record, RecordPage, ResultStore, Started,
};
use roundtrip::{BrokerError, CorrelationId, FaultCode, Keep, Reply, Request};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use setup::{LONG, Setup, echo, options, pool};

/// Records that cannot be told that work begins.
#[derive(Debug)]
struct Unsaid(Arc<MemoryBroker>);

type Answer<T> = Result<T, BrokerError>;

#[async_trait]
impl ResultStore for Unsaid {
    async fn start(&self, _: CorrelationId, _: u32) -> Answer<Started> {
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
    async fn purge_expired(&self) -> Answer<Purged> {
        self.0.purge_expired().await
    }
    fn changes(&self) -> Box<dyn Changes> {
        self.0.changes()
    }
    async fn submit(&self, _: &[Acceptance]) -> Answer<Vec<Answer<Accepted>>> {
        unreachable!("a worker accepts nothing")
    }
    async fn create(&self, _: &NewRecord<'_>) -> Answer<()> {
        unreachable!("a worker promises nothing")
    }
    async fn complete(&self, _: &[Reply]) -> Answer<usize> {
        unreachable!("a worker settles")
    }
    async fn store(&self, _: &[Reply]) -> Answer<()> {
        unreachable!("a worker settles")
    }
    async fn list(&self, _: &RecordPage<'_>) -> Answer<Vec<Record>> {
        unreachable!("a worker lists nothing")
    }
    async fn cancel(&self, _: CorrelationId, _: Option<EntryId>) -> Answer<CancelOutcome> {
        unreachable!("a worker cancels nothing")
    }
}

/// Accepts a request under a key.
async fn accept(setup: &Setup, budget: Duration) -> Acceptance {
    let acceptance = Acceptance {
        request: Request {
            keep: Keep::WithReply,
            ..setup.request(1, budget)
        },
        key: Some(IdempotencyKey {
            name: [1; 32],
            fingerprint: [1; 32],
        }),
    };
    setup.broker.submit(std::slice::from_ref(&acceptance)).await.unwrap();
    acceptance
}

/// Workers whose work takes longer than anybody waits.
fn start(setup: &Setup) -> Running {
    let options = options(&["--lease", "1s"]);
    let handler = |job: Job| async {
        sleep(LONG).await;
        echo(job).await
    };
    let workers = pool(handler, &options, &setup.metrics);
    let records = Arc::new(Unsaid(setup.broker.clone()));
    workers.start(setup.broker.clone(), records, &options, &CancellationToken::new())
}

/// Reads how it ended, and sends the same call again.
async fn assert_ends_and_keeps_its_key(setup: &mut Setup, acceptance: Acceptance, code: FaultCode) {
    let reply = setup.read(1).await.remove(0);
    assert_eq!(reply.outcome.clone().unwrap_err().code, code);
    let id = acceptance.request.id;
    let again = setup.broker.submit(&[acceptance]).await.unwrap().remove(0);
    assert_eq!(again.unwrap(), Accepted::Known(id), "it may have been done");
    let record = setup.broker.records(&[id]).await.unwrap().remove(0).unwrap();
    assert!(record.key_stands_for(&reply.outcome), "and its caller is told so");
}

#[tokio::test(start_paused = true)]
async fn work_that_began_unsaid_and_ran_out_of_time_frees_no_key() {
    let mut setup = Setup::new();
    let _running = start(&setup);
    let acceptance = accept(&setup, Duration::from_secs(2)).await;
    assert_ends_and_keeps_its_key(&mut setup, acceptance, FaultCode::Expired).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_began_unsaid_and_was_cancelled_frees_no_key() {
    let mut setup = Setup::new();
    let _running = start(&setup);
    let acceptance = accept(&setup, LONG / 2).await;
    while setup.broker.depth().await.unwrap().claimed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let asked = ResultStore::cancel(setup.broker.as_ref(), acceptance.request.id, None).await;
    assert_eq!(asked.unwrap(), CancelOutcome::Requested);
    assert_ends_and_keeps_its_key(&mut setup, acceptance, FaultCode::Cancelled).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_may_have_begun_in_an_earlier_delivery_frees_no_key() {
    // The second has no time left when it comes, the third is told without room.
    for deliveries in [1, 2] {
        let mut setup = Setup::new();
        let acceptance = accept(&setup, Duration::from_secs(2)).await;
        setup.crash_on_all(deliveries).await;
        sleep(Duration::from_secs(3)).await;
        let _running = start(&setup);
        assert_ends_and_keeps_its_key(&mut setup, acceptance, FaultCode::Expired).await;
    }
}
