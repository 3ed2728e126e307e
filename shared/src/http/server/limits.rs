//! What a client may take of a server. The times here bound clients only: how long a request may be worked
//! on is never decided by its connection.

use std::time::Duration;

use clap::Args;

use crate::process::value_parsers;

/// A head that takes longer is an attack or a broken client.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that takes nothing of its answer for so long has lost interest in it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What an operator decides about connections.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ConnectionOptions {
    /// How long a connection is kept open between two requests, 1s to 24h
    #[arg(long, env, default_value = "75s", value_parser = idle_timeout)]
    pub idle_timeout: Duration,

    /// Connections open before further ones are refused with 503, 1 to 1000000
    #[arg(long, env, default_value_t = 16384, value_parser = value_parsers::whole(1..=1_000_000_u32))]
    pub max_connections: u32,
}

impl ConnectionOptions {
    /// These, and those that nobody has to decide.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            idle: self.idle_timeout,
            head: HEAD_TIMEOUT,
            write: WRITE_TIMEOUT,
        }
    }
}

/// The limits a server keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at the same time.
    pub connections: u32,
    /// From the end of an answer to the first byte of the next head. A connection may live a quarter longer.
    pub idle: Duration,
    /// From the first byte of a head to its end; also from a connection's start to its first byte.
    pub head: Duration,
    /// For a write, until the client takes at least a byte.
    pub write: Duration,
}

fn idle_timeout(text: &str) -> Result<Duration, String> {
    let accepted = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    match value_parsers::duration(text) {
        Ok(timeout) if accepted.contains(&timeout) => Ok(timeout),
        _ => Err("a duration from 1s to 24h is expected, such as 75s".to_owned()),
    }
}
