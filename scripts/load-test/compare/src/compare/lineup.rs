//! Who is compared, and what is true of each before anything is measured.

use clap::ValueEnum;
use serde::Serialize;

/// A system that answers `POST /WeatherForecast/city`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it all
pub(crate) enum Peer {
    Direct,
    Nats,
    Jetstream,
    Rabbitmq,
    RoundtripMemory,
    RoundtripRedis,
    RoundtripAof,
    RoundtripAofAlways,
}

/// A server some peers need, as its own program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Server {
    Nats,
    Rabbitmq,
    Redis,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nats => "nats",
            Self::Jetstream => "jetstream",
            Self::Rabbitmq => "rabbitmq",
            Self::RoundtripMemory => "roundtrip-memory",
            Self::RoundtripRedis => "roundtrip-redis",
            Self::RoundtripAof => "roundtrip-aof",
            Self::RoundtripAofAlways => "roundtrip-aof-always",
        }
    }

    /// What becomes of an accepted request when front and worker die, and when the broker does.
    pub(crate) fn durable(self) -> &'static str {
        match self {
            Self::Direct | Self::Nats => "no",
            Self::RoundtripMemory => "no (memory of the one process)",
            Self::RoundtripRedis => "memory of the broker",
            Self::Jetstream => "disk, fsync every 2 min",
            Self::RoundtripAof => "disk, fsync every second",
            Self::Rabbitmq => "disk, fsync before the confirm",
            Self::RoundtripAofAlways => "disk, fsync before each answer",
        }
    }

    pub(crate) fn server(self) -> Option<Server> {
        match self {
            Self::Direct | Self::RoundtripMemory => None,
            Self::Nats | Self::Jetstream => Some(Server::Nats),
            Self::Rabbitmq => Some(Server::Rabbitmq),
            Self::RoundtripRedis | Self::RoundtripAof | Self::RoundtripAofAlways => Some(Server::Redis),
        }
    }

    /// The crates that speak to the broker, or to the worker.
    pub(crate) fn client_crates(self) -> &'static [&'static str] {
        match self {
            Self::Direct => &["hyper-util", "hyper"],
            Self::Nats | Self::Jetstream => &["async-nats"],
            Self::Rabbitmq => &["lapin"],
            Self::RoundtripMemory => &[],
            Self::RoundtripRedis | Self::RoundtripAof | Self::RoundtripAofAlways => &["redis"],
        }
    }

    pub(crate) fn is_roundtrip(self) -> bool {
        self.name().starts_with("roundtrip")
    }
}

impl Server {
    /// The program's name; Debian's package has the same.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Rabbitmq => "rabbitmq-server",
            Self::Redis => "redis-server",
        }
    }
}
