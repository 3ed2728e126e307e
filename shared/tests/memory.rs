//! The embedded backend passes the conformance suite.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use roundtrip::broker::conformance::Harness;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{Broker, DeadLetters, Malformed, ResultStore, Retention};

struct Memory(Arc<MemoryBroker>);

#[async_trait]
impl Harness for Memory {
    fn broker(&self) -> Arc<dyn Broker> {
        self.0.clone()
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.0.clone()
    }

    fn records(&self) -> Arc<dyn ResultStore> {
        self.0.clone()
    }

    fn records_kept(&self, retention: Retention) -> Arc<dyn ResultStore> {
        Arc::new(MemoryBroker::with(retention))
    }

    async fn cut(&self) {}

    async fn put_malformed(&self) {
        self.0.put_malformed(Malformed {
            reason: "field requestId: a UUID is expected".to_owned(),
            requester: None,
            fields: vec![("garbage".into(), "1".into())],
        });
    }
}

async fn harness() -> Memory {
    Memory(Arc::new(MemoryBroker::new()))
}

roundtrip::broker_conformance!(harness(), start_paused = true);
