//! One history, with every choice made, from a seed: who there is, what is asked when, what is broken when. The theme,
//! what a history is mostly about, is part of the seed; what may be demanded of the services follows from it.

mod calls;
mod themes;

use std::time::Duration;

use fastrand::Rng;

use crate::upstream::{Deed, Mood};
use crate::weather::Spell;

pub(crate) use calls::{Ask, Then, Wait};
pub(crate) use themes::{FICKLE, Theme};

/// One history.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) theme: Theme,
    pub(crate) ingresses: usize,
    pub(crate) workers: usize,
    pub(crate) settings: Settings,
    /// What a call to the broker takes at most, there and back.
    pub(crate) latency: Duration,
    /// What becomes of each piece of work, by its number.
    pub(crate) deeds: Vec<Deed>,
    pub(crate) moods: Vec<Mood>,
    /// By time.
    pub(crate) asks: Vec<Ask>,
    /// By time.
    pub(crate) blows: Vec<(Duration, Blow)>,
    /// What is wrong between the broker and each place: ingresses first, then workers.
    pub(crate) spells: Vec<Vec<Spell>>,
    /// When nothing is asked any more.
    pub(crate) end: Duration,
}

/// How the services are configured.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) request_timeout: Duration,
    pub(crate) job_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) terminals: u32,
    pub(crate) max_deliveries: u32,
    pub(crate) max_in_flight: u32,
    pub(crate) max_followers: u32,
    pub(crate) drain_timeout: Duration,
    pub(crate) shutdown_delay: Duration,
    pub(crate) memory_limit: usize,
    pub(crate) cancels: bool,
}

/// Something that is done to an instance, by its place, or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    KillIngress(usize),
    KillWorker(usize),
    FreezeIngress(usize, Duration),
    FreezeWorker(usize, Duration),
    /// It drains, and another takes its place.
    RollIngress(usize),
    RollWorker(usize),
    /// The wall clock is set, in milliseconds.
    Clock(i64),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: secs(6),
            job_timeout: secs(20),
            attempt_timeout: secs(2),
            lease: secs(3),
            terminals: 16,
            max_deliveries: 4,
            max_in_flight: 1024,
            max_followers: 256,
            drain_timeout: secs(8),
            shutdown_delay: Duration::from_millis(200),
            memory_limit: 64 << 20,
            cancels: false,
        }
    }
}

impl Plan {
    /// The history of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1CE);
        let theme = Theme::ALL[(seed % Theme::ALL.len() as u64) as usize];
        theme.plan(&mut rng)
    }
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A time between two, in whole milliseconds.
pub(crate) fn between(rng: &mut Rng, least: u64, most: u64) -> Duration {
    millis(rng.u64(least..=most))
}
