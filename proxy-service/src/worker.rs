//! The claim loop: terminals first, then claim that many, start, again. Now and then a turn goes to what
//! others dropped, so that both share the same terminals. Stops between claims: a claim that
//! is under way is awaited, because its deliveries are ours.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::Broker;
use roundtrip::broker::{BrokerError, BrokerErrorKind, Consumer, Delivery};
use roundtrip::service::breaker::{Breaker, State};
use roundtrip::service::retry::Delays;
use roundtrip::service::telemetry::with_causes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::again::Again;
use crate::metrics::WorkerMetrics;
use crate::reclaimer::ScanTimer;
use crate::stack::PROBES;
use crate::terminals::{Taken, Terminals, Work};

/// Pauses while the broker is away. The longest is short enough to be back within a second or two.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// While claims pause, how often what is about to expire is looked for, and how long before its end it is
/// told: its caller then hears of the pause, and not nothing.
const PAUSE_STEP: Duration = Duration::from_millis(200);
const DUE: Duration = Duration::from_millis(700);

/// The most turns in a row that go to suspects while something else may wait.
const SUSPECTS_IN_A_ROW: u32 = 8;

/// Claims for a worker.
pub(crate) struct Claimer {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) consumer: Consumer,
    pub(crate) lease: Duration,
    pub(crate) terminals: Arc<Terminals>,
    pub(crate) work: Arc<Work>,
    pub(crate) upstream: Arc<Breaker>,
    pub(crate) metrics: WorkerMetrics,
}

/// What the next turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The group may be missing.
    Prepare,
    /// A failed call may have brought us something: looked for before anything else.
    Recover,
    /// What others dropped.
    Reclaim,
    /// One suspect, with nothing beside it.
    Suspect,
    /// What is about to expire, while the upstream is given a pause.
    Due,
    /// What is new.
    Claim,
}

impl Claimer {
    /// Claims until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut pauses = Delays::new(FIRST_PAUSE, MAX_PAUSE);
        let mut scan = ScanTimer::new();
        let (mut turn, mut suspects) = (Turn::Prepare, Suspects::default());
        while let Some((now, taken)) = stop.run_until_cancelled(self.room(turn)).await {
            match self.take_turn(now, taken, &mut suspects).await {
                Ok(()) => {
                    pauses.reset();
                    turn = match now {
                        // The turn it came before is still to be had.
                        Turn::Due => turn,
                        _ if suspects.are_due() => Turn::Suspect,
                        _ if scan.is_due() => Turn::Reclaim,
                        _ => Turn::Claim,
                    };
                }
                Err(error) => {
                    let pause = pauses.next().unwrap_or(MAX_PAUSE);
                    tracing::warn!(error = with_causes(&error), ?pause, "claiming again after a pause");
                    turn = match error.kind() {
                        BrokerErrorKind::GroupLost => Turn::Prepare,
                        _ => Turn::Recover,
                    };
                    stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
    }

    /// Waits for what a turn needs: an upstream that is not given a pause, and terminals. None of these when a
    /// suspect would have to wait for its neighbours for too long. While the upstream is given a pause, the
    /// turn is not had, but one for what is about to expire.
    async fn room(&self, turn: Turn) -> (Turn, Option<Taken>) {
        if turn == Turn::Prepare {
            return (turn, None);
        }
        // Nothing is claimed while the upstream's breaker is open: what waits in the stream keeps its
        // deliveries, and may be served by a worker that is better off.
        let rest = self.upstream.open_for();
        if !rest.is_zero() {
            sleep(rest.min(PAUSE_STEP)).await;
            return (Turn::Due, Some(self.terminals.take().await));
        }
        if self.upstream.state() != State::Closed {
            // Half-open, or about to be: no more than the probes at a time.
            self.terminals.held().wait_until_at_most(PROBES - 1).await;
        }
        if turn == Turn::Suspect {
            return (turn, self.terminals.take_all(self.lease).await);
        }
        let mut taken = self.terminals.take().await;
        if self.upstream.state() != State::Closed {
            // What is more than the probes would be refused, its delivery counted for nothing.
            taken.keep(PROBES.saturating_sub(self.terminals.held().len()).max(1));
        }
        (turn, Some(taken))
    }

    async fn take_turn(&self, turn: Turn, taken: Option<Taken>, suspects: &mut Suspects) -> Result<(), BrokerError> {
        let again = Again {
            broker: self.broker.as_ref(),
            consumer: &self.consumer,
            held: self.terminals.held(),
            judge: &self.work.judge,
        };
        let Some(taken) = taken else {
            return match turn {
                Turn::Prepare => self.prepare().await,
                _ => {
                    suspects.postpone();
                    Ok(())
                }
            };
        };
        if turn == Turn::Suspect {
            let found = again.one_suspect(self.lease).await?;
            suspects.met(found.is_some());
            if let Some(delivery) = found {
                tracing::warn!(
                    entry = %delivery.receipt.entry,
                    attempt = delivery.attempt,
                    "running a request alone whose workers kept dying"
                );
                self.metrics.alone.inc();
                self.terminals.start_alone(taken, delivery, &self.work);
            }
            return Ok(());
        }
        let deliveries = match turn {
            Turn::Recover => {
                let found = again.recovered(taken.count()).await?;
                self.metrics.recovered.inc_by(found.deliveries.len() as u64);
                suspects.seen(found.suspects);
                found.deliveries
            }
            Turn::Reclaim => {
                let found = again.reclaimed(self.lease, taken.count()).await?;
                self.metrics.reclaimed.inc_by(found.deliveries.len() as u64);
                suspects.seen(found.suspects);
                found.deliveries
            }
            Turn::Due => {
                self.metrics.paused.inc();
                self.broker.claim_due(&self.consumer, DUE, taken.count()).await?
            }
            _ => {
                suspects.others_had_a_turn();
                self.claim(taken.count()).await?
            }
        };
        self.terminals.start(taken, deliveries, &self.work);
        Ok(())
    }

    async fn prepare(&self) -> Result<(), BrokerError> {
        if self.broker.prepare().await? {
            self.metrics.groups_created.inc();
        }
        Ok(())
    }

    async fn claim(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let deliveries = self.broker.claim(&self.consumer, max).await?;
        if !deliveries.is_empty() {
            self.metrics.claim_batch.observe(deliveries.len() as f64);
        }
        Ok(deliveries)
    }
}

/// Whether suspects are known to wait, and how many of them had a turn since anything else had one.
#[derive(Debug, Default)]
struct Suspects {
    waiting: bool,
    in_a_row: u32,
}

impl Suspects {
    fn are_due(&self) -> bool {
        self.waiting && self.in_a_row < SUSPECTS_IN_A_ROW
    }

    /// A scan has seen some, or none.
    fn seen(&mut self, any: bool) {
        self.waiting |= any;
    }

    /// A turn for suspects has found one, or there was none any more.
    fn met(&mut self, one: bool) {
        self.waiting = one;
        self.in_a_row += 1;
    }

    /// There was no room; the next scan will see them again.
    fn postpone(&mut self) {
        self.waiting = false;
    }

    fn others_had_a_turn(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_leave_every_ninth_turn_to_others() {
        let mut suspects = Suspects::default();
        assert!(!suspects.are_due());
        suspects.seen(true);
        for _ in 0..SUSPECTS_IN_A_ROW {
            assert!(suspects.are_due());
            suspects.met(true);
        }
        assert!(!suspects.are_due());
        suspects.others_had_a_turn();
        assert!(suspects.are_due());
        suspects.met(false);
        assert!(!suspects.are_due());
    }
}
