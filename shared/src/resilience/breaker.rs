//! A circuit breaker: `failsafe`'s state machine behind a gate for half-open probes.
//! The gate is ours because the machine alone admits everybody as soon as it is half-open.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use failsafe::{FailurePolicy, Instrument, StateMachine};
use tokio::sync::Semaphore;

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused until the open time is over.
    Open,
    /// A few probes pass; the first to end decides.
    HalfOpen,
}

impl State {
    /// The state's name in health reports: `closed`, `open` or `half-open`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }

    /// The state as a gauge: 1 closed, 0 open, 0.5 half-open.
    #[must_use]
    pub fn gauge(self) -> f64 {
        match self {
            Self::Closed => 1.0,
            Self::Open => 0.0,
            Self::HalfOpen => 0.5,
        }
    }
}

/// Why a guarded call gave no result.
#[derive(Debug)]
pub enum Rejection<E> {
    /// The breaker is open; nothing was called.
    Open {
        /// The rest of the open time; zero while probes are under way.
        retry_after: Duration,
    },
    /// The call's own error.
    Failed(E),
}

/// What a call's error says about the one that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is well: it answered, and the mistake is somebody else's.
    Well,
    /// It failed.
    Failed,
    /// It failed and asked for a pause: the breaker opens at once, for at least so long.
    Pause(Duration),
    /// Nothing, neither good nor bad.
    Nothing,
}

/// For how long it opens again when a probe fails, where the policy has never said.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The breaker around the broker, whose outages are told elsewhere.
pub(super) const BROKER: &str = "redis";

type Policy = Box<dyn FailurePolicy + Send + Sync>;

/// Refuses calls to something that keeps failing, and probes it now and then. Runs on real time.
pub struct Breaker {
    machine: StateMachine<Timed, Mirror>,
    mirror: Mirror,
    probes: Semaphore,
}

impl Breaker {
    /// A closed breaker. `policy` decides when to open and for how long; at most `probes` calls run while
    /// it is half-open. `name` appears in logs.
    #[must_use]
    pub fn new(name: &'static str, policy: impl FailurePolicy + Send + Sync + 'static, probes: usize) -> Self {
        let mirror = Mirror(Arc::new(Shown {
            name,
            state: AtomicU8::new(State::Closed as u8),
            open: Mutex::default(),
        }));
        let timed = Timed {
            policy: Box::new(policy),
            mirror: mirror.clone(),
            again: None,
        };
        Self {
            machine: failsafe::Config::new()
                .failure_policy(timed)
                .instrument(mirror.clone())
                .build(),
            mirror,
            probes: Semaphore::new(probes),
        }
    }

    /// Runs `call` unless the breaker is open, and counts its errors as `judge` says. A call that is dropped counts as
    /// nothing, so a timeout belongs inside.
    ///
    /// # Errors
    /// [`Rejection`]: the breaker's, or the call's.
    pub async fn call<T, E>(
        &self,
        judge: impl FnOnce(&E) -> Verdict,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Rejection<E>> {
        let refused = || Rejection::Open {
            retry_after: self.mirror.remaining(),
        };
        let _probe = match self.state() {
            State::Closed => None,
            _ => Some(self.probes.try_acquire().map_err(|_| refused())?),
        };
        if !self.machine.is_call_permitted() {
            return Err(refused());
        }
        let outcome = call.await;
        match outcome.as_ref().map_or_else(judge, |_| Verdict::Well) {
            Verdict::Well => self.machine.on_success(),
            Verdict::Failed => self.machine.on_error(),
            Verdict::Pause(pause) => {
                self.mirror.ask_for(pause);
                self.machine.on_error();
                // An open machine asks its policy for nothing; a later failure is not to be taken for this one.
                self.mirror.take_asked();
            }
            // Half-open it stays half-open, and the probe's place is free again.
            Verdict::Nothing => {}
        }
        outcome.map_err(Rejection::Failed)
    }

    /// How long it refuses calls for certain; zero when one may pass. Changes nothing.
    #[must_use]
    pub fn open_for(&self) -> Duration {
        match self.state() {
            State::Open => self.mirror.remaining(),
            _ => Duration::ZERO,
        }
    }

    /// Where the breaker stands, without changing it.
    #[must_use]
    pub fn state(&self) -> State {
        self.mirror.state()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.mirror.0.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// The policy, noting how long it keeps the breaker open, and that it closed. The machine calls it under its
/// lock, so what it shows is in order; the machine's own notices come later, and may overtake each other.
struct Timed {
    policy: Policy,
    mirror: Mirror,
    /// How long it opens again when a probe fails and the policy has no opinion: as long as the policy said last. The
    /// machine would take the last delay, which a failure may have asked for. `None` while the breaker is closed.
    again: Option<Duration>,
}

impl FailurePolicy for Timed {
    fn record_success(&mut self) {
        self.policy.record_success();
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let own = self.policy.mark_dead_on_failure().or(self.again);
        let delay = own.max(self.mirror.take_asked())?;
        self.again = own.or(Some(FIRST_DELAY));
        self.mirror.open_for(delay);
        Some(delay)
    }

    fn revived(&mut self) {
        self.again = None;
        self.mirror.close();
        self.policy.revived();
    }
}

/// The state as others see it: asking the machine itself would change it.
#[derive(Debug, Clone)]
struct Mirror(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    name: &'static str,
    state: AtomicU8,
    open: Mutex<OpenTimes>,
}

#[derive(Debug, Default)]
struct OpenTimes {
    until: Option<Instant>,
    /// The pause that the failure which is being counted asked for.
    asked: Option<Duration>,
}

impl Mirror {
    /// Changes what is shown, under the lock of the times: state and times agree.
    fn show(&self, _: &OpenTimes, state: State) {
        let before = self.0.state.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            let (breaker, state) = (self.0.name, state.name());
            match breaker {
                BROKER => tracing::debug!(breaker, state, "the circuit breaker changed its state"),
                _ => tracing::warn!(breaker, state, "the circuit breaker changed its state"),
            }
        }
    }

    fn open_for(&self, delay: Duration) {
        let mut times = self.times();
        times.until = Some(Instant::now() + delay);
        self.show(&times, State::Open);
    }

    fn close(&self) {
        self.show(&self.times(), State::Closed);
    }

    fn ask_for(&self, pause: Duration) {
        self.times().asked = Some(pause);
    }

    fn take_asked(&self) -> Option<Duration> {
        self.times().asked.take()
    }

    fn state(&self) -> State {
        match self.0.state.load(Ordering::Relaxed) {
            state if state == State::Closed as u8 => State::Closed,
            state if state == State::Open as u8 => State::Open,
            _ => State::HalfOpen,
        }
    }

    fn times(&self) -> MutexGuard<'_, OpenTimes> {
        self.0.open.lock().expect("no code panics while it holds the times")
    }

    fn remaining(&self) -> Duration {
        self.times().remaining()
    }
}

impl OpenTimes {
    fn remaining(&self) -> Duration {
        let until = self.until;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

impl Instrument for Mirror {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {}

    /// May come late, when it is open again: it is half-open only where its open time is over.
    fn on_half_open(&self) {
        let times = self.times();
        if self.state() == State::Open && times.remaining().is_zero() {
            self.show(&times, State::HalfOpen);
        }
    }

    fn on_closed(&self) {}
}

#[cfg(test)]
mod tests;
