//! How much is in a broker, what it lacks, and what there was to clear up.

use std::time::Duration;

/// How much is in the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Requests that no consumer holds.
    pub waiting: u64,
    /// Requests that a consumer holds.
    pub claimed: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// How long the oldest waiting request has been waiting, on the broker's clock.
    pub oldest_waiting: Option<Duration>,
    /// Requests removed since the request stream began, whoever removed them: the difference of two is how many
    /// were completed in between. Goes back when the stream begins anew. `None` where the backend does not
    /// count: Redis before 7.0, and before the first request.
    pub completed: Option<u64>,
    /// How many of these were removed without a result: expired, cancelled, set aside, or never attempted. As far as
    /// those who removed them said so; goes back when the count is lost.
    pub discarded: u64,
    /// What the request stream takes, in bytes, about: what waits and what is claimed. 0 where that is not known.
    pub bytes: u64,
    /// The memory of the server that holds all this; `None` where there is none.
    pub memory: Option<Memory>,
    /// Workers that gave a sign of life within [`WORKER_SEEN_WITHIN`](super::WORKER_SEEN_WITHIN).
    pub workers: u64,
    /// The terminals of these, as far as they say how many they have.
    pub terminals: u64,
}

/// The memory of a server, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What it takes, of what counts towards its maximum.
    pub used: u64,
    /// What it may take before it refuses writes; 0 where nothing limits it.
    pub max: u64,
    /// Whether it removes what was accepted instead of refusing writes.
    pub evicts: bool,
}

/// What a service does with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It publishes, and reads replies.
    Requester,
    /// It claims and settles.
    Worker,
}

/// Something that a backend lacks, or refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortcoming {
    /// What it is, in words for operators.
    pub what: String,
    /// Whether the service cannot do its work with it; else it does it less well.
    pub is_fatal: bool,
}

/// What there was to clear up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Consumers that were forgotten.
    pub consumers: u64,
    /// Entries that were brought back.
    pub rescued: u64,
}

/// What others left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adoption {
    /// Requesters that are gone, and whose streams were removed.
    pub removed: u64,
    /// Replies in them that became results.
    pub adopted: u64,
    /// Whether there is more.
    pub more: bool,
}
