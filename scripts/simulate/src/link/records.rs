//! Records, through the weather.

use async_trait::async_trait;
use roundtrip::broker::{
    Acceptance, Accepted, BrokerError, CancelOutcome, Changes, EntryId, Progress, Purged, Record, ResultStore, Started,
    Status,
};
use roundtrip::{Budget, CorrelationId, Reply, ReplyTo};

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

    async fn create(
        &self,
        id: CorrelationId,
        entry: Option<EntryId>,
        budget: Budget,
        requester: &ReplyTo,
    ) -> Result<(), BrokerError> {
        let requester = requester.clone();
        self.call(Call::Record, true, move |server| {
            let requester = requester.clone();
            async move { server.memory.create(id, entry, budget, &requester).await }
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

    async fn list(
        &self,
        status: Option<Status>,
        before: Option<CorrelationId>,
        max: usize,
    ) -> Result<Vec<Record>, BrokerError> {
        self.call(Call::Look, true, move |server| async move {
            server.memory.list(status, before, max).await
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
