//! Outages of the broker, told in a few lines: one when it goes, one every half minute, one when it is back. The loops
//! that meet the same outage say so at debug level only ([`broker_failed`]).

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{BrokerError, BrokerErrorKind, Role};
use crate::process::logging::with_causes;

/// How often an outage that goes on is told again.
const REMIND: Duration = Duration::from_secs(30);

/// Whether the broker answers, and since when it does not.
#[derive(Debug)]
pub(super) struct Outage {
    /// The broker's address, without its password.
    broker: String,
    role: Role,
    /// How many calls had been turned away when it last answered.
    refused_before: u64,
    began: Option<Began>,
}

#[derive(Debug)]
struct Began {
    at: Instant,
    told: Instant,
}

impl Outage {
    pub(super) fn new(broker: String, role: Role) -> Self {
        Self {
            broker,
            role,
            refused_before: 0,
            began: None,
        }
    }

    /// Notes that the broker did not answer; so far `refused` calls were turned away because of it.
    pub(super) fn note_failure(&mut self, error: &BrokerError, refused: u64) {
        let (now, broker) = (Instant::now(), &self.broker);
        match &mut self.began {
            None => {
                // A circuit that is open says why.
                let why: &(dyn Error + 'static) = match error.source() {
                    Some(source) if error.kind() == BrokerErrorKind::CircuitOpen => source,
                    _ => error,
                };
                let error = with_causes(why);
                match self.role {
                    Role::Requester => {
                        tracing::warn!(
                            broker,
                            error,
                            "Redis does not answer; callers get 503 broker-unavailable"
                        );
                    }
                    Role::Worker => tracing::warn!(
                        broker,
                        error,
                        "Redis does not answer; nothing is claimed, and what is done waits to be settled"
                    ),
                }
                self.began = Some(Began { at: now, told: now });
            }
            Some(began) if now.duration_since(began.told) >= REMIND => {
                began.told = now;
                let outage_ms = began.at.elapsed().as_millis() as u64;
                let refused = refused - self.refused_before;
                tracing::warn!(broker, outage_ms, refused, "Redis still does not answer");
            }
            Some(_) => {}
        }
    }

    /// Notes that the broker answered.
    pub(super) fn note_answer(&mut self, refused: u64) {
        if let Some(began) = self.began.take() {
            let (broker, outage_ms) = (&self.broker, began.at.elapsed().as_millis() as u64);
            let refused = refused - self.refused_before;
            match self.role {
                Role::Requester => tracing::info!(broker, outage_ms, refused, "Redis answers again"),
                Role::Worker => tracing::info!(broker, outage_ms, "Redis answers again"),
            }
        }
        self.refused_before = refused;
    }
}

/// Logs a call of the broker that failed: at debug level where the broker is away, which is told once for the process.
pub fn broker_failed(error: &BrokerError, what: &str) {
    let cause = with_causes(error);
    match error.is_outage() || error.kind() == BrokerErrorKind::Loading {
        true => tracing::debug!(error = cause, "{what}"),
        false => tracing::warn!(error = cause, "{what}"),
    }
}
