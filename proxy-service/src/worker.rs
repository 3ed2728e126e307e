//! The claim loop: terminals first, then claim that many, start, again. Now and then a turn goes to what
//! others dropped, so that both share the same terminals. Stops between claims: a claim that
//! is under way is awaited, because its deliveries are ours.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::Broker;
use roundtrip::broker::{BrokerError, Consumer, Delivery};
use roundtrip::service::retry::Delays;
use roundtrip::service::telemetry::with_causes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::WorkerMetrics;
use crate::reclaimer::ScanTimer;
use crate::terminals::{Terminals, Work};

/// Pauses while the broker is away. The longest is short enough to be back within a second or two.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Claims for a worker.
pub(crate) struct Claimer {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) consumer: Consumer,
    pub(crate) lease: Duration,
    pub(crate) terminals: Arc<Terminals>,
    pub(crate) work: Arc<Work>,
    pub(crate) metrics: WorkerMetrics,
}

impl Claimer {
    /// Claims until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut pauses = Delays::new(FIRST_PAUSE, MAX_PAUSE);
        let mut scan = ScanTimer::new();
        let mut doubtful = false;
        while let Some(taken) = stop.run_until_cancelled(self.terminals.take()).await {
            let claimed = match doubtful {
                true => self.recover(taken.count()).await,
                false if scan.is_due() => self.reclaim(taken.count()).await,
                false => self.claim(taken.count()).await,
            };
            // What a failed call may have brought us is looked for before anything else.
            doubtful = claimed.is_err();
            match claimed {
                Ok(deliveries) => {
                    self.terminals.start(taken, deliveries, &self.work);
                    pauses.reset();
                }
                Err(error) => {
                    drop(taken);
                    let pause = pauses.next().unwrap_or(MAX_PAUSE);
                    tracing::warn!(error = with_causes(&error), ?pause, "claiming again after a pause");
                    stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
    }

    async fn claim(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let deliveries = self.broker.claim(&self.consumer, max).await?;
        if !deliveries.is_empty() {
            self.metrics.claim_batch.observe(deliveries.len() as f64);
        }
        Ok(deliveries)
    }

    async fn recover(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let held = self.terminals.held().entries();
        let found = self.broker.recover(&self.consumer, &held, max).await?;
        if !found.is_empty() {
            tracing::info!(count = found.len(), "recovered deliveries whose claim had failed");
            self.metrics.recovered.inc_by(found.len() as u64);
        }
        Ok(found)
    }

    async fn reclaim(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let dropped = self.broker.reclaim(&self.consumer, self.lease, max).await?;
        if !dropped.is_empty() {
            tracing::info!(count = dropped.len(), "took over work that another worker dropped");
            self.metrics.reclaimed.inc_by(dropped.len() as u64);
        }
        Ok(dropped)
    }
}
