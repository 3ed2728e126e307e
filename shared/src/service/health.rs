//! What a process knows of its own condition. Sampled in the background, so that asking costs nothing and
//! a broker that hangs does not hang those who ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::breaker::{Breaker, State};
use super::metrics::BrokerMetrics;
use super::telemetry::with_causes;
use crate::broker::{Broker, Depth};

/// How often the broker is sampled. Also how soon a breaker that is open finds a broker that is back.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The last that was heard of the broker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// How long it took to answer; `None` while it does not.
    pub response_time: Option<Duration>,
    /// How much waited in it.
    pub depth: Depth,
}

/// The condition of one process.
#[derive(Debug, Clone)]
pub struct Health(Arc<Condition>);

#[derive(Debug)]
struct Condition {
    service: &'static str,
    ready: AtomicBool,
    breaker: Arc<Breaker>,
    sample: watch::Sender<Sample>,
    metrics: BrokerMetrics,
}

impl Health {
    /// The condition of `service`, not ready yet.
    #[must_use]
    pub fn new(service: &'static str, breaker: Arc<Breaker>, metrics: BrokerMetrics) -> Self {
        Self(Arc::new(Condition {
            service,
            ready: AtomicBool::new(false),
            breaker,
            sample: watch::Sender::default(),
            metrics,
        }))
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// Whether new requests are welcome: after start, until drain. Says nothing about the broker: if every
    /// instance became unready with it, a slow broker would be an outage.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// Says whether new requests are welcome.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// Where the breaker around the broker stands.
    #[must_use]
    pub fn circuit(&self) -> State {
        self.0.breaker.state()
    }

    /// The last sample of the broker.
    #[must_use]
    pub fn sample(&self) -> Sample {
        *self.0.sample.borrow()
    }

    /// Samples the broker until `stop`.
    pub async fn watch(self, broker: Arc<dyn Broker>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let sample = take_sample(broker.as_ref()).await;
            let metrics = &self.0.metrics;
            if let Some(took) = sample.response_time {
                metrics.ping(took);
                metrics.depth(&sample.depth);
            }
            metrics.circuit(self.circuit().gauge());
            self.0.sample.send_replace(sample);
        }
    }
}

async fn take_sample(broker: &dyn Broker) -> Sample {
    let sample = async {
        Ok::<_, crate::BrokerError>(Sample {
            response_time: Some(broker.ping().await?),
            depth: broker.depth().await?,
        })
    };
    sample.await.unwrap_or_else(|error| {
        tracing::debug!(error = with_causes(&error), "the broker did not answer");
        Sample::default()
    })
}
