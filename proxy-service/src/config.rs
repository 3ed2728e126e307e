//! The proxy's configuration: environment variables, or the flags of the same names.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser};
use roundtrip::broker::BrokerUrl;
use roundtrip::http::server::ConnectionOptions;
use roundtrip::observe::trace::TraceOptions;
use roundtrip::process::command_line::Check;
use roundtrip::process::logging::LogOptions;
use roundtrip::process::runtime::ProcessOptions;
use roundtrip::process::value_parsers;
use roundtrip::service::Service;

use crate::dead_letters::{AdminToken, TokenParser};
use crate::operations::weather::options::WeatherOptions;

/// Workers of Roundtrip: claim requests from the stream, do the work, answer through the reply stream.
///
/// Every option can be set as an environment variable; a flag wins over a variable.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "proxy-service",
    version,
    after_help = "With `healthcheck` as its first word the program asks the one that serves on LISTEN_ADDR whether it is ready."
)]
pub struct Config {
    /// Address to serve Swagger, health and metrics on
    #[arg(long, env, default_value = "127.0.0.1:5010", value_parser = value_parsers::address, help_heading = "Server")]
    pub listen_addr: SocketAddr,

    /// Token of operators, for /admin: 16 to 1024 characters of visible ASCII
    ///
    /// Sent as a bearer, to look after dead letters. Without it there is no /admin. Better a variable than a flag, which
    /// everybody on the machine can read.
    #[arg(long, env, value_parser = TokenParser, hide_env_values = true, help_heading = "Server")]
    pub admin_token: Option<AdminToken>,

    /// What it takes of its machine
    #[command(flatten)]
    pub process: ProcessOptions,

    /// What clients may take
    #[command(flatten)]
    pub connections: ConnectionOptions,

    /// Where the requests are: redis://HOST or rediss://HOST
    ///
    /// In full: redis://USER:PASSWORD@HOST:PORT/DB, of which all but HOST may be left out; rediss://… for TLS.
    #[arg(
        long, env, default_value = "redis://127.0.0.1:6379", value_parser = shared_broker, hide_env_values = true,
        help_heading = "Queue"
    )]
    pub broker_url: BrokerUrl,

    /// How long work in hand may take to finish after SIGTERM
    ///
    /// What is left then goes to another worker.
    #[arg(long, env, default_value = "25s", value_parser = value_parsers::duration, help_heading = "Shutdown")]
    pub drain_timeout: Duration,

    /// How the workers work
    #[command(flatten)]
    pub worker: WorkerOptions,

    /// Where the weather comes from
    #[command(flatten)]
    pub weather: WeatherOptions,

    /// Where traces go
    #[command(flatten)]
    pub traces: TraceOptions,

    /// What is logged, and how
    #[command(flatten)]
    pub logs: LogOptions,
}

/// How workers work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workers (an ingress has them with memory:// only)")]
pub struct WorkerOptions {
    /// Requests worked on at the same time, 1 to 65536
    #[arg(long, env, default_value_t = 64, value_parser = value_parsers::whole(1..=65536_u32))]
    pub terminals: u32,

    /// How long a worker that fell silent keeps its requests before another takes over, 1s to 1h
    ///
    /// The same for all workers.
    #[arg(long, env, default_value = "6s", value_parser = lease)]
    pub lease: Duration,

    /// How often a worker renews what it holds, at most half of LEASE
    ///
    /// Without it a third of LEASE.
    #[arg(long, env, value_parser = value_parsers::positive_duration)]
    pub lease_renewal: Option<Duration>,

    /// How often a request is delivered before it is set aside as a dead letter, 1 to 1000
    #[arg(long, env, default_value_t = 5, value_parser = value_parsers::whole(1..=1000_u32))]
    pub max_deliveries: u32,

    /// How long one attempt on the upstream may take
    #[arg(long, env, default_value = "10s", value_parser = value_parsers::positive_duration)]
    pub attempt_timeout: Duration,

    /// How long work may go on after somebody cancelled its request
    #[arg(long, env, default_value = "1s", value_parser = value_parsers::duration)]
    pub cancel_grace: Duration,
}

/// Renewals in one lease: the first may come late by a third, and one may fail, before it is lost.
const RENEWALS: u32 = 3;

impl WorkerOptions {
    /// How often leases are renewed.
    #[must_use]
    pub fn renewal(&self) -> Duration {
        self.lease_renewal.unwrap_or(self.lease / RENEWALS)
    }
}

impl Service for Config {
    const NAME: &'static str = "proxy-service";

    fn listen_addr(&self) -> SocketAddr {
        self.listen_addr
    }

    fn options(&self) -> (&ProcessOptions, &LogOptions, &TraceOptions) {
        (&self.process, &self.logs, &self.traces)
    }
}

impl Check for Config {
    fn check(&self) -> Result<(), String> {
        self.worker.check()
    }
}

impl Check for WorkerOptions {
    fn check(&self) -> Result<(), String> {
        let renewal = self.renewal();
        if renewal * 2 > self.lease {
            return Err(format!(
                "LEASE_RENEWAL={} is more than half of LEASE={}: one late renewal would lose the work; at most {} is accepted",
                humantime::format_duration(renewal),
                humantime::format_duration(self.lease),
                humantime::format_duration(self.lease / 2),
            ));
        }
        Ok(())
    }
}

fn shared_broker(text: &str) -> Result<BrokerUrl, String> {
    match text.parse::<BrokerUrl>() {
        Ok(url) if url.is_memory() => Err(
            "memory:// lives inside one process, so no ingress could reach this worker; start ingress-service \
             alone for that, or name a redis:// server here"
                .to_owned(),
        ),
        Ok(url) => Ok(url),
        Err(error) => Err(error.to_string()),
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    let accepted = Duration::from_secs(1)..=Duration::from_secs(3600);
    match value_parsers::duration(text) {
        Ok(lease) if accepted.contains(&lease) => Ok(lease),
        _ => Err("a duration from 1s to 1h is expected, such as 6s".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roundtrip::process::command_line;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("6s", None, true)]
    #[case("6s", Some("3s"), true)]
    #[case("6s", Some("3001ms"), false)]
    #[case("1s", Some("2s"), false)]
    fn a_lease_lasts_for_two_renewals(#[case] lease: &str, #[case] renewal: Option<&str>, #[case] accepted: bool) {
        let mut flags = vec!["proxy-service", "--lease", lease];
        flags.extend(renewal.iter().flat_map(|renewal| ["--lease-renewal", renewal]));
        let checked = Config::parse_from(flags).check();
        assert_eq!(checked.is_ok(), accepted, "{checked:?}");
        if let Err(message) = checked {
            for part in ["LEASE_RENEWAL=", "LEASE=", "at most"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }

    #[rstest]
    #[case("--broker-url", "memory://", "memory:// lives inside one process")]
    #[case("--broker-url", "localhost", "accepted are memory://, redis://")]
    #[case("--terminals", "0", "a whole number from 1 to 65536")]
    #[case("--lease", "10ms", "from 1s to 1h")]
    #[case("--max-deliveries", "many", "a whole number from 1 to 1000")]
    #[case("--listen-addr", "5010", "such as 127.0.0.1:5009")]
    #[case("--simulated-latency", "fast", "")]
    #[case("--weather-provider", "oracle", "simulated, open-meteo is expected")]
    #[case("--open-meteo-forecast-url", "ftp://x", "an http:// or https:// URL")]
    #[case("--idle-timeout", "0s", "from 1s to 24h")]
    #[case("--idle-timeout", "25h", "from 1s to 24h")]
    #[case("--max-connections", "0", "a whole number from 1 to 1000000")]
    fn a_bad_value_is_refused_by_name(#[case] flag: &str, #[case] value: &str, #[case] accepted: &str) {
        let arguments = ["proxy-service", flag, value].map(Into::into);
        let error = command_line::parse::<Config>(&arguments).unwrap_err().to_string();
        for part in [flag, value, accepted] {
            assert!(error.contains(part), "{part:?} is missing in:\n{error}");
        }
    }
    #[rstest]
    #[case("too-short-secret"[..15].into())]
    #[case("a secret with blanks in it".into())]
    #[case("geheimer-schlüssel".into())]
    #[case("x".repeat(1025))]
    #[case(String::new())]
    fn a_refused_token_is_not_shown(#[case] token: String) {
        let error = Config::try_parse_from(["proxy-service", "--admin-token", &token]).unwrap_err();
        let told = format!("{error} {error:?}");
        for part in ["--admin-token <ADMIN_TOKEN>", "16 to 1024 characters of visible ASCII"] {
            assert!(told.contains(part), "{part:?} is missing in:\n{told}");
        }
        assert!(token.is_empty() || !told.contains(&token), "{told}");
    }

    #[test]
    fn a_token_in_the_configuration_is_not_shown() {
        let config = Config::parse_from(["proxy-service", "--admin-token", "a-secret-of-some-length"]);
        assert!(config.admin_token.is_some());
        assert!(!format!("{config:?}").contains("secret"));
    }
}
