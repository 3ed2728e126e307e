//! What goes wrong between an instance and its broker, and when. All of it is decided by the seed.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use crate::entropy;
use crate::server::PATIENCE;

/// What a call is for, as far as faults tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Publish,
    Claim,
    Settle,
    Renew,
    Replies,
    Record,
    Look,
}

/// A time in which something is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spell {
    pub(crate) time: Range<Duration>,
    pub(crate) what: Trouble,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trouble {
    /// Calls of a kind take longer, by up to so much.
    Slow(Option<Call>, Duration),
    /// This share of calls fails, of these half with, half without effect.
    Errors(f64),
    /// This share of answers to calls of this kind is lost.
    Lost(Call, f64),
    /// This share of calls arrives twice, where a client may send them again.
    Repeated(f64),
    /// Nothing comes through.
    Hole,
    /// There is no room for anything new.
    Full,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has its effect after the first time, and its answer is there after the second.
    Fine(Duration, Duration),
    Twice,
    /// It fails without effect.
    Refused,
    Full,
    /// Its answer does not come; it has its effect after this time, if at all.
    Unknown(Option<Duration>),
}

/// The weather of one link.
#[derive(Debug)]
pub(crate) struct Weather {
    spells: Vec<Spell>,
    /// What a call takes at most, there and back.
    latency: Duration,
    rng: Rng,
}

impl Weather {
    pub(crate) fn new(spells: Vec<Spell>, latency: Duration, seed: u64) -> Self {
        Self {
            spells,
            latency,
            rng: Rng::with_seed(seed),
        }
    }

    pub(crate) fn fate(&mut self, call: Call) -> Fate {
        let now = entropy::elapsed();
        let mut before = self.some(self.latency);
        let after = self.some(self.latency);
        for spell in self.spells.iter().filter(|spell| spell.time.contains(&now)) {
            match &spell.what {
                Trouble::Slow(kind, most) if kind.is_none_or(|kind| kind == call) => {
                    before += most.mul_f64(0.5 + 0.5 * self.rng.f64());
                }
                Trouble::Errors(share) if self.rng.f64() < *share => {
                    return match self.rng.bool() {
                        true => Fate::Refused,
                        false => Fate::Unknown(Some(before)),
                    };
                }
                Trouble::Lost(kind, share) if *kind == call && self.rng.f64() < *share => {
                    return Fate::Unknown(Some(before));
                }
                Trouble::Repeated(share) if self.rng.f64() < *share => return Fate::Twice,
                Trouble::Hole => {
                    // What was sent may arrive when the way is free again, although nobody waits for the answer.
                    let late = self.rng.u8(..4) == 0;
                    return match self.rng.u8(..3) {
                        0 => Fate::Refused,
                        _ => Fate::Unknown(late.then(|| spell.time.end - now)),
                    };
                }
                Trouble::Full if matches!(call, Call::Publish) => return Fate::Full,
                _ => {}
            }
        }
        match before + after > PATIENCE && call != Call::Claim && call != Call::Replies {
            true => Fate::Unknown(Some(before)),
            false => Fate::Fine(before, after),
        }
    }

    /// Whether something has been wrong in the last `time`, or is.
    pub(crate) fn was_bad(&self, time: Duration) -> bool {
        let now = entropy::elapsed();
        let since = now.saturating_sub(time);
        self.spells
            .iter()
            .any(|spell| spell.time.start <= now && since < spell.time.end)
    }

    /// Mostly nothing.
    fn some(&mut self, most: Duration) -> Duration {
        match self.rng.u8(..4) {
            0 => most.mul_f64(self.rng.f64()),
            _ => Duration::ZERO,
        }
    }
}
