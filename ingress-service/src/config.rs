//! The ingress' configuration: environment variables, or the flags of the same names.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use proxy_service::config::WorkerOptions;
use proxy_service::dead_letters::{AdminToken, TokenParser};
use proxy_service::operations::weather::options::WeatherOptions;
use roundtrip::broker::{BrokerOptions, BrokerUrl, Durability, Retention};
use roundtrip::http::server::ConnectionOptions;
use roundtrip::observe::trace::TraceOptions;
use roundtrip::process::command_line::Check;
use roundtrip::process::logging::LogOptions;
use roundtrip::process::runtime::{ProcessOptions, Share};
use roundtrip::process::value_parsers;
use roundtrip::service::Service;

use crate::admission::{JobLimits, Limits};

/// HTTP front of Roundtrip: publishes each request to the stream and answers with its reply.
///
/// Every option can be set as an environment variable; a flag wins over a variable.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "ingress-service",
    version,
    after_help = "With `healthcheck` as its first word the program asks the one that serves on LISTEN_ADDR whether it is ready."
)]
pub struct Config {
    /// Address to serve on
    #[arg(long, env, default_value = "127.0.0.1:5009", value_parser = value_parsers::address, help_heading = "Server")]
    pub listen_addr: SocketAddr,

    /// The largest request body, 1B to 64MiB
    ///
    /// A route may take less: the weather takes 8KiB.
    #[arg(long, env, default_value = "1MiB", value_parser = value_parsers::size, help_heading = "Server")]
    pub max_body: usize,

    /// Memory for all bodies that are being read, up to 64GiB
    ///
    /// Further ones are refused with 503. At least MAX_BODY.
    #[arg(long, env, default_value = "64MiB", value_parser = value_parsers::memory, help_heading = "Server")]
    pub max_body_memory: usize,

    /// What it takes of its machine
    #[command(flatten)]
    pub process: ProcessOptions,

    /// What clients may take
    #[command(flatten)]
    pub connections: ConnectionOptions,

    /// Where requests go: memory://, redis://HOST or rediss://HOST
    ///
    /// With memory:// the workers run inside this process. In full: redis://USER:PASSWORD@HOST:PORT/DB, of which all but HOST
    /// may be left out; rediss://… for TLS.
    #[arg(
        long,
        env,
        default_value = "memory://",
        hide_env_values = true,
        help_heading = "Queue"
    )]
    pub broker_url: BrokerUrl,

    /// How long a caller waits for a reply before 504, at most a day
    #[arg(long, env, default_value = "30s", value_parser = request_timeout, help_heading = "Queue")]
    pub request_timeout: Duration,

    /// How long work may go on for callers who do not wait for it (Prefer), at most a day
    #[arg(long, env, default_value = "1h", value_parser = request_timeout, help_heading = "Queue")]
    pub job_timeout: Duration,

    /// What a request must have reached before it counts as accepted
    ///
    /// volatile: the server's memory; aof: a server that keeps an append-only file; replicated: replicas confirmed it.
    #[arg(long, env, default_value = "volatile", help_heading = "Queue")]
    pub durability: DurabilityTier,

    /// How many replicas confirm each request with DURABILITY=replicated, 1 to 16
    #[arg(long, env, default_value = "1", value_parser = replicas, help_heading = "Queue")]
    pub durability_replicas: NonZeroU32,

    /// What becomes of the work when its caller hangs up
    ///
    /// With cancel it ends, where nobody can ask for it again.
    #[arg(long, env, default_value = "finish", help_heading = "Queue")]
    pub on_disconnect: OnDisconnect,

    /// How long results are kept that somebody can ask for again
    #[arg(long, env, default_value = "24h", value_parser = kept, help_heading = "Results")]
    pub result_ttl: Duration,

    /// How long an Idempotency-Key names its request
    ///
    /// At least for the time its work may take, at most as long as its result is kept.
    #[arg(long, env, default_value = "24h", value_parser = kept, help_heading = "Results")]
    pub idempotency_ttl: Duration,

    /// The largest result that is kept, 1B to 64MiB
    #[arg(long, env, default_value = "1MiB", value_parser = value_parsers::size, help_heading = "Results")]
    pub max_result: usize,

    /// How much memory:// keeps at most, 1MiB to 1TiB
    ///
    /// Five eighths are for results and keys, a quarter is for requests that wait or are at work, the rest for dead letters.
    #[arg(long, env, default_value = "256MiB", value_parser = memory, help_heading = "Results")]
    pub memory_limit: usize,

    /// Calls in flight before further ones are refused with 503, 1 to 1000000
    ///
    /// Jobs whose callers have their 202 are no calls in flight: see MAX_QUEUED_JOBS.
    #[arg(long, env, default_value_t = 1024, value_parser = value_parsers::whole(1..=1_000_000_u32), help_heading = "Limits")]
    pub max_in_flight: u32,

    /// How long the oldest request may have waited before 503
    ///
    /// Without it half of REQUEST_TIMEOUT, and only where the wait cannot be predicted.
    #[arg(long, env, value_parser = value_parsers::positive_duration, help_heading = "Limits")]
    pub max_queue_age: Option<Duration>,

    /// The share of Redis' maxmemory beyond which requests are refused with 503, above 0 and at most 1
    ///
    /// What is left is kept for finishing what was accepted.
    #[arg(long, env, default_value = "0.9", value_parser = share, help_heading = "Limits")]
    pub max_memory_share: f64,

    /// The share of the wait up to which jobs are let in, above 0 and at most 1
    ///
    /// Of the wait that those who wait put up with: 3/4 of REQUEST_TIMEOUT. With 1 a job's own time decides.
    #[arg(long, env, default_value = "0.5", value_parser = share, help_heading = "Limits")]
    pub job_share: f64,

    /// Requests that may wait for workers before further jobs are refused with 503, 1 to 1000000
    ///
    /// It counts while the wait cannot be predicted.
    #[arg(long, env, default_value_t = 512, value_parser = value_parsers::whole(1..=1_000_000_u32), help_heading = "Limits")]
    pub max_queued_jobs: u32,

    /// What all requests in the broker may take together before further jobs are refused with 503, 1B to 1TiB
    #[arg(long, env, default_value = "64MiB", value_parser = value_parsers::volume, help_heading = "Limits")]
    pub max_queued_job_bytes: u64,

    /// Calls that may wait for a request of another call before further ones are refused with 503, 1 to 1000000
    ///
    /// Those with a known Idempotency-Key; as many GET /requests/{id} may wait.
    #[arg(long, env, default_value_t = 1024, value_parser = value_parsers::whole(1..=1_000_000_u32), help_heading = "Limits")]
    pub max_followers: u32,

    /// Streams of events that may be open before further ones are refused with 503, 1 to 1000000
    #[arg(long, env, default_value_t = 10_000, value_parser = value_parsers::whole(1..=1_000_000_u32), help_heading = "Limits")]
    pub max_event_streams: u32,

    /// Time between SIGTERM and the end of accepting
    ///
    /// For load balancers and clients to go elsewhere.
    #[arg(long, env, default_value = "1s", value_parser = value_parsers::duration, help_heading = "Shutdown")]
    pub shutdown_delay: Duration,

    /// How long requests in flight may take to finish after that
    #[arg(long, env, default_value = "25s", value_parser = value_parsers::duration, help_heading = "Shutdown")]
    pub drain_timeout: Duration,

    /// Token of operators, for /admin with memory://: 16 to 1024 characters of visible ASCII
    ///
    /// Sent as a bearer, to look after dead letters. Without it there is no /admin; with a redis:// server each proxy-service has
    /// it.
    #[arg(
        long, env, value_parser = TokenParser, hide_env_values = true,
        help_heading = "Workers (an ingress has them with memory:// only)"
    )]
    pub admin_token: Option<AdminToken>,

    /// How embedded workers work; only with memory://
    #[command(flatten)]
    pub worker: WorkerOptions,

    /// Where embedded workers get the weather; only with memory://
    #[command(flatten)]
    pub weather: WeatherOptions,

    /// Where traces go
    #[command(flatten)]
    pub traces: TraceOptions,

    /// What is logged, and how
    #[command(flatten)]
    pub logs: LogOptions,
}

/// What becomes of work whose caller hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnDisconnect {
    /// It goes on
    Finish,
    /// It is cancelled
    Cancel,
}

/// The tiers of durability, as they are named in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityTier {
    /// The server's memory, and whatever the server does with it
    Volatile,
    /// A server that keeps an append-only file
    Aof,
    /// Replicas have confirmed it
    Replicated,
}

impl Config {
    /// What a request must have reached before it counts as accepted.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self.durability {
            DurabilityTier::Volatile => Durability::Volatile,
            DurabilityTier::Aof => Durability::Aof,
            DurabilityTier::Replicated => Durability::Replicated(self.durability_replicas),
        }
    }
}

impl Config {
    /// What the broker is opened with.
    pub(crate) fn broker_options(&self) -> BrokerOptions {
        BrokerOptions {
            lease: self.worker.lease,
            durability: self.durability(),
            retention: self.retention(),
        }
    }

    /// Who is let in.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            request_timeout: self.request_timeout,
            max_in_flight: self.max_in_flight,
            max_queue_age: self.max_queue_age,
            max_memory_share: self.max_memory_share,
            jobs: JobLimits {
                share: self.job_share,
                queued: u64::from(self.max_queued_jobs),
                bytes: self.max_queued_job_bytes,
            },
        }
    }

    /// For how long what is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            results: self.result_ttl,
            keys: self.idempotency_ttl,
            max_result: self.max_result,
            memory_limit: self.memory_limit,
        }
    }
}

impl Service for Config {
    const NAME: &'static str = "ingress-service";

    fn listen_addr(&self) -> SocketAddr {
        self.listen_addr
    }

    fn options(&self) -> (&ProcessOptions, &LogOptions, &TraceOptions) {
        (&self.process, &self.logs, &self.traces)
    }

    /// With workers inside, there is nobody to share the machine with.
    fn share(&self) -> Share {
        match self.broker_url.is_memory() {
            true => Share::All,
            false => Share::Half,
        }
    }
}

impl Check for Config {
    fn check(&self) -> Result<(), String> {
        if self.broker_url.is_memory() && self.durability != DurabilityTier::Volatile {
            return Err(
                "DURABILITY: only volatile is accepted with BROKER_URL=memory://, which keeps nothing; \
                 name a redis:// server for the others"
                    .to_owned(),
            );
        }
        if self.max_body_memory < self.max_body {
            return Err(
                "MAX_BODY_MEMORY: at least MAX_BODY is expected, or no body of that size can be read".to_owned(),
            );
        }
        self.worker.check()
    }
}

fn replicas(text: &str) -> Result<NonZeroU32, String> {
    let replicas = text.parse().ok().filter(|replicas: &NonZeroU32| replicas.get() <= 16);
    replicas.ok_or_else(|| "a whole number from 1 to 16 is expected".to_owned())
}

fn kept(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    match value_parsers::positive_duration(text)? {
        kept if (Duration::from_secs(1)..=YEAR).contains(&kept) => Ok(kept),
        _ => Err("a duration from 1s to a year is expected, such as 24h".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok();
    let share = share.filter(|share: &f64| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "a number above 0 and at most 1 is expected, such as 0.5".to_owned())
}

fn memory(text: &str) -> Result<usize, String> {
    const LEAST: u64 = 1 << 20;
    let bytes = value_parsers::volume(text).ok().filter(|bytes| *bytes >= LEAST);
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "a size from 1MiB to 1TiB is expected, such as 256MiB or 4GiB".to_owned())
}

fn request_timeout(text: &str) -> Result<Duration, String> {
    match value_parsers::positive_duration(text)? {
        timeout if timeout <= roundtrip::Budget::MAX => Ok(timeout),
        _ => Err("a duration of at most a day is expected, such as 30s".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
