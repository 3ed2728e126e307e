//! The claim loop of one operation: wait for free terminals, claim that many, start them. Now and then a turn goes to
//! what others dropped, so that both share the same terminals. The loop stops between claims: a claim that is under way
//! is awaited, because its deliveries are ours.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::OperationName;
use roundtrip::broker::{BrokerError, BrokerErrorKind, Consumer, MAX_WAIT, Queue};
use roundtrip::observe::outage::broker_failed;
use roundtrip::resilience::backoff::Backoff;
use roundtrip::resilience::breaker::{Breaker, State};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::executor::Executor;
use crate::lease::ScanTimer;
use crate::metrics::WorkerMetrics;
use crate::redelivery::attempts::Attempts;
use crate::redelivery::deadlines::{DUE, Deadlines, LOOK_INTERVAL, LookTimer, MAX_DUE};
use crate::redelivery::suspects::Suspects;
use crate::redelivery::{Found, Redelivery};
use crate::settler::Refused;
use crate::stack::PROBES;
use crate::terminals::{All, NoClaims, Room, Terminals};

/// Pauses while the broker is away. The longest is short enough to be back within a second or two.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// While the upstream is given a pause, how often what is new and about to expire is looked for: its caller then hears
/// of the pause, and not nothing.
const PAUSE_STEP: Duration = Duration::from_millis(200);

/// How long a suspect waits at once for the claims of other operations to end: as long as one waits for requests, and
/// a little longer.
const CLAIMS_END: Duration = MAX_WAIT.saturating_add(Duration::from_millis(100));

/// Claims what is asked of one operation.
pub(crate) struct Claimer {
    pub(crate) operation: OperationName,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) consumer: Consumer,
    pub(crate) lease: Duration,
    pub(crate) terminals: Arc<Terminals>,
    /// The most terminals that this operation may take.
    pub(crate) share: usize,
    pub(crate) executor: Arc<Executor>,
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

/// What a turn has to itself.
enum Place<'a> {
    None,
    Some(Room<'a>),
    All(All),
}

/// What the loop remembers between its turns.
struct Memory {
    suspects: Suspects,
    deadlines: Deadlines,
    attempts: Attempts,
    look: LookTimer,
    /// Held while a suspect waits for room.
    no_claims: Option<NoClaims>,
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
            no_claims: None,
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
        while let Some((now, place)) = stop.run_until_cancelled(self.room(turn, &mut memory)).await {
            match self.take_turn(now, place, &mut memory, &stop).await {
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
                    memory.no_claims = None;
                    pauses.pause(&stop).await;
                }
            }
            if turn != Turn::Suspect {
                memory.no_claims = None;
            }
        }
    }

    /// Waits for what a turn needs: an upstream that is not given a pause, and terminals. None of these when a
    /// suspect would have to wait for its neighbours for too long. Where any of it takes long, the turn is not had,
    /// but one for what is about to expire.
    async fn room(&self, turn: Turn, memory: &mut Memory) -> (Turn, Place<'_>) {
        // What cannot be settled is not worth working on.
        self.refused.end_of_it().await;
        if turn == Turn::Prepare {
            return (turn, Place::None);
        }
        if memory.deadlines.are_due() {
            memory.look = LookTimer::new();
            return (Turn::Due, Place::None);
        }
        // Nothing is claimed while the upstream's breaker is open: what waits in the stream keeps its
        // deliveries, and may be served by a worker that is better off.
        let rest = self.upstream.open_for();
        if !rest.is_zero() {
            sleep(rest.min(PAUSE_STEP)).await;
            return (Turn::Due, Place::None);
        }
        if turn == Turn::Suspect {
            return self.room_alone(memory).await;
        }
        match timeout(LOOK_INTERVAL, self.some_room()).await {
            // It may have opened meanwhile.
            Ok(room) if self.upstream.open_for().is_zero() => (turn, Place::Some(room)),
            _ => (Turn::Due, Place::None),
        }
    }

    /// Waits, some of the time that a suspect has for it, until nothing else is at work.
    async fn room_alone(&self, memory: &mut Memory) -> (Turn, Place<'_>) {
        let patience = memory.suspects.patience(self.lease);
        if memory.no_claims.is_none() {
            memory.no_claims = timeout(patience.min(CLAIMS_END), self.terminals.no_claims()).await.ok();
        }
        let all = match &memory.no_claims {
            Some(no_claims) => self.terminals.take_all(no_claims, patience.min(LOOK_INTERVAL)).await,
            None => None,
        };
        match all {
            Some(all) => (Turn::Suspect, Place::All(all)),
            None if patience > LOOK_INTERVAL => (Turn::Due, Place::None),
            None => (Turn::Suspect, Place::None),
        }
    }

    async fn some_room(&self) -> Room<'_> {
        let in_flight = self.terminals.in_flight();
        // Half-open, or about to be: no more than the probes at a time. What is more than them would be refused, its
        // delivery counted for nothing.
        let most = || match self.upstream.state() {
            State::Closed => self.share,
            _ => PROBES.min(self.share),
        };
        in_flight.wait_until_at_most(self.operation, most() - 1).await;
        let mut room = self.terminals.room().await;
        room.keep(most().saturating_sub(in_flight.count(self.operation)).max(1));
        room
    }

    async fn take_turn(
        &self,
        turn: Turn,
        place: Place<'_>,
        memory: &mut Memory,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let redelivery = Redelivery {
            queue: self.queue.as_ref(),
            operation: self.operation,
            consumer: &self.consumer,
            in_flight: self.terminals.in_flight(),
            executor: &self.executor,
            deadlines: &mut memory.deadlines,
            attempts: &mut memory.attempts,
            stop,
        };
        match (turn, place) {
            (Turn::Prepare, _) => self.prepare().await,
            (Turn::Due, _) => {
                self.tell_what_is_new_and_due().await?;
                if memory.look.is_due() {
                    memory.missing = self.tell_what_is_due(redelivery, memory.missing).await?;
                }
                Ok(())
            }
            (Turn::Suspect, Place::All(all)) => self.run_a_suspect(redelivery, all, &mut memory.suspects).await,
            (Turn::Claim, Place::Some(room)) => {
                memory.suspects.others_had_a_turn();
                self.claim(room).await
            }
            (Turn::Recover | Turn::Reclaim, Place::Some(room)) => {
                memory.missing = self.take_over(turn, redelivery, room, &mut memory.suspects).await?;
                Ok(())
            }
            (Turn::Suspect | Turn::Claim | Turn::Recover | Turn::Reclaim, _) => {
                memory.suspects.postpone(self.lease);
                Ok(())
            }
        }
    }

    async fn tell_what_is_new_and_due(&self) -> Result<(), BrokerError> {
        let pause = self.upstream.open_for();
        if !pause.is_zero() {
            self.metrics.paused.inc();
            let new = self.queue.claim_due(&self.consumer, DUE, MAX_DUE).await?;
            self.terminals.tell(new, pause, &self.executor);
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
        self.terminals.tell(found.due, self.upstream.open_for(), &self.executor);
        found.failed.map_or(Ok(found.missing), Err)
    }

    async fn run_a_suspect(
        &self,
        mut redelivery: Redelivery<'_>,
        all: All,
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
            self.terminals.start_alone(all, delivery, self.lease, &self.executor);
        }
        Ok(())
    }

    /// What was dropped, by others or by a claim of ours that failed. Returns whether some of it did not come.
    async fn take_over(
        &self,
        turn: Turn,
        mut redelivery: Redelivery<'_>,
        room: Room<'_>,
        suspects: &mut Suspects,
    ) -> Result<bool, BrokerError> {
        let is_recovery = turn == Turn::Recover;
        let found = match is_recovery {
            true => redelivery.recovered(room.count()).await,
            false => redelivery.reclaimed(self.lease, room.count()).await,
        };
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
        self.terminals.tell(due, Duration::ZERO, &self.executor);
        self.terminals.start(deliveries, &self.executor);
        failed.map_or(Ok(missing), Err)
    }

    async fn claim(&self, room: Room<'_>) -> Result<(), BrokerError> {
        let deliveries = self.queue.claim(&self.consumer, room.count()).await?;
        if !deliveries.is_empty() {
            self.metrics.claim_batch.observe(deliveries.len() as f64);
        }
        self.terminals.start(deliveries, &self.executor);
        Ok(())
    }

    async fn prepare(&self) -> Result<(), BrokerError> {
        if self.queue.prepare().await? {
            self.metrics.groups_created.inc();
        }
        Ok(())
    }
}
