//! What callers wish: how long they wait, how long their work may take, and when they hang up.

use std::time::Duration;

use checker::nonce::{Nonce, Temper};

use crate::journal::Times;

/// JOB_TIMEOUT of the ingresses, which no scenario changes.
const JOB_TIMEOUT: Duration = Duration::from_secs(3600);

/// How one kind of caller asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) prefer: Prefer,
    /// Request-Timeout, where they send it.
    pub(crate) timeout: Option<Duration>,
    /// Whether each sends an Idempotency-Key, and asks once more with it in the end.
    pub(crate) is_keyed: bool,
    /// What kind of work they ask for; `None` for whatever comes next.
    pub(crate) temper: Option<Temper>,
    /// When they hang up, where they do.
    pub(crate) leave: Option<Duration>,
    /// Whether they do not look which ingress is about to leave, and come over a new connection each time: they are the
    /// last whom it lets in.
    pub(crate) is_stubborn: bool,
    /// How many ask a second.
    pub(crate) rate: f64,
}

/// How long a caller waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Prefer {
    /// For the answer.
    #[default]
    Answer,
    /// So many seconds.
    Wait(u64),
    /// Not at all.
    Async,
}

impl Wishes {
    /// The header fields that say it, each with its end of line.
    pub(crate) fn headers(&self, nonce: Nonce) -> String {
        let prefer = match self.prefer {
            Prefer::Answer => String::new(),
            Prefer::Wait(seconds) => format!("Prefer: wait={seconds}\r\n"),
            Prefer::Async => "Prefer: respond-async\r\n".to_owned(),
        };
        let timeout = self
            .timeout
            .map(|time| format!("Request-Timeout: {}\r\n", time.as_secs()));
        let key = self.is_keyed.then(|| format!("Idempotency-Key: {nonce}\r\n"));
        prefer + &timeout.unwrap_or_default() + &key.unwrap_or_default()
    }

    /// How long the work may take, and how long a caller waits, where ingresses give requests so long.
    pub(crate) fn times(&self, request_timeout: Duration) -> Times {
        let (budget, wait) = match self.prefer {
            Prefer::Answer => (request_timeout, request_timeout),
            Prefer::Wait(seconds) => (JOB_TIMEOUT, Duration::from_secs(seconds)),
            Prefer::Async => (JOB_TIMEOUT, Duration::ZERO),
        };
        let budget = self.timeout.unwrap_or(budget);
        Times { budget, wait }
    }
}
