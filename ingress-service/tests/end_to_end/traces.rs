//! Traces, seen by a collector that takes what OTLP over HTTP brings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use testbed::{RedisServer, Signal, until};
use tokio::net::TcpListener;

use crate::client;
use crate::harness::{Plan, embedded, ingress, proxy};
use crate::streams;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A span, and the service it came from.
type Received = (String, Span);

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Received>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, url)
    }

    fn spans(&self) -> Vec<Received> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for spans of these names, however many of each.
    async fn wait_for(&self, names: &[&str]) -> Vec<Received> {
        until("all spans are there", async || {
            let spans = self.spans();
            names
                .iter()
                .all(|name| spans.iter().any(|(_, span)| span.name == *name))
        })
        .await;
        self.spans()
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = collector.0.lock().unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap().attributes;
        let service = attributes
            .iter()
            .find(|attribute| attribute.key == "service.name")
            .unwrap();
        let service = format!("{:?}", service.value);
        let name = if service.contains("proxy-service") {
            "proxy"
        } else {
            "ingress"
        };
        for scope in resource.scope_spans {
            spans.extend(scope.spans.into_iter().map(|span| (name.to_owned(), span)));
        }
    }
}

fn traced(plan: Plan, url: &str, ratio: &str) -> Plan {
    plan.with("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .with("OTEL_TRACES_SAMPLER_ARG", ratio)
}

/// One call with this traceparent.
async fn call(ingress: &str, traceparent: Option<&str>) -> u16 {
    call_with(&client::new(), ingress, traceparent).await
}

async fn call_with(client: &reqwest::Client, ingress: &str, traceparent: Option<&str>) -> u16 {
    let mut request = client
        .post(format!("{ingress}/WeatherForecast/city"))
        .header("content-type", "application/json")
        .body(r#"{"city":"Oslo"}"#);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    request.send().await.unwrap().status().as_u16()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Received], name: &str) -> &'a Received {
    spans
        .iter()
        .find(|(_, span)| span.name == name)
        .unwrap_or_else(|| panic!("no span {name:?}"))
}

const ALL: [&str; 7] = [
    "POST /WeatherForecast/city",
    "publish weather-requests",
    "await reply",
    "wait in queue",
    "process weather-requests",
    "attempt",
    "settle",
];

/// Who is begun under whom, and in which service.
fn assert_is_one_trace(spans: &[Received], trace: &str, parent_of_all: &str) {
    let ids: HashMap<_, _> = spans
        .iter()
        .map(|(_, span)| (hex(&span.span_id), span.name.as_str()))
        .collect();
    for (name, service, parent) in [
        ("publish weather-requests", "ingress", ALL[0]),
        ("await reply", "ingress", ALL[0]),
        ("wait in queue", "proxy", "publish weather-requests"),
        ("process weather-requests", "proxy", "publish weather-requests"),
        ("attempt", "proxy", "process weather-requests"),
        ("settle", "proxy", "process weather-requests"),
    ] {
        let (from, span) = named(spans, name);
        assert_eq!(
            ids.get(&hex(&span.parent_span_id)),
            Some(&parent),
            "the parent of {name}"
        );
        assert_eq!(from, service, "{name}");
    }
    assert_eq!(hex(&named(spans, ALL[0]).1.parent_span_id), parent_of_all);
    for (_, span) in spans {
        assert_eq!(hex(&span.trace_id), trace, "{}", span.name);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{}", span.name);
    }
}

#[tokio::test]
async fn one_call_is_one_trace_over_both_services_and_the_callers_own() {
    let redis = RedisServer::spawn().await;
    let (collector, url) = Collector::start().await;
    // None of its own: only the caller's decision counts.
    let (ingress, proxy) = (
        traced(ingress(&redis.url()), &url, "0"),
        traced(proxy(&redis.url()), &url, "0"),
    );
    let (ingress, _proxy) = tokio::join!(ingress.start(), proxy.start());
    assert_eq!(call(&ingress.url, None).await, 200);
    assert_eq!(call(&ingress.url, Some(&format!("00-{TRACE}-{CALLER}-00"))).await, 200);
    assert_eq!(call(&ingress.url, Some("00-nonsense-01")).await, 200);
    assert_eq!(call(&ingress.url, Some(&format!("00-{TRACE}-{CALLER}-01"))).await, 200);
    let spans = collector.wait_for(&ALL).await;
    assert_eq!(
        spans.len(),
        ALL.len(),
        "{:?}",
        spans.iter().map(|(_, span)| &span.name).collect::<Vec<_>>()
    );
    assert_is_one_trace(&spans, TRACE, CALLER);
}

#[tokio::test]
async fn the_wait_in_the_queue_is_seen_and_a_fault_is_an_error() {
    let redis = RedisServer::spawn().await;
    let (collector, url) = Collector::start().await;
    let (ingress, proxy) = (
        traced(ingress(&redis.url()), &url, "1"),
        traced(proxy(&redis.url()), &url, "1"),
    );
    let ingress = ingress.start().await;
    let caller = tokio::spawn({
        let url = ingress.url.clone();
        async move { call(&url, None).await }
    });
    until("the request waits", async || {
        redis.command(&["XLEN", streams::REQUESTS]).await == Some(redis::Value::Int(1))
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _proxy = proxy
        .with("WEATHER_PROVIDER", "open-meteo")
        // Nothing listens there.
        .with("OPEN_METEO_GEOCODING_URL", "http://127.0.0.1:1")
        .start()
        .await;
    assert_eq!(caller.await.unwrap(), 502);
    let spans = collector.wait_for(&ALL).await;
    let (_, waited) = named(&spans, "wait in queue");
    let waited = Duration::from_nanos(waited.end_time_unix_nano - waited.start_time_unix_nano);
    assert!(waited >= Duration::from_millis(290), "{waited:?}");
    for name in ["POST /WeatherForecast/city", "process weather-requests"] {
        assert_eq!(
            named(&spans, name).1.status.as_ref().unwrap().code,
            2,
            "{name} is an error"
        );
    }
}

#[tokio::test]
async fn a_redelivery_points_to_where_the_request_came_from() {
    let redis = RedisServer::spawn().await;
    let (collector, url) = Collector::start().await;
    let plan = traced(proxy(&redis.url()), &url, "1")
        .with("LEASE", "1s")
        .with("LEASE_RENEWAL", "300ms");
    let ingress = traced(ingress(&redis.url()), &url, "1").start().await;
    let slow = plan.clone().with("SIMULATED_LATENCY", "20s").start().await;
    let caller = tokio::spawn({
        let url = ingress.url.clone();
        async move { call(&url, None).await }
    });
    until("the first worker holds it", async || {
        client::metric(&slow.url, "proxy_active_terminals").await == 1.0
    })
    .await;
    slow.signal(Signal::KILL);
    let _other = traced(proxy(&redis.url()), &url, "1")
        .with("LEASE", "1s")
        .with("LEASE_RENEWAL", "300ms")
        .start()
        .await;
    assert_eq!(caller.await.unwrap(), 200);
    let spans = collector.wait_for(&ALL).await;
    let (_, again) = named(&spans, "process weather-requests");
    assert_eq!(again.links.len(), 1);
    let (_, published) = named(&spans, "publish weather-requests");
    assert_eq!(again.links[0].span_id, published.span_id);
}

#[tokio::test]
async fn embedded_it_is_one_trace_as_well() {
    let (collector, url) = Collector::start().await;
    let service = traced(embedded(), &url, "1").start().await;
    assert_eq!(call(&service.url, None).await, 200);
    let spans = collector.wait_for(&ALL).await;
    let ids: Vec<_> = spans.iter().map(|(_, span)| &span.trace_id).collect();
    assert!(ids.windows(2).all(|two| two[0] == two[1]));
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_not_there_costs_no_call() {
    // Takes connections, and never answers.
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = testbed::free_port();
    for url in [
        format!("http://{}", hangs.local_addr().unwrap()),
        format!("http://127.0.0.1:{nobody}"),
    ] {
        let plan = traced(embedded(), &url, "1").with("DRAIN_TIMEOUT", "1h");
        let (mut service, client) = (plan.start().await, client::new());
        // More spans than the queue holds.
        for _ in 0..20 {
            let calls = (0..50).map(|_| call_with(&client, &service.url, None));
            assert!(
                futures_util::future::join_all(calls)
                    .await
                    .iter()
                    .all(|status| *status == 200)
            );
        }
        // All of that is over while the collector has not answered yet, and never will.
        service.signal(Signal::TERM);
        assert!(service.ended().await.success());
    }
}

#[tokio::test]
async fn what_follows_a_traceparent_goes_no_further() {
    let redis = RedisServer::spawn().await;
    let ingress = ingress(&redis.url()).start().await;
    let client = client::new();
    let call = async |traceparents: &[String]| {
        let mut request = client::city(&client, &ingress.url, "Oslo", "Sentrum").header("Prefer", "respond-async");
        for traceparent in traceparents {
            request = request.header("traceparent", traceparent);
        }
        assert_eq!(client::send(request).await.unwrap().status, 202);
        let entries = streams::entries(&redis, streams::REQUESTS).await;
        streams::field(entries.last().unwrap(), "traceparent").to_owned()
    };
    let place = format!("{TRACE}-{CALLER}");
    let ours = format!("00-{place}-01");
    let tail = "x".repeat(8 * 1024);
    assert_eq!(call(std::slice::from_ref(&ours)).await, ours);
    assert_eq!(call(&[format!("cc-{place}-01-{tail}")]).await, ours);
    assert_eq!(call(&[format!("00-{place}-ff")]).await, ours);
    for malformed in [
        format!("00-{place}-01-{tail}"),
        format!("cc-{place}-01{tail}"),
        tail.clone(),
    ] {
        assert_eq!(call(&[malformed]).await, "");
    }
    // Which of two would be a guess.
    assert_eq!(
        call(&[ours.clone(), ours.replace(CALLER, "00f067aa0ba902b7")]).await,
        ""
    );
}
