//! What a schedule is made of. Steps hold every random choice already, so that a seed repeats a schedule.

use std::fmt;
use std::time::Duration;

use checker::nonce::Temper;
use serde::Serialize;

use crate::fault_proxy::{NetworkFault, Question};
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
    /// Asks so many requests of a temper, at once.
    Ask(Temper, usize),
    /// Waits until requests of a temper have begun to run so often.
    AwaitRuns(Temper, usize),
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
    /// SIGSTOP for an ingress.
    FreezeIngress(usize),
    /// SIGCONT for it.
    ThawIngress(usize),
    /// SIGKILL for Redis.
    KillRedis,
    /// Starts it again on its data; done when it has loaded them.
    StartRedis,
    /// SIGSTOP for Redis.
    FreezeRedis,
    /// SIGCONT for it.
    ThawRedis,
    /// CLIENT PAUSE for all commands; done when it is over.
    PauseClients(Duration),
    /// DEBUG SLEEP; done when it is over.
    DebugSleep(Duration),
    /// Sets the clock of Redis so many seconds off.
    SetClock(i64),
    /// Leaves Redis so many bytes beyond what it uses now, as its maxmemory.
    LeaveMemory(u64),
    /// Changes the network between the services and Redis.
    Network(NetworkFault),
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
            | Self::FreezeIngress(_)
            | Self::KillRedis
            | Self::FreezeRedis
            | Self::PauseClients(_)
            | Self::DebugSleep(_)
            | Self::SetClock(_)
            | Self::LeaveMemory(_)
            | Self::DestroyGroup
            | Self::FlushAll
            | Self::LoseAnswers(..)
            | Self::LoadTimesPeak(_) => true,
            Self::Network(weather) => *weather != NetworkFault::Pass,
            Self::Upstream(mood) => *mood != Mood::Healthy,
            Self::Wait(_)
            | Self::Load(_)
            | Self::MeasurePeak(_)
            | Self::Flood(_)
            | Self::AwaitFlood
            | Self::Ask(..)
            | Self::AwaitRuns(..)
            | Self::StartWorker(_)
            | Self::ThawWorker(_)
            | Self::StartIngress(_)
            | Self::ThawIngress(_)
            | Self::StartRedis
            | Self::ThawRedis => false,
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
            Self::Ask(temper, count) => write!(f, "ask {count} more that are {temper:?}"),
            Self::AwaitRuns(temper, count) => write!(f, "wait for run {count} of what is {temper:?}"),
            Self::KillWorker(worker) => write!(f, "SIGKILL worker {worker}"),
            Self::StartWorker(worker) => write!(f, "start worker {worker}"),
            Self::FreezeWorker(worker) => write!(f, "SIGSTOP worker {worker}"),
            Self::ThawWorker(worker) => write!(f, "SIGCONT worker {worker}"),
            Self::RollWorker(worker) => write!(f, "SIGTERM worker {worker}, start another"),
            Self::KillIngress(ingress) => write!(f, "SIGKILL ingress {ingress}"),
            Self::StartIngress(ingress) => write!(f, "start ingress {ingress}"),
            Self::RollIngress(ingress) => write!(f, "SIGTERM ingress {ingress}, start it again"),
            Self::FreezeIngress(ingress) => write!(f, "SIGSTOP ingress {ingress}"),
            Self::ThawIngress(ingress) => write!(f, "SIGCONT ingress {ingress}"),
            Self::KillRedis => f.write_str("SIGKILL redis"),
            Self::StartRedis => f.write_str("start redis"),
            Self::FreezeRedis => f.write_str("SIGSTOP redis"),
            Self::ThawRedis => f.write_str("SIGCONT redis"),
            Self::PauseClients(time) => write!(f, "CLIENT PAUSE {time:?}"),
            Self::DebugSleep(time) => write!(f, "DEBUG SLEEP {time:?}"),
            Self::SetClock(seconds) => write!(f, "set the clock of redis {seconds:+} s off"),
            Self::LeaveMemory(bytes) => write!(f, "leave redis {bytes} bytes of memory before the door closes"),
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
