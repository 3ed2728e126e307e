//! Sending spans: in batches, from a thread of its own, which is all that a collector that hangs can hold up. The queue
//! is bounded; what finds no room in it is left out.

use std::error::Error;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter as Export,
};
use url::Url;

use super::TraceOptions;

/// Spans that wait to be sent: some 300 requests.
const MAX_QUEUE: usize = 4096;

/// How long a span waits for company.
const DELAY: Duration = Duration::from_secs(1);

/// How long a collector may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the last spans may take when the process leaves.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

struct Exporter {
    tracer: SdkTracer,
    ratio: f64,
}

/// One for the process, as for logs: whoever records is spread over all of it.
static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// Sends what is left when it is dropped.
#[derive(Debug)]
pub struct Flush(Option<SdkTracerProvider>);

/// Starts to record, where a collector is named. To be called before any runtime starts.
///
/// # Errors
/// When the exporter cannot be built.
pub fn start(service: &'static str, options: &TraceOptions) -> Result<Flush, Box<dyn Error + Send + Sync>> {
    let Some(endpoint) = &options.otel_exporter_otlp_endpoint else {
        return Ok(Flush(None));
    };
    // Fails only when a provider is there already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_url(endpoint))
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let exporter = Reporting {
        inner: exporter,
        last: Mutex::new(None),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUE)
        .with_scheduled_delay(DELAY)
        .build();
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(service);
    }
    let instance = KeyValue::new("service.instance.id", crate::process::hostname());
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
        // Whether to record is decided before a span is made.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource.with_attribute(instance).build())
        .build();
    let tracer = provider.tracer("roundtrip");
    let ratio = options.otel_traces_sampler_arg;
    let _ = EXPORTER.set(Exporter { tracer, ratio });
    tracing::info!(ratio, "sending traces");
    Ok(Flush(Some(provider)))
}

/// How often it is said that a collector does not take spans.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Says that spans get lost, now and then.
#[derive(Debug)]
struct Reporting<E> {
    inner: E,
    last: Mutex<Option<Instant>>,
}

impl<E: Export> Export for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let outcome = self.inner.export(batch).await;
        if let Err(error) = &outcome
            && self.is_time_to_say_so()
        {
            tracing::warn!(%error, count, "the collector took no spans; saying so once a minute at most");
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E> Reporting<E> {
    fn is_time_to_say_so(&self) -> bool {
        let mut last = self.last.lock().expect("no code panics while it holds the time");
        let due = last.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// The base URL with the path of traces behind it.
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp>
fn traces_url(base: &Url) -> String {
    format!("{}/v1/traces", base.as_str().trim_end_matches('/'))
}

/// The share of calls to record; `None` where nothing is.
pub(crate) fn ratio() -> Option<f64> {
    EXPORTER.get().map(|exporter| exporter.ratio)
}

pub(crate) fn tracer() -> Option<&'static SdkTracer> {
    EXPORTER.get().map(|exporter| &exporter.tracer)
}

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_follows_the_base() {
        for base in ["http://host:4318", "http://host:4318/"] {
            assert_eq!(traces_url(&base.parse().unwrap()), "http://host:4318/v1/traces");
        }
        assert_eq!(
            traces_url(&"https://host/otlp/".parse().unwrap()),
            "https://host/otlp/v1/traces"
        );
    }
}
