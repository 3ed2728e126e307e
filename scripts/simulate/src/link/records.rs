//! Records, through the weather.

use async_trait::async_trait;
use roundtrip::broker::{
    Acceptance, Accepted, BrokerError, CancelOutcome, Changes, EntryId, NewRecord, Progress, Purged, Record,
    RecordPage, ResultStore, Started,
};
use roundtrip::{CorrelationId, Reply};

use super::Link;
use crate::weather::Call;

#[async_trait]
impl ResultStore for Link {
    async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        let (requests, by) = (requests.to_vec(), self.instance.clone());
        self.call(Call::Publish, false, move |server| {
            let (requests, by) = (requests.clone(), by.clone());
            async move { server.submit(by.name(), &requests).await }
        })
        .await
    }

    async fn create(&self, record: &NewRecord<'_>) -> Result<(), BrokerError> {
        let NewRecord { id, entry, budget, .. } = *record;
        let (origin, requester) = (record.origin.clone(), record.requester.clone());
        self.call(Call::Record, true, move |server| {
            let (origin, requester) = (origin.clone(), requester.clone());
            async move {
                let record = NewRecord {
                    id,
                    origin: &origin,
                    entry,
                    budget,
                    requester: &requester,
                };
                server.memory.create(&record).await
            }
        })
        .await
    }

    async fn start(&self, id: CorrelationId, attempt: u32) -> Result<Started, BrokerError> {
        self.call(Call::Record, true, move |server| async move {
            server.memory.start(id, attempt).await
        })
        .await
    }

    async fn note_progress(&self, id: CorrelationId, progress: &Progress) -> Result<(), BrokerError> {
        let progress = progress.clone();
        self.call(Call::Record, true, move |server| {
            let progress = progress.clone();
            async move { server.memory.note_progress(id, &progress).await }
        })
        .await
    }

    async fn complete(&self, replies: &[Reply]) -> Result<usize, BrokerError> {
        let replies = replies.to_vec();
        self.call(Call::Record, true, move |server| {
            let replies = replies.clone();
            async move { server.memory.complete(&replies).await }
        })
        .await
    }

    async fn store(&self, replies: &[Reply]) -> Result<(), BrokerError> {
        let replies = replies.to_vec();
        self.call(Call::Record, true, move |server| {
            let replies = replies.clone();
            async move { server.memory.store(&replies).await }
        })
        .await
    }

    async fn records(&self, ids: &[CorrelationId]) -> Result<Vec<Option<Record>>, BrokerError> {
        let ids = ids.to_vec();
        self.call(Call::Look, true, move |server| {
            let ids = ids.clone();
            async move { server.memory.records(&ids).await }
        })
        .await
    }

    async fn list(&self, page: &RecordPage<'_>) -> Result<Vec<Record>, BrokerError> {
        let RecordPage {
            status, before, max, ..
        } = *page;
        let tenant = page.tenant.clone();
        self.call(Call::Look, true, move |server| {
            let tenant = tenant.clone();
            async move {
                let page = RecordPage {
                    tenant: &tenant,
                    status,
                    before,
                    max,
                };
                server.memory.list(&page).await
            }
        })
        .await
    }

    async fn cancel(&self, id: CorrelationId, entry: Option<EntryId>) -> Result<CancelOutcome, BrokerError> {
        self.call(Call::Record, true, move |server| async move {
            let cancelled = server.memory.cancel(id, entry).await;
            server.log.note(id, || format!("to be cancelled: {cancelled:?}"));
            cancelled
        })
        .await
    }

    async fn cancelling(&self, ids: &[CorrelationId]) -> Result<Vec<CorrelationId>, BrokerError> {
        let ids = ids.to_vec();
        self.call(Call::Look, true, move |server| {
            let ids = ids.clone();
            async move { server.memory.cancelling(&ids).await }
        })
        .await
    }

    async fn purge_expired(&self) -> Result<Purged, BrokerError> {
        self.call(
            Call::Look,
            true,
            |server| async move { server.memory.purge_expired().await },
        )
        .await
    }

    fn changes(&self) -> Box<dyn Changes> {
        self.server.memory.changes()
    }
}
