//! An ingress whose clock is paused, and its worker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::FromRequestParts;
use bytes::Bytes;
use roundtrip::batch::{self, Batches};
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{Consumer, Delivery, ResultStore, Settlement};
use roundtrip::http::problem::Problem;
use roundtrip::observe::health::Health;
use roundtrip::observe::metrics::Metrics;
use roundtrip::process::listener;
use roundtrip::resilience::circuit_broker::CircuitBroker;
use roundtrip::{Broker, CorrelationId, Fault, OperationName, Reply, ReplyTo, Request};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, JobLimits, Limits};
use crate::disconnects::{self, Disconnect};
use crate::metrics::{IngressMetrics, OperationMetrics};
use crate::pending::Pending;
use crate::publisher::{plain, recorded};
use crate::replies;
use crate::request_options::RequestOptions;
use crate::requester::{Answer, Ask, Requester};
use crate::transport::{Times, Transport};
use crate::wait_limits::WaitLimits;
use crate::watches::{FALLBACK, Watches};

pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const MAX_IN_FLIGHT: u32 = 4;
pub(crate) const MAX_FOLLOWERS: u32 = 6;

pub(crate) struct Stage {
    pub(crate) requester: Arc<Requester>,
    broker: Arc<MemoryBroker>,
    worker: Consumer,
    /// What is to be published, until somebody publishes it.
    held: Mutex<Option<Batches<Request>>>,
}

pub(crate) type Calling = JoinHandle<Result<Answer, Problem>>;

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self::held();
        stage.publish();
        stage
    }

    /// A stage on which it is told who hangs up, as with ON_DISCONNECT=cancel.
    pub(super) fn told_of_hangups() -> (Self, mpsc::Receiver<Disconnect>) {
        let (mut stage, (sender, receiver)) = (Self::new(), disconnects::channel());
        let requester = Arc::get_mut(&mut stage.requester).expect("nobody has it yet");
        let transport = Arc::get_mut(&mut requester.transport).expect("nobody has it yet");
        transport.disconnects = Some(sender);
        (stage, receiver)
    }

    /// A stage on which nothing is published until [`Stage::publish`].
    pub(super) fn held() -> Self {
        let broker = Arc::new(MemoryBroker::new());
        let records: Arc<dyn ResultStore> = broker.clone();
        let metrics = Metrics::new();
        let ingress_metrics = IngressMetrics::new(&metrics);
        let breaker = CircuitBroker::new(broker.clone()).breaker();
        let operation = OperationName::first();
        let health = Health::new("test", breaker, &metrics, [operation]);
        let pending = Pending::new(MAX_IN_FLIGHT as usize, ingress_metrics.pending.clone());
        let limits = Limits {
            request_timeout: TIMEOUT,
            max_in_flight: MAX_IN_FLIGHT,
            max_queue_age: None,
            max_memory_share: 0.9,
            jobs: JobLimits {
                share: 0.5,
                queued: 100,
                bytes: 1_000_000,
            },
        };
        let (reply_to, never) = (ReplyTo::unique("test"), CancellationToken::new());
        let (publisher, batches) = batch::channel(100, plain::MAX_BATCH);
        let (recorder, applications) = batch::channel(100, recorded::MAX_BATCH);
        let watches = Watches::new(records.clone());
        let (results, ended) = crate::result_writer::ResultWriter::channel();
        tokio::spawn(crate::result_writer::run(records.clone(), ended));
        tokio::spawn(recorded::run(records.clone(), applications));
        let reading = broker.replies(&reply_to);
        let metrics_of_replies = ingress_metrics.clone();
        tokio::spawn(replies::run(
            reading,
            records.clone(),
            pending.clone(),
            metrics_of_replies,
            never.clone(),
        ));
        tokio::spawn(listener::listen(records.clone(), watches.clone(), FALLBACK, never));
        let transport = Transport {
            reply_to,
            pending,
            publisher,
            recorder,
            records,
            watches,
            wait_limits: WaitLimits::new(MAX_FOLLOWERS, MAX_FOLLOWERS, &ingress_metrics),
            refused_streams: None,
            disconnects: None,
            results,
            times: Times {
                request: TIMEOUT,
                job: Duration::from_secs(3600),
            },
            draining: CancellationToken::new(),
            last_call: CancellationToken::new(),
            probation: Duration::ZERO,
            metrics: ingress_metrics,
        };
        let requester = Requester {
            operation,
            transport: Arc::new(transport),
            admission: Arc::new(Admission::new(operation, limits, health)),
            metrics: OperationMetrics::new(&metrics.of(operation)),
        };
        Self {
            requester: Arc::new(requester),
            broker,
            worker: Consumer::unique("worker"),
            held: Mutex::new(Some(batches)),
        }
    }

    /// Begins to publish.
    pub(super) fn publish(&self) {
        let batches = self.held.lock().unwrap().take().expect("not published yet");
        let (pending, metrics) = (self.requester.pending.clone(), self.requester.transport.metrics.clone());
        tokio::spawn(plain::run(self.broker.clone(), pending, batches, None, metrics));
    }

    /// Begins to send what is to be published, and never ends; whose request the first is.
    pub(super) async fn send(&self) -> CorrelationId {
        let mut batches = self.held.lock().unwrap().take().expect("not published yet");
        let mut batch = Vec::new();
        assert!(batches.next(&mut batch).await);
        assert!(batch.iter().all(|request| self.requester.pending.send(request.id)));
        batch[0].id
    }

    /// How many requests wait for a worker.
    pub(super) async fn waiting(&self) -> u64 {
        self.broker.depth().await.unwrap().waiting
    }

    /// Makes a call with some headers, and goes on.
    pub(crate) async fn call(&self, headers: &[(&str, &str)]) -> Calling {
        let call = call_with(headers).await;
        let requester = self.requester.clone();
        tokio::spawn(async move {
            let ask = Ask {
                id: CorrelationId::new(),
                route: "POST /test",
                data: "{}".into(),
                call: &call,
            };
            requester.request(ask).await
        })
    }

    /// The next request, as a worker gets it.
    pub(super) async fn claim(&self) -> Delivery {
        self.broker.claim(&self.worker, 1).await.unwrap().remove(0)
    }

    /// Ends a delivery with this outcome.
    pub(super) async fn settle(&self, delivery: Delivery, outcome: Result<Bytes, Fault>) {
        let request = delivery.content.unwrap();
        let reply = Reply::to(&request, outcome);
        let settlement = Settlement::reply(delivery.receipt, request.reply_to, reply).keeping(request.keep);
        self.broker.settle(&[settlement]).await.unwrap();
    }
}

/// The wishes of a call with these headers.
pub(super) async fn call_with(headers: &[(&str, &str)]) -> RequestOptions {
    let mut request = axum::http::Request::new(());
    for (name, value) in headers {
        let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    RequestOptions::from_request_parts(&mut request.into_parts().0, &())
        .await
        .unwrap()
}

pub(super) fn is_done(answer: &Result<Answer, Problem>) -> bool {
    matches!(answer, Ok(Answer::Done { outcome: Ok(data), .. }) if data == "\"done\"")
}
