//! A circuit breaker: `failsafe`'s policies say when it opens and for how long; its three states are ours, as the
//! library's machine admits everybody as soon as it is half-open.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use failsafe::FailurePolicy;
use tokio::sync::{Semaphore, SemaphorePermit};

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

/// The breaker around the broker, whose outages are told elsewhere. No operation has this name.
pub(super) const BROKER: &str = "the broker";

/// Refuses calls to something that keeps failing, and probes it now and then. Runs on real time.
pub struct Breaker {
    name: &'static str,
    /// A [`State`], to be seen without the lock; changed under it.
    state: AtomicU8,
    inner: Mutex<Inner>,
    probes: Semaphore,
}

struct Inner {
    policy: Box<dyn FailurePolicy + Send + Sync>,
    /// When the open time is over; of no meaning while closed.
    until: Instant,
    /// How long it opens again when a probe fails and the policy has no opinion: as long as the policy said last, not
    /// as long as a failure asked for. `None` while closed.
    again: Option<Duration>,
}

impl Breaker {
    /// A closed breaker. `policy` decides when to open and for how long; at most `probes` calls run while
    /// it is half-open. `name` appears in logs.
    #[must_use]
    pub fn new(name: &'static str, policy: impl FailurePolicy + Send + Sync + 'static, probes: usize) -> Self {
        let inner = Inner {
            policy: Box::new(policy),
            until: Instant::now(),
            again: None,
        };
        Self {
            name,
            state: AtomicU8::new(State::Closed as u8),
            inner: Mutex::new(inner),
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
        let admitted = self.admit();
        let _probe = admitted.map_err(|retry_after| Rejection::Open { retry_after })?;
        let outcome = call.await;
        match outcome.as_ref().map_or_else(judge, |_| Verdict::Well) {
            Verdict::Well => self.succeeded(),
            Verdict::Failed => self.failed(None),
            Verdict::Pause(asked) => self.failed(Some(asked)),
            // Half-open it stays half-open, and the probe's place is free again.
            Verdict::Nothing => {}
        }
        outcome.map_err(Rejection::Failed)
    }

    /// Lets a call pass, with a probe's place unless closed; or says for how long it is open.
    fn admit(&self) -> Result<Option<SemaphorePermit<'_>>, Duration> {
        if self.state() == State::Closed {
            return Ok(None);
        }
        let probe = self.probes.try_acquire();
        let inner = self.lock();
        let remaining = inner.remaining();
        let probe = probe.map_err(|_| remaining)?;
        if self.state() == State::Open {
            if !remaining.is_zero() {
                return Err(remaining);
            }
            self.show(&inner, State::HalfOpen);
        }
        Ok(Some(probe))
    }

    fn succeeded(&self) {
        let mut inner = self.lock();
        if self.state() == State::HalfOpen {
            inner.again = None;
            inner.policy.revived();
            self.show(&inner, State::Closed);
        }
        inner.policy.record_success();
    }

    /// Opens it if the policy says so, or the failure asked for a pause. A late failure does not prolong the open time.
    fn failed(&self, asked: Option<Duration>) {
        let mut inner = self.lock();
        if self.state() == State::Open {
            return;
        }
        let own = inner.policy.mark_dead_on_failure().or(inner.again);
        if let Some(delay) = own.max(asked) {
            inner.again = own.or(Some(FIRST_DELAY));
            inner.until = Instant::now() + delay;
            self.show(&inner, State::Open);
        }
    }

    /// Changes the state. Takes the content of the lock, so that state and times agree.
    fn show(&self, _: &Inner, state: State) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            let (breaker, state) = (self.name, state.name());
            match breaker {
                BROKER => tracing::debug!(breaker, state, "the circuit breaker changed its state"),
                _ => tracing::warn!(breaker, state, "the circuit breaker changed its state"),
            }
        }
    }

    /// How long it refuses calls for certain; zero when one may pass. Changes nothing.
    #[must_use]
    pub fn open_for(&self) -> Duration {
        match self.state() {
            State::Open => self.lock().remaining(),
            _ => Duration::ZERO,
        }
    }

    /// Where the breaker stands, without changing it.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            state if state == State::Closed as u8 => State::Closed,
            state if state == State::Open as u8 => State::Open,
            _ => State::HalfOpen,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no policy panics")
    }
}

impl Inner {
    /// The rest of the open time.
    fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
