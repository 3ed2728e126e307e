//! HTTP front of Roundtrip. The flow of one call reads top down: a route in [`routes`] validates,
//! [`requester`] asks `admission`, registers, publishes and awaits, `publisher` and `replies` move batches to and from the
//! broker, `pending` knows who waits for what.

pub mod answer;
pub mod call;
pub mod config;
pub mod json_body;
pub mod metrics;
pub mod openapi;
pub mod requester;
pub mod router;
pub mod routes;

#[cfg(feature = "bench")]
pub mod bench;

mod acceptor;
mod admission;
mod body_memory;
mod embedded;
mod ends;
mod hangups;
mod onlookers;
mod pending;
mod presence;
mod publisher;
mod replies;
mod watches;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use proxy_service::OPERATION;
use roundtrip::broker::{self, BrokerOptions, Durability, Records, Role};
use roundtrip::service::admin::Admin;
use roundtrip::service::guard::GuardedBroker;
use roundtrip::service::health::Health;
use roundtrip::service::listener;
use roundtrip::service::metrics::{BrokerMetrics, HttpMetrics, Metrics};
use roundtrip::service::shutdown::{LoopEnded, spawn_essential};
use roundtrip::service::{around, openapi as documents, server};
use roundtrip::{ReplyTo, batch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use admission::{Admission, JobLimits, Limits};
use config::{Config, OnDisconnect};
use json_body::Bodies;
use metrics::IngressMetrics;
use onlookers::Onlookers;
use pending::Pending;
use requester::{Requester, Times};
use routes::weather::WeatherState;
use watches::Watches;

/// How long before connections are cut off those who still wait are promised their results.
const LAST_CALL: Duration = Duration::from_secs(4);

/// After that, a write that replicas did not confirm was taken back.
const PROBATION: Duration = Duration::from_millis(1500);

/// How long background loops may take to end after the last caller was answered.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the ingress until `stop`, then drains it: callers who are waiting get their answers while publisher
/// and reply reader still live.
///
/// # Errors
/// When it cannot start: the address is taken, or embedded workers cannot be built. When a loop it needs ended.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = server::bind(config.listen_addr)?;
    let address = listener.local_addr()?;
    let options = BrokerOptions {
        operation: OPERATION,
        lease: config.worker.lease,
        durability: config.durability(),
        retention: config.retention(),
    };
    let backend = broker::connect(&config.broker_url, options);
    let broker = Arc::new(GuardedBroker::new(backend.broker));
    let records: Arc<dyn Records> = Arc::new(broker.beside(backend.records));
    let metrics = Metrics::new();
    let ingress_metrics = IngressMetrics::new(&metrics);
    let health = Health::new("ingress-service", broker.breaker(), BrokerMetrics::new(&metrics));
    let pending = Pending::new(config.max_in_flight as usize, ingress_metrics.pending.clone());
    let limits = Limits {
        request_timeout: config.request_timeout,
        max_in_flight: config.max_in_flight,
        max_queue_age: config.max_queue_age,
        max_memory_share: config.max_memory_share,
        jobs: JobLimits {
            share: config.job_share,
            queued: u64::from(config.max_queued_jobs),
            bytes: config.max_queued_job_bytes,
        },
    };
    let admission = Arc::new(Admission::new(limits, health.clone()));

    let reply_to = ReplyTo::unique(&roundtrip::service::hostname());
    let (ended, stop_replies, stop_attending): (CancellationToken, CancellationToken, CancellationToken) =
        Default::default();
    let replies = replies::run(
        roundtrip::Broker::replies(broker.as_ref(), &reply_to),
        records.clone(),
        pending.clone(),
        ingress_metrics.clone(),
        stop_replies.clone(),
    );
    let reading = spawn_essential(&ended, replies);
    let presence = presence::run(
        broker.clone(),
        reply_to.clone(),
        ingress_metrics.clone(),
        stop_attending.clone(),
    );
    let attending = spawn_essential(&ended, presence);
    // A place for each request that can be admitted: one waits only behind those whose callers have gone.
    let (publisher, batches) = batch::channel(config.max_in_flight as usize, publisher::MAX_BATCH);
    let (hangups, hung_up) = hangups::channel();
    let hangups = (config.on_disconnect == OnDisconnect::Cancel).then_some(hangups);
    let publications = publisher::run(
        broker.clone(),
        pending.clone(),
        batches,
        hangups.clone(),
        ingress_metrics.clone(),
    );
    let publishing = spawn_essential(&ended, publications);
    let workers = match config.broker_url.is_memory() {
        true => Some(embedded::start(
            &config,
            broker.clone(),
            records.clone(),
            &metrics,
            &ended,
        )?),
        false => None,
    };

    let (acceptor, applications) = batch::channel(config.max_in_flight as usize, acceptor::MAX_BATCH);
    let accepting = spawn_essential(&ended, acceptor::run(records.clone(), applications));
    // Without a sender it ends at once, and that is no reason to leave.
    let cancelling = tokio::spawn(hangups::run(records.clone(), hung_up, ingress_metrics.clone()));
    let (ends, ended_requests) = ends::Ends::channel();
    let telling = tokio::spawn(ends::run(records.clone(), ended_requests));
    let watches = Watches::new(records.clone());
    let stop_watching = CancellationToken::new();
    let listening = spawn_essential(
        &ended,
        listener::listen(
            records.clone(),
            watches.clone(),
            watches::FALLBACK,
            stop_watching.clone(),
        ),
    );
    let (stop_serving, last_call) = (CancellationToken::new(), CancellationToken::new());
    let following = tokio::spawn(admission::follow(
        admission.clone(),
        pending.clone(),
        health.follow(),
        ingress_metrics.clone(),
        stop_watching.clone(),
    ));
    let bodies = Bodies::new(config.max_body, config.max_body_memory, &ingress_metrics);
    let requester = Arc::new(Requester {
        reply_to,
        admission,
        pending: pending.clone(),
        publisher,
        acceptor,
        records,
        watches,
        onlookers: Onlookers::new(config.max_followers, config.max_event_streams, &ingress_metrics),
        hangups,
        ends,
        times: Times {
            request: config.request_timeout,
            job: config.job_timeout,
        },
        draining: stop_serving.clone(),
        last_call: last_call.clone(),
        probation: match config.durability() {
            Durability::Replicated(_) => PROBATION,
            Durability::Volatile | Durability::Aof => Duration::ZERO,
        },
        metrics: ingress_metrics,
    });
    let http = HttpMetrics::new(&metrics);
    let weather = WeatherState {
        requester,
        health: health.clone(),
        bodies,
    };
    let still_pending = pending.clone();
    let admin = Admin {
        health: health.clone(),
        metrics,
        pending: Arc::new(move || pending.len()),
    };
    let (routes, _) = documents::serve(router::router(weather, admin));
    let app = around::every_call(routes, http.clone(), health.clone());
    let connections = config.connections.limits();
    let serving = server::serve(
        listener,
        app,
        connections,
        http,
        stop_serving.clone(),
        config.drain_timeout,
    );
    let serving = spawn_essential(&ended, serving);
    let watching = tokio::spawn(health.clone().watch(broker, Role::Requester, stop_watching.clone()));
    tracing::info!(%address, broker = %config.broker_url, "ingress-service is up");
    if config.broker_url.is_memory() {
        embedded::greet(address);
    }
    health.set_ready(true);

    tokio::select! {
        () = stop.cancelled() => {}
        () = ended.cancelled() => {}
    }
    health.set_ready(false);
    sleep(config.shutdown_delay).await;
    stop_serving.cancel();
    // Whoever has not heard by then is told where to ask, while there is time for it.
    let leave_in = config.drain_timeout - LAST_CALL.min(config.drain_timeout / 4);
    let calling = tokio::spawn(async move {
        sleep(leave_in).await;
        last_call.cancel();
        still_pending.last_call();
    });
    let _ = serving.await;
    calling.abort();
    if let Some(workers) = workers {
        workers.drain(STOP_TIMEOUT).await;
    }
    // The last caller took the last sender along: the publisher ends by itself.
    let _ = timeout(STOP_TIMEOUT, async {
        tokio::join!(publishing, accepting, cancelling, telling)
    })
    .await;
    // Before the reply stream is removed for good.
    stop_attending.cancel();
    let _ = timeout(STOP_TIMEOUT, attending).await;
    stop_replies.cancel();
    let _ = timeout(STOP_TIMEOUT, reading).await;
    stop_watching.cancel();
    let _ = tokio::join!(watching, following, listening);
    tracing::info!("ingress-service has stopped");
    if stop.is_cancelled() {
        Ok(())
    } else {
        Err(LoopEnded.into())
    }
}
