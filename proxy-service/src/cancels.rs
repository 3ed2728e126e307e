//! Wishes to end what is at work. They come over a subscription; what is written down is the truth, and is read
//! again whenever one may have been missed.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::broker::{BrokerError, Change, Records};
use roundtrip::service::retry::Delays;
use roundtrip::service::telemetry::with_causes;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::terminals::Terminals;

/// How often what is written down is read, whatever was heard.
const FALLBACK: Duration = Duration::from_secs(5);

/// Pauses while the broker is away.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Listens until `stop`.
pub(crate) async fn run(records: Arc<dyn Records>, terminals: Arc<Terminals>, stop: CancellationToken) {
    let mut changes = records.changes();
    let mut pauses = Delays::new(FIRST_PAUSE, MAX_PAUSE);
    let mut fallback = interval(FALLBACK);
    fallback.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => return,
            _ = fallback.tick() => Ok(vec![Change::Missed]),
            heard = changes.next() => heard,
        };
        let heard = match heard {
            Ok(heard) => tell(records.as_ref(), &terminals, &heard).await,
            Err(error) => Err(error),
        };
        match heard {
            Ok(()) => pauses.reset(),
            Err(error) => {
                tracing::debug!(
                    error = with_causes(&error),
                    "listening for cancellations again after a pause"
                );
                let pause = pauses.next().unwrap_or(MAX_PAUSE);
                stop.run_until_cancelled(sleep(pause)).await;
            }
        }
    }
}

async fn tell(records: &dyn Records, terminals: &Terminals, heard: &[Change]) -> Result<(), BrokerError> {
    for change in heard {
        if let Change::Cancel(id) = change {
            terminals.held().cancel(&[*id]);
        }
    }
    if heard.contains(&Change::Missed) && terminals.held().len() > 0 {
        terminals.held().cancel(&records.cancelling().await?);
    }
    Ok(())
}
