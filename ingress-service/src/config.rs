//! The ingress' configuration: environment variables, or the flags of the same names.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use proxy_service::config::{WeatherOptions, WorkerOptions};
use roundtrip::broker::BrokerUrl;
use roundtrip::service::telemetry::{LogFilter, LogFormat};
use roundtrip::service::values;

/// HTTP front of Roundtrip: publishes each request to the stream and answers with its reply.
///
/// Every option can be set as an environment variable; a flag wins over a variable.
#[derive(Debug, Clone, Parser)]
#[command(name = "ingress-service", version)]
pub struct Config {
    /// Where requests go: memory:// (workers run inside this process), redis://USER:PASSWORD@HOST:PORT/DB (all but HOST optional), or rediss://… for TLS
    #[arg(long, env, default_value = "memory://", hide_env_values = true)]
    pub broker_url: BrokerUrl,

    /// Address to serve on
    #[arg(long, env, default_value = "127.0.0.1:5009")]
    pub listen_addr: SocketAddr,

    /// How long a caller waits for a reply before 504, at most a day
    #[arg(long, env, default_value = "30s", value_parser = request_timeout)]
    pub request_timeout: Duration,

    /// Requests in flight before further ones are refused with 503, 1 to 1000000
    #[arg(long, env, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,

    /// How long the oldest waiting request may have waited before further ones are refused with 503 [default: half of REQUEST_TIMEOUT, and only where the wait cannot be predicted]
    #[arg(long, env, value_parser = values::positive_duration)]
    pub max_queue_age: Option<Duration>,

    /// The largest request body, 1B to 64MiB
    #[arg(long, env, default_value = "1MiB", value_parser = values::size)]
    pub max_body: usize,

    /// How long requests in flight may take to finish after SIGTERM
    #[arg(long, env, default_value = "25s", value_parser = values::duration)]
    pub drain_timeout: Duration,

    /// Time between SIGTERM and the end of accepting, for load balancers and clients to go elsewhere
    #[arg(long, env, default_value = "1s", value_parser = values::duration)]
    pub shutdown_delay: Duration,

    /// How log lines look
    #[arg(long, env, default_value = "pretty")]
    pub log_format: LogFormat,

    /// What is logged: off, error, warn, info, debug or trace, also per module, for example info,roundtrip=debug
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log_filter: LogFilter,

    /// How embedded workers work; only with memory://
    #[command(flatten)]
    pub worker: WorkerOptions,

    /// Where embedded workers get the weather; only with memory://
    #[command(flatten)]
    pub weather: WeatherOptions,
}

fn request_timeout(text: &str) -> Result<Duration, String> {
    match values::positive_duration(text)? {
        timeout if timeout <= roundtrip::Budget::MAX => Ok(timeout),
        _ => Err("a duration of at most a day is expected, such as 30s".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_variable_is_documented() {
        Config::command().debug_assert();
        let help = Config::command().render_long_help().to_string();
        for name in [
            "BROKER_URL",
            "LISTEN_ADDR",
            "REQUEST_TIMEOUT",
            "MAX_IN_FLIGHT",
            "MAX_QUEUE_AGE",
            "MAX_BODY",
            "DRAIN_TIMEOUT",
            "SHUTDOWN_DELAY",
            "TERMINALS",
            "WEATHER_PROVIDER",
            "LOG_FORMAT",
            "RUST_LOG",
        ] {
            assert!(help.contains(&format!("[env: {name}")), "{name} is missing in:\n{help}");
        }
    }

    #[rstest]
    #[case("--broker-url", "http://localhost", "accepted are memory://, redis://")]
    #[case("--broker-url", "redis://", "accepted are memory://, redis://")]
    #[case("--request-timeout", "0s", "above zero")]
    #[case("--request-timeout", "48h", "at most a day")]
    #[case("--max-in-flight", "0", "1..=1000000")]
    #[case("--max-queue-age", "0s", "above zero")]
    #[case("--max-body", "none", "such as 1MiB")]
    #[case("--drain-timeout", "25", "such as 30s")]
    fn a_bad_value_is_refused_by_name(#[case] flag: &str, #[case] value: &str, #[case] accepted: &str) {
        let error = Config::try_parse_from(["ingress-service", flag, value])
            .unwrap_err()
            .to_string();
        let variable = flag.trim_start_matches('-').replace('-', "_").to_uppercase();
        for part in [flag, &variable, value, accepted] {
            assert!(error.contains(part), "{part:?} is missing in:\n{error}");
        }
    }
}
