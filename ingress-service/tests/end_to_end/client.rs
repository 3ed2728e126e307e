//! Callers, and what they are told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response};
use roundtrip::CorrelationId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

/// Beyond any REQUEST_TIMEOUT in these tests: a call that takes this long hangs.
const HANGS: Duration = Duration::from_secs(45);

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body; null unless it is JSON.
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

/// A client that asks the services here and nobody in between.
pub(crate) fn new() -> Client {
    // Fails only when another test was quicker.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().no_proxy().timeout(HANGS).build().unwrap()
}

/// The main call.
pub(crate) fn city(client: &Client, url: &str, city: &str, location: &str) -> RequestBuilder {
    let body = json!({"city": city, "location": location});
    client.post(format!("{url}/WeatherForecast/city")).json(&body)
}

/// Sends a request and reads the answer.
pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let started = Instant::now();
    let response = request.send().await?;
    Answer::read(response, started).await
}

/// Calls for a city the test does not care about.
pub(crate) async fn call(url: &str) -> Answer {
    send(city(&new(), url, "Oslo", "Sentrum")).await.unwrap()
}

pub(crate) async fn get(url: &str) -> Answer {
    send(new().get(url)).await.unwrap()
}

impl Answer {
    async fn read(response: Response, started: Instant) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        Ok(Self {
            status,
            headers,
            body,
            took: started.elapsed(),
        })
    }

    /// The problem's `type`; empty when the body is none.
    pub(crate) fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// A header's text; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a whole problem document of a status and type.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, kind: &str) {
        assert_eq!((self.status, self.problem()), (status, kind), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        for member in ["title", "detail"] {
            assert!(!self.body[member].as_str().unwrap().is_empty(), "{self:?}");
        }
        assert!(self.body["retryable"].is_boolean(), "{self:?}");
        let id = self.body["requestId"].as_str().unwrap();
        assert!(CorrelationId::parse(id.as_bytes()).is_some(), "{self:?}");
    }

    /// Checks that this is a refusal that says when to come back.
    #[track_caller]
    pub(crate) fn assert_refused(&self, kind: &str) {
        self.assert_problem(503, kind);
        assert_eq!(self.body["retryable"], true, "{self:?}");
        assert!(self.header("retry-after").parse::<u64>().unwrap() >= 1, "{self:?}");
    }
}

/// For how long a service answers with the metrics that it rendered last.
const RENDERED: Duration = Duration::from_millis(260);

/// When metrics were last read here, by the services they are of.
static READ: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

/// The value of a metric now, by its name with its labels but the operation; 0 when it has none yet.
pub(crate) async fn metric(url: &str, name: &str) -> f64 {
    let last = READ.lock().unwrap().get(url).copied();
    if let Some(last) = last {
        sleep_until(last + RENDERED).await;
    }
    let text = new().get(format!("{url}/metrics")).send().await.unwrap();
    let text = text.text().await.unwrap();
    READ.lock().unwrap().insert(url.to_owned(), Instant::now());
    testbed::metrics::value(&text, name).unwrap_or(0.0)
}
