//! When a batch that the broker did not take is sent again.

use std::time::Duration;

use roundtrip::BrokerError;
use roundtrip::broker::BrokerErrorKind;
use roundtrip::observe::outage::broker_failed;
use roundtrip::resilience::backoff::Backoff;
use tokio::time::{Instant, sleep};

/// How long a batch that definitely did not arrive is tried again. Short: a connection that was lost is
/// replaced within it, and the batch behind this one still hears within a second that the broker is away.
const RETRY_WINDOW: Duration = Duration::from_millis(300);

/// How long a server that is reading its data is waited for: it says itself when it is done, and nobody is
/// refused who has the time.
const LOADING_WINDOW: Duration = Duration::from_secs(10);

const FIRST_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_millis(150);

/// One line for each call that failed.
pub(crate) fn report(error: &BrokerError, count: usize) {
    broker_failed(error, &format!("requests were not published: {count}"));
}

/// When to try again what definitely had no effect: a repeated write is a second request. One window for all that is
/// tried while the broker takes nothing: who comes when it is over hears at once.
pub(crate) struct Retries {
    began: Option<Instant>,
    delays: Backoff,
}

impl Retries {
    pub(crate) fn new() -> Self {
        Self {
            began: None,
            delays: Backoff::new(FIRST_DELAY, MAX_DELAY),
        }
    }

    /// The broker took something.
    pub(crate) fn succeeded(&mut self) {
        if self.began.take().is_some() {
            self.delays.reset();
        }
    }

    /// Whether another try may help.
    pub(crate) fn may_help(&mut self, error: &BrokerError) -> bool {
        let window = match error.kind() {
            BrokerErrorKind::Unavailable => RETRY_WINDOW,
            BrokerErrorKind::Loading => LOADING_WINDOW,
            _ => return false,
        };
        self.began.get_or_insert_with(Instant::now).elapsed() < window
    }

    /// Waits before another try; gives the error back where there is none.
    pub(crate) async fn after(&mut self, error: BrokerError) -> Result<(), BrokerError> {
        let delay = self.delays.next_delay();
        if !self.may_help(&error) {
            return Err(error);
        }
        sleep(delay).await;
        Ok(())
    }
}
