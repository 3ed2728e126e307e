//! The seam: what one instance has of the broker. Every call meets the weather on its way there and back.

mod broker;
mod records;
mod replies;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use roundtrip::broker::{Backend, BrokerError, BrokerErrorKind};
use roundtrip::process::task::Instance;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::server::{PATIENCE, Server};
use crate::weather::{Call, Fate, Weather};

/// One instance's way to the broker.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) instance: Arc<Instance>,
    pub(crate) server: Arc<Server>,
    pub(crate) weather: Arc<Mutex<Weather>>,
    /// Cancelled when its process has died: the server notices.
    pub(crate) closed: CancellationToken,
}

impl Link {
    /// The broker as this instance sees it.
    pub(crate) fn backend(&self) -> Backend {
        let link = Arc::new(self.clone());
        Backend {
            broker: link.clone(),
            dead_letters: Arc::new(roundtrip::broker::memory::MemoryBroker::new()),
            records: link,
        }
    }

    fn fate(&self, call: Call) -> Fate {
        self.weather.lock().expect("nothing panics with the weather").fate(call)
    }

    /// Calls the server. `apply` is called twice where the call arrives twice, which only those do that may.
    async fn call<T, F>(
        &self,
        call: Call,
        may_repeat: bool,
        apply: impl Fn(Arc<Server>) -> F + Send + 'static,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BrokerError>> + Send + 'static,
    {
        match self.fate(call) {
            Fate::Fine(before, after) => {
                pause(before).await;
                let answer = apply(self.server.clone()).await;
                pause(after).await;
                answer
            }
            Fate::Twice => {
                let answer = apply(self.server.clone()).await;
                match may_repeat {
                    true => apply(self.server.clone()).await,
                    false => answer,
                }
            }
            Fate::Refused => Err(refused()),
            Fate::Full => Err(BrokerError::new(BrokerErrorKind::Full, "write", "no room, by the seed")),
            Fate::Unknown(effect) => {
                if let Some(after) = effect {
                    let server = self.server.clone();
                    // The server does what it was asked, whoever waits for it.
                    tokio::spawn(async move {
                        pause(after).await;
                        let _ = apply(server).await;
                    });
                }
                sleep(PATIENCE).await;
                Err(unknown())
            }
        }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn refused() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, "reach the broker", "refused, by the seed")
}

fn unknown() -> BrokerError {
    BrokerError::new(
        BrokerErrorKind::Unconfirmed,
        "hear the broker",
        "the answer is lost, by the seed",
    )
}
