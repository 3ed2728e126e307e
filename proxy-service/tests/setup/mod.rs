//! A broker in memory, a requester, and workers that end with the test.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod faulty;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use proxy_service::config::{Config, WorkerOptions};
use proxy_service::failure::Failure;
use proxy_service::handler::{Handler, Job};
use proxy_service::operations::{Operations, Policy};
use proxy_service::pool::{Running, WorkerPool};
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{Consumer, ReplyStream};
use roundtrip::observe::metrics::Metrics;
use roundtrip::{Broker, Budget, CorrelationId, Keep, OperationName, Origin, Reply, ReplyTo, Request};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) fn options(flags: &[&str]) -> WorkerOptions {
    let flags = std::iter::once("proxy-service").chain(flags.iter().copied());
    Config::parse_from(flags).worker
}

/// Workers of the first operation.
pub(crate) fn pool(handler: impl Handler, options: &WorkerOptions, metrics: &Metrics) -> WorkerPool {
    let operations = Operations::new().with_handler(OperationName::first(), handler, Policy::default());
    WorkerPool::new(&operations, options, metrics)
}

pub(crate) struct Setup {
    pub(crate) broker: Arc<MemoryBroker>,
    pub(crate) requester: ReplyTo,
    pub(crate) replies: Box<dyn ReplyStream>,
    pub(crate) metrics: Metrics,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let (broker, requester) = (Arc::new(MemoryBroker::new()), ReplyTo::unique("test"));
        Self {
            replies: broker.replies(&requester),
            broker,
            requester,
            metrics: Metrics::new(),
        }
    }

    pub(crate) fn start<F>(&self, flags: &[&str], handler: impl Fn(Job) -> F + Clone + Send + Sync + 'static) -> Running
    where
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        self.start_workers(flags, handler).1
    }

    pub(crate) fn start_workers<F>(
        &self,
        flags: &[&str],
        handler: impl Fn(Job) -> F + Clone + Send + Sync + 'static,
    ) -> (WorkerPool, Running)
    where
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        self.start_on(self.broker.clone(), flags, handler)
    }

    /// Workers that reach the broker through another.
    pub(crate) fn start_on<F>(
        &self,
        broker: Arc<dyn Broker>,
        flags: &[&str],
        handler: impl Fn(Job) -> F + Clone + Send + Sync + 'static,
    ) -> (WorkerPool, Running)
    where
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        let options = options(flags);
        let workers = pool(handler, &options, &self.metrics);
        let running = workers.start(broker, self.broker.clone(), &options, &CancellationToken::new());
        (workers, running)
    }

    pub(crate) fn request(&self, n: usize, budget: Duration) -> Request {
        Request {
            id: CorrelationId::new(),
            origin: Origin::default(),
            reply_to: self.requester.clone(),
            budget: Budget::new(budget),
            traceparent: None,
            keep: Keep::No,
            data: n.to_string().into(),
        }
    }

    pub(crate) async fn publish(&self, count: usize, budget: Duration) -> Vec<Request> {
        let requests: Vec<_> = (0..count).map(|n| self.request(n, budget)).collect();
        self.broker.publish(&requests).await.unwrap();
        requests
    }

    /// So many workers take all there is, one after the other, and die of it.
    pub(crate) async fn crash_on_all(&self, times: u32) {
        let mut held = self.broker.claim(&Consumer::unique("crashing"), 1000).await.unwrap();
        for attempt in 2..=times {
            let crashing = Consumer::unique("crashing");
            let dropped = self.broker.reclaim(&crashing, Duration::ZERO, 1000).await.unwrap();
            assert_eq!(dropped.len(), held.len());
            let again: Vec<_> = dropped.iter().map(|one| (one.entry, attempt)).collect();
            held = self.broker.redeliver(&crashing, &again).await.unwrap();
        }
    }

    /// Publishes requests, each delivered so often already and dropped each time.
    pub(crate) async fn drop_work(&self, dropped: &[(u32, Duration)]) -> Vec<Request> {
        let mut requests = Vec::new();
        for (deliveries, budget) in dropped {
            let consumer = Consumer::unique("crashing");
            requests.extend(self.publish(1, *budget).await);
            // Nobody can claim in between: nothing here waits.
            let held = self.broker.claim(&consumer, 1).await.unwrap();
            let again = [(held[0].receipt.entry, *deliveries)];
            assert_eq!(self.broker.redeliver(&consumer, &again).await.unwrap().len(), 1);
        }
        requests
    }

    pub(crate) async fn read(&mut self, count: usize) -> Vec<Reply> {
        let mut all = Vec::new();
        let reading = async {
            while all.len() < count {
                all.extend(self.replies.next().await.unwrap());
            }
        };
        timeout(Duration::from_secs(60), reading)
            .await
            .expect("the replies come");
        all
    }
}

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn echo(job: Job) -> Result<Bytes, Failure> {
    Ok(job.request.data)
}
