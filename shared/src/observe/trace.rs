//! Distributed traces, over OTLP: from the HTTP call through the stream to the worker and back. The rule: what is not
//! sampled costs a look at a flag; nothing is allocated, timed or sent for it, and where no collector is named there is
//! not even a flag.

mod context;
mod exporter;
mod span;

use clap::Args;
use url::Url;

pub use context::Trace;
pub use exporter::{Flush, start};
pub use span::{Kind, Span};

/// The header that carries a trace ([W3C Trace Context](https://www.w3.org/TR/trace-context/)).
pub const TRACEPARENT: &str = "traceparent";

/// Where traces go, and how many. The names are OpenTelemetry's; the exporter also reads `OTEL_EXPORTER_OTLP_HEADERS`,
/// `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`
/// (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TraceOptions {
    /// Base URL of an OpenTelemetry collector, such as http://localhost:4318
    ///
    /// OTLP over HTTP. Without it there are no traces.
    #[arg(long, env, value_parser = endpoint, hide_env_values = true)]
    pub otel_exporter_otlp_endpoint: Option<Url>,

    /// Share of the calls that are traced, 0 to 1
    ///
    /// Where the caller's own trace does not say.
    #[arg(long, env, default_value_t = 0.01, value_parser = ratio)]
    pub otel_traces_sampler_arg: f64,
}

fn endpoint(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("an http:// or https:// URL is expected, such as http://localhost:4318".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "a number from 0 to 1 is expected, such as 0.01".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_collector_and_no_share_is_refused() {
        for text in ["localhost:4318", "grpc://localhost", "http://", ""] {
            assert!(endpoint(text).is_err(), "{text:?}");
        }
        for text in ["-0.1", "1.1", "NaN", "many", ""] {
            assert!(ratio(text).is_err(), "{text:?}");
        }
        assert_eq!((ratio("0"), ratio("1")), (Ok(0.0), Ok(1.0)));
    }
}
