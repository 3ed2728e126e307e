//! Whether an attempt that ran out of its caller's time says something about the upstream. A hung upstream is to be
//! noticed although its callers have less time than an attempt may take, and callers in a hurry are not to open the
//! circuit for everybody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The least time that is fair is this part of what an attempt may take: less is a caller's haste.
const LEAST_PART: u32 = 20;

/// The weight of a new answer in the mean of them, and of a caller who had less time than that mean.
const ANSWER: u64 = 16;
const HASTE: u64 = 64;

/// How long the upstream's answers take of late.
#[derive(Debug)]
pub(super) struct FairTime {
    least: Duration,
    /// Their moving mean, in microseconds. Two at once may lose one of them: it is a rough measure.
    usual: AtomicU64,
}

impl FairTime {
    pub(super) fn new(attempt_timeout: Duration) -> Self {
        Self {
            least: attempt_timeout / LEAST_PART,
            usual: AtomicU64::new(0),
        }
    }

    /// Notes an answer.
    pub(super) fn answered(&self, took: Duration) {
        let (took, usual) = (took.as_micros() as u64, self.usual.load(Ordering::Relaxed));
        let next = match usual {
            0 => took,
            _ => (usual * (ANSWER - 1) + took) / ANSWER,
        };
        self.usual.store(next, Ordering::Relaxed);
    }

    /// Whether an attempt that had `time` had as long as answers take. Each that had not makes the next a little more
    /// likely to: what was usual once is not believed for ever while no answer comes.
    pub(super) fn had(&self, time: Duration) -> bool {
        let usual = self.usual.load(Ordering::Relaxed);
        if time < self.least {
            return false;
        }
        if time >= Duration::from_micros(usual) {
            return true;
        }
        self.usual.store(usual - usual / HASTE, Ordering::Relaxed);
        false
    }
}
