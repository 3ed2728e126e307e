//! What a schedule is made of. Steps hold every random choice already, so that a seed repeats a schedule.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cutter::{Question, Weather};
use crate::upstream::Mood;

/// One step of a schedule; the next begins when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) enum Step {
    /// Lets time pass.
    Wait(Duration),
    /// Changes how much is asked.
    Load(Load),
    /// Notes the rate of good answers over this time as the peak.
    MeasurePeak(Duration),
    /// Asks this many times the peak a second.
    LoadTimesPeak(f64),
    /// SIGKILL for a worker.
    KillWorker(usize),
    /// Starts a worker in the place of one that was killed.
    StartWorker(usize),
    /// SIGSTOP for a worker.
    FreezeWorker(usize),
    /// SIGCONT for it.
    ThawWorker(usize),
    /// SIGTERM for a worker; when it has left, another is started.
    RollWorker(usize),
    /// SIGKILL for an ingress.
    KillIngress(usize),
    /// Starts an ingress in the place of one that was killed, at its address.
    StartIngress(usize),
    /// SIGTERM for an ingress; when it has left, it is started again at its address.
    RollIngress(usize),
    /// SIGKILL for Redis.
    KillRedis,
    /// Starts it again on its data; done when it has loaded them.
    StartRedis,
    /// Changes the network between the services and Redis.
    Network(Weather),
    /// Loses the answers to so many questions of a kind; done when they were asked.
    LoseAnswers(Question, u32),
    /// Publishes so many requests at once, past the ingresses.
    Flood(u32),
    /// Waits until all that went past the ingresses is answered.
    AwaitFlood,
    /// XGROUP DESTROY.
    DestroyGroup,
    /// FLUSHALL.
    FlushAll,
    /// Changes how the upstream answers.
    Upstream(Mood),
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) enum Load {
    /// Nothing.
    Idle,
    /// So many requests a second, whatever the answers do.
    Open(f64),
    /// So many requests in flight.
    Closed(usize),
}

impl Step {
    /// Whether it breaks something.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            Self::KillWorker(_)
            | Self::FreezeWorker(_)
            | Self::RollWorker(_)
            | Self::KillIngress(_)
            | Self::RollIngress(_)
            | Self::KillRedis
            | Self::DestroyGroup
            | Self::FlushAll
            | Self::LoseAnswers(..)
            | Self::LoadTimesPeak(_) => true,
            Self::Network(weather) => *weather != Weather::Pass,
            Self::Upstream(mood) => *mood != Mood::Healthy,
            Self::Wait(_)
            | Self::Load(_)
            | Self::MeasurePeak(_)
            | Self::Flood(_)
            | Self::AwaitFlood
            | Self::StartWorker(_)
            | Self::ThawWorker(_)
            | Self::StartIngress(_)
            | Self::StartRedis => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait(time) => write!(f, "wait {time:?}"),
            Self::Load(Load::Idle) => f.write_str("no load"),
            Self::Load(Load::Open(rate)) => write!(f, "{rate:.0} requests/s"),
            Self::Load(Load::Closed(count)) => write!(f, "{count} requests in flight"),
            Self::MeasurePeak(time) => write!(f, "measure the peak for {time:?}"),
            Self::LoadTimesPeak(times) => write!(f, "{times} times the peak"),
            Self::KillWorker(worker) => write!(f, "SIGKILL worker {worker}"),
            Self::StartWorker(worker) => write!(f, "start worker {worker}"),
            Self::FreezeWorker(worker) => write!(f, "SIGSTOP worker {worker}"),
            Self::ThawWorker(worker) => write!(f, "SIGCONT worker {worker}"),
            Self::RollWorker(worker) => write!(f, "SIGTERM worker {worker}, start another"),
            Self::KillIngress(ingress) => write!(f, "SIGKILL ingress {ingress}"),
            Self::StartIngress(ingress) => write!(f, "start ingress {ingress}"),
            Self::RollIngress(ingress) => write!(f, "SIGTERM ingress {ingress}, start it again"),
            Self::KillRedis => f.write_str("SIGKILL redis"),
            Self::StartRedis => f.write_str("start redis"),
            Self::Network(weather) => write!(f, "network: {weather:?}"),
            Self::LoseAnswers(question, times) => write!(f, "lose answers: {question:?}, {times} times"),
            Self::Flood(count) => write!(f, "{count} requests at once"),
            Self::AwaitFlood => f.write_str("wait for the last of them"),
            Self::DestroyGroup => f.write_str("XGROUP DESTROY"),
            Self::FlushAll => f.write_str("FLUSHALL"),
            Self::Upstream(mood) => write!(f, "upstream: {mood:?}"),
        }
    }
}
