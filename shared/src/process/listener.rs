//! Listening to changes of records. They wake up, and what is written down is the truth: after a pause, and now and
//! then in any case, whoever listens is told that it may have missed something.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::broker::{BrokerError, Change, ResultStore};
use crate::process::logging::with_causes;
use crate::resilience::backoff::Backoff;

/// Pauses while the broker is away.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Whoever wants to hear of changes.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Takes changes in. After an error it is told [`Change::Missed`], when the broker is back.
    async fn hear(&self, changes: &[Change]) -> Result<(), BrokerError>;
}

/// Listens until `stop`; says [`Change::Missed`] at least every `fallback`.
pub async fn listen(
    records: Arc<dyn ResultStore>,
    listener: Arc<dyn Listener>,
    fallback: Duration,
    stop: CancellationToken,
) {
    let mut changes = records.changes();
    let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    let mut fallback = interval(fallback);
    fallback.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => return,
            _ = fallback.tick() => Ok(vec![Change::Missed]),
            heard = changes.next() => heard,
        };
        let heard = match heard {
            Ok(heard) => listener.hear(&heard).await,
            Err(error) => Err(error),
        };
        match heard {
            Ok(()) => pauses.reset(),
            Err(error) => {
                tracing::debug!(error = with_causes(&error), "listening for changes again after a pause");
                pauses.pause(&stop).await;
                fallback.reset_immediately();
            }
        }
    }
}
