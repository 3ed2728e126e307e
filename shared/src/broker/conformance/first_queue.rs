//! Calls of the first operation's queue, on a broker: most tests have no other.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;

use crate::broker::{
    Broker, BrokerError, Consumer, Delivery, Depth, Dropped, EntryId, Maintained, NewRecord, Receipt, Record,
    RecordPage, ResultStore, Status,
};
use crate::message::{Budget, CorrelationId, Origin, ReplyTo, Tenant};
use crate::operation::OperationName;

macro_rules! first_queue {
    ($($name:ident($($argument:ident: $type:ty),*) -> $returned:ty;)+) => {
        /// The calls of [`Queue`](crate::broker::Queue), of the first operation's.
        #[async_trait]
        pub trait FirstQueue {
            $(#[allow(missing_docs)] async fn $name(&self, $($argument: $type),*) -> Result<$returned, BrokerError>;)+
        }

        #[async_trait]
        impl<B: Broker + ?Sized> FirstQueue for B {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$returned, BrokerError> {
                self.queue(OperationName::first()).$name($($argument),*).await
            })+
        }
    };
}

first_queue! {
    prepare() -> bool;
    claim(consumer: &Consumer, max: usize) -> Vec<Delivery>;
    claim_due(consumer: &Consumer, within: Duration, max: usize) -> Vec<Delivery>;
    recover(consumer: &Consumer, held: &HashSet<EntryId>, max: usize) -> Vec<Dropped>;
    reclaim(consumer: &Consumer, idle: Duration, max: usize) -> Vec<Dropped>;
    redeliver(consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Vec<Delivery>;
    renew(consumer: &Consumer, receipts: &[Receipt]) -> usize;
    release(consumer: &Consumer, entries: &[EntryId]) -> ();
    deregister(consumer: &Consumer) -> ();
    maintain(consumer: &Consumer, terminals: u32, silent: Duration) -> Maintained;
    depth() -> Depth;
}

/// Records of the first operation, and of the default tenant.
#[async_trait]
pub trait FirstRecords {
    /// As [`ResultStore::create`].
    async fn create_record(
        &self,
        id: CorrelationId,
        entry: Option<EntryId>,
        budget: Budget,
        requester: &ReplyTo,
    ) -> Result<(), BrokerError>;

    /// As [`ResultStore::list`].
    async fn list_records(
        &self,
        status: Option<Status>,
        before: Option<CorrelationId>,
        max: usize,
    ) -> Result<Vec<Record>, BrokerError>;
}

#[async_trait]
impl<R: ResultStore + ?Sized> FirstRecords for R {
    async fn create_record(
        &self,
        id: CorrelationId,
        entry: Option<EntryId>,
        budget: Budget,
        requester: &ReplyTo,
    ) -> Result<(), BrokerError> {
        let origin = &Origin::default();
        self.create(&NewRecord {
            id,
            origin,
            entry,
            budget,
            requester,
        })
        .await
    }

    async fn list_records(
        &self,
        status: Option<Status>,
        before: Option<CorrelationId>,
        max: usize,
    ) -> Result<Vec<Record>, BrokerError> {
        let tenant = &Tenant::default();
        self.list(&RecordPage {
            tenant,
            status,
            before,
            max,
        })
        .await
    }
}
