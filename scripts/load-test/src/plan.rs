//! What a run does: decided before it starts, never changed while it runs.

use std::net::SocketAddr;
use std::num::NonZero;
use std::time::Duration;

use crate::cities::Cities;
use crate::target::Target;

/// The longest latency the histogram tells apart, and so the longest timeout.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// How requests follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// One at a time; each answer is parsed in full and handed to the caller.
    Sequential,
    /// A closed loop: each connection sends its next request when it has its answer.
    Concurrent {
        /// Connections, each with one request in flight.
        connections: NonZero<usize>,
    },
    /// A constant arrival rate, whatever the answers do. Latency counts from the moment a request was due, so that
    /// waiting for a free connection is part of it.
    Open {
        /// Connections at most, each with one request in flight.
        connections: NonZero<usize>,
        /// Requests a second, above zero.
        rate: f64,
    },
}

impl Mode {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Concurrent { .. } => "concurrent",
            Self::Open { .. } => "open",
        }
    }

    /// Connections at most.
    #[must_use]
    pub fn connections(self) -> usize {
        match self {
            Self::Sequential => 1,
            Self::Concurrent { connections } | Self::Open { connections, .. } => connections.get(),
        }
    }

    /// Requests a second, where the mode sets them.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Sequential | Self::Concurrent { .. } => None,
            Self::Open { rate, .. } => Some(rate),
        }
    }
}

/// When a run ends: at whichever limit comes first. Without any it goes on until it is stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests in all.
    pub count: Option<u64>,
    /// How long requests are begun for.
    pub duration: Option<Duration>,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The service.
    pub target: Target,
    /// The address of the service that answered the health check.
    pub address: SocketAddr,
    /// How requests follow one another.
    pub mode: Mode,
    /// When the run ends.
    pub limits: Limits,
    /// How long a request may take, counted like its latency; above zero, at most [`MAX_TIMEOUT`].
    pub timeout: Duration,
    /// What is asked for.
    pub cities: Cities,
    /// Makes the order of the places random and repeatable; without it they take turns.
    pub seed: Option<u64>,
}
