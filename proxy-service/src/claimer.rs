//! The claim loop: terminals first, then claim that many, start, redelivery. Now and then a turn goes to what
//! others dropped, so that both share the same terminals. Stops between claims: a claim that
//! is under way is awaited, because its deliveries are ours.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::Broker;
use roundtrip::broker::{BrokerError, BrokerErrorKind, Consumer};
use roundtrip::observe::outage::broker_failed;
use roundtrip::resilience::backoff::Backoff;
use roundtrip::resilience::breaker::{Breaker, State};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::lease::ScanTimer;
use crate::metrics::WorkerMetrics;
use crate::redelivery::attempts::Attempts;
use crate::redelivery::deadlines::{DUE, Deadlines, LOOK_INTERVAL, LookTimer, MAX_DUE};
use crate::redelivery::suspects::Suspects;
use crate::redelivery::{Found, Redelivery};
use crate::settler::Refused;
use crate::stack::PROBES;
use crate::terminals::{Taken, Terminals, Work};

/// Pauses while the broker is away. The longest is short enough to be back within a second or two.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// While the upstream is given a pause, how often what is new and about to expire is looked for: its caller then hears
/// of the pause, and not nothing.
const PAUSE_STEP: Duration = Duration::from_millis(200);

/// Claims for a worker.
pub(crate) struct Claimer {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) consumer: Consumer,
    pub(crate) lease: Duration,
    pub(crate) terminals: Arc<Terminals>,
    pub(crate) work: Arc<Work>,
    pub(crate) upstream: Arc<Breaker>,
    pub(crate) refused: Refused,
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
    /// What is about to expire, while there is no room for it, or the upstream is given a pause. Needs no room.
    Due,
    /// What is new.
    Claim,
}

/// What the loop remembers between its turns.
struct Memory {
    suspects: Suspects,
    deadlines: Deadlines,
    attempts: Attempts,
    look: LookTimer,
    /// Whether something may be ours that did not come: it is recovered before anything else.
    missing: bool,
}

impl Memory {
    fn new() -> Self {
        Self {
            suspects: Suspects::default(),
            deadlines: Deadlines::default(),
            attempts: Attempts::default(),
            look: LookTimer::new(),
            missing: false,
        }
    }
}

impl Claimer {
    /// Claims until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        let (mut turn, mut scan) = (Turn::Prepare, ScanTimer::new());
        let mut memory = Memory::new();
        while let Some((now, taken)) = stop.run_until_cancelled(self.room(turn, &mut memory)).await {
            match self.take_turn(now, taken, &mut memory, &stop).await {
                Ok(()) => {
                    pauses.reset();
                    turn = match now {
                        _ if memory.missing => Turn::Recover,
                        // The turn it came before is still to be had.
                        Turn::Due if turn != Turn::Recover => turn,
                        _ if memory.suspects.are_due() => Turn::Suspect,
                        _ if scan.is_due() => Turn::Reclaim,
                        _ => Turn::Claim,
                    };
                }
                Err(error) => {
                    let pause = pauses.next().unwrap_or(MAX_PAUSE);
                    broker_failed(&error, "claiming again after a pause");
                    memory.missing = error.kind() != BrokerErrorKind::GroupLost;
                    memory.look = LookTimer::new();
                    turn = match memory.missing {
                        true => Turn::Recover,
                        false => {
                            memory.attempts = Attempts::default();
                            Turn::Prepare
                        }
                    };
                    stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
    }

    /// Waits for what a turn needs: an upstream that is not given a pause, and terminals. None of these when a
    /// suspect would have to wait for its neighbours for too long. Where any of it takes long, the turn is not had,
    /// but one for what is about to expire.
    async fn room(&self, turn: Turn, memory: &mut Memory) -> (Turn, Option<Taken>) {
        // What cannot be settled is not worth working on.
        self.refused.end_of_it().await;
        if turn == Turn::Prepare {
            return (turn, None);
        }
        if memory.deadlines.are_due() {
            memory.look = LookTimer::new();
            return (Turn::Due, None);
        }
        // Nothing is claimed while the upstream's breaker is open: what waits in the stream keeps its
        // deliveries, and may be served by a worker that is better off.
        let rest = self.upstream.open_for();
        if !rest.is_zero() {
            sleep(rest.min(PAUSE_STEP)).await;
            return (Turn::Due, None);
        }
        if turn == Turn::Suspect {
            let patience = memory.suspects.patience(self.lease);
            let taken = self.terminals.take_all(patience.min(LOOK_INTERVAL)).await;
            return match taken.is_none() && patience > LOOK_INTERVAL {
                true => (Turn::Due, None),
                false => (turn, taken),
            };
        }
        match timeout(LOOK_INTERVAL, self.some_room()).await {
            // It may have opened meanwhile.
            Ok(taken) if self.upstream.open_for().is_zero() => (turn, Some(taken)),
            _ => (Turn::Due, None),
        }
    }

    async fn some_room(&self) -> Taken {
        if self.upstream.state() != State::Closed {
            // Half-open, or about to be: no more than the probes at a time.
            self.terminals.in_flight().wait_until_at_most(PROBES - 1).await;
        }
        let mut taken = self.terminals.take().await;
        if self.upstream.state() != State::Closed {
            // What is more than the probes would be refused, its delivery counted for nothing.
            taken.keep(PROBES.saturating_sub(self.terminals.in_flight().len()).max(1));
        }
        taken
    }

    async fn take_turn(
        &self,
        turn: Turn,
        taken: Option<Taken>,
        memory: &mut Memory,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let redelivery = Redelivery {
            broker: self.broker.as_ref(),
            consumer: &self.consumer,
            in_flight: self.terminals.in_flight(),
            executor: &self.work.executor,
            deadlines: &mut memory.deadlines,
            attempts: &mut memory.attempts,
            stop,
        };
        match (turn, taken) {
            (Turn::Prepare, _) => self.prepare().await,
            (Turn::Due, _) => {
                self.tell_what_is_new_and_due().await?;
                if memory.look.is_due() {
                    memory.missing = self.tell_what_is_due(redelivery, memory.missing).await?;
                }
                Ok(())
            }
            (_, None) => {
                memory.suspects.postpone(self.lease);
                Ok(())
            }
            (Turn::Suspect, Some(all)) => self.run_a_suspect(redelivery, all, &mut memory.suspects).await,
            (Turn::Claim, Some(taken)) => {
                memory.suspects.others_had_a_turn();
                self.claim(taken).await
            }
            (Turn::Recover | Turn::Reclaim, Some(taken)) => {
                memory.missing = self.take_over(turn, redelivery, taken, &mut memory.suspects).await?;
                Ok(())
            }
        }
    }

    async fn tell_what_is_new_and_due(&self) -> Result<(), BrokerError> {
        let pause = self.upstream.open_for();
        if !pause.is_zero() {
            self.metrics.paused.inc();
            let new = self.broker.claim_due(&self.consumer, DUE, MAX_DUE).await?;
            self.terminals.tell(new, pause, &self.work);
        }
        Ok(())
    }

    /// Of what others dropped, or, where some is, of what is ours and did not come. Returns whether there is more of
    /// that.
    async fn tell_what_is_due(&self, mut redelivery: Redelivery<'_>, missing: bool) -> Result<bool, BrokerError> {
        let found = match missing {
            true => redelivery.recovered_due().await?,
            false => redelivery.due(self.lease).await?,
        };
        self.terminals.tell(found.due, self.upstream.open_for(), &self.work);
        found.failed.map_or(Ok(found.missing), Err)
    }

    async fn run_a_suspect(
        &self,
        mut redelivery: Redelivery<'_>,
        all: Taken,
        suspects: &mut Suspects,
    ) -> Result<(), BrokerError> {
        let found = redelivery.one_suspect(self.lease).await?;
        suspects.met(found.is_some());
        if let Some(delivery) = found {
            tracing::warn!(
                entry = %delivery.receipt.entry,
                attempt = delivery.attempt,
                "running a request alone whose workers kept dying"
            );
            self.metrics.alone.inc();
            self.terminals.start_alone(all, delivery, self.lease, &self.work);
        }
        Ok(())
    }

    /// What was dropped, by others or by a claim of ours that failed. Returns whether some of it did not come.
    async fn take_over(
        &self,
        turn: Turn,
        mut redelivery: Redelivery<'_>,
        taken: Taken,
        suspects: &mut Suspects,
    ) -> Result<bool, BrokerError> {
        let (room, is_recovery) = (taken.count(), turn == Turn::Recover);
        let looking = async {
            match is_recovery {
                true => redelivery.recovered(room).await,
                false => redelivery.reclaimed(self.lease, room).await,
            }
        };
        let (taken, found) = self.terminals.lend_during(taken, looking).await;
        let Found {
            deliveries,
            due,
            suspects: any,
            missing,
            failed,
        } = found?;
        let counter = match is_recovery {
            true => &self.metrics.recovered,
            false => &self.metrics.reclaimed,
        };
        counter.inc_by(deliveries.len() as u64);
        suspects.seen(any);
        self.terminals.tell(due, Duration::ZERO, &self.work);
        self.terminals.start(taken, deliveries, &self.work);
        failed.map_or(Ok(missing), Err)
    }

    async fn claim(&self, taken: Taken) -> Result<(), BrokerError> {
        let claim = self.broker.claim(&self.consumer, taken.count());
        let (taken, deliveries) = self.terminals.lend_during(taken, claim).await;
        let deliveries = deliveries?;
        if !deliveries.is_empty() {
            self.metrics.claim_batch.observe(deliveries.len() as f64);
        }
        self.terminals.start(taken, deliveries, &self.work);
        Ok(())
    }

    async fn prepare(&self) -> Result<(), BrokerError> {
        if self.broker.prepare().await? {
            self.metrics.groups_created.inc();
        }
        Ok(())
    }
}
