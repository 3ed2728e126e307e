//! What a write must have reached before it counts as accepted.

use std::num::NonZeroU32;

/// The tiers of durability. Redis has no quorum: none of them survives everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The server's memory, and whatever the server does with it.
    #[default]
    Volatile,
    /// A server that keeps an append-only file; how often it reaches the disk is the server's
    /// `appendfsync`. Without one nothing is accepted.
    Aof,
    /// That many replicas have confirmed each write. With fewer nothing is accepted.
    Replicated(NonZeroU32),
}
