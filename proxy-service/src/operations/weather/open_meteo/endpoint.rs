//! One exchange with an upstream over HTTP. The cause of a failure is logged here and goes no further:
//! callers get words that name neither addresses nor anything the upstream said.

use std::error::Error;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::BuildError;
use crate::failure::Failure;

/// The largest body read, in bytes: hundreds of times what the documents take.
const MAX_BODY: usize = 1024 * 1024;
/// The most characters of an upstream's own words that are logged.
const MAX_LOGGED: usize = 200;
/// The longest `Retry-After` believed: Open-Meteo's limits are per minute, hour and day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A service's URL, and what to call the service in texts for callers.
pub(super) struct Endpoint {
    service: &'static str,
    url: Url,
}

/// Why a body could not be read.
enum BodyError {
    TooLarge,
    Broken(reqwest::Error),
}

/// The body of a 400, see "Errors" in <https://open-meteo.com/en/docs>.
#[derive(Deserialize)]
struct ErrorDocument {
    reason: String,
}

impl Endpoint {
    pub(super) fn new(service: &'static str, mut url: Url, path: [&str; 2]) -> Result<Self, BuildError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BuildError::Scheme { service });
        }
        url.path_segments_mut()
            .expect("an http url has path segments")
            .pop_if_empty()
            .extend(path);
        Ok(Self { service, url })
    }

    /// Asks with `query` and reads the answer's JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        client: &Client,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let request = client.get(self.url.clone()).query(query);
        let response = request.send().await.map_err(|error| {
            tracing::warn!(
                service = self.service,
                cause = causes(error),
                "could not reach upstream"
            );
            self.failure("could not be reached")
        })?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = read_body(response).await.map_err(|error| self.unread(error))?;
        self.parse(&body)
    }

    /// The answer was read, but cannot be true. The problem is ours to know, not the caller's.
    pub(super) fn implausible(&self, problem: &'static str) -> Failure {
        tracing::warn!(service = self.service, problem, "upstream sent an implausible answer");
        self.failure("sent an implausible answer")
    }

    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Failure::Throttled {
                retry_after: retry_after(response.headers(), SystemTime::now()),
            },
            StatusCode::BAD_REQUEST => {
                let reason = reason(response).await;
                tracing::warn!(service = self.service, reason, "upstream refused our query");
                Failure::UpstreamRefused {
                    detail: format!("the {} refused the query", self.service),
                }
            }
            _ => {
                tracing::warn!(service = self.service, status = status.as_u16(), "upstream failed");
                self.failure("answered with an error")
            }
        }
    }

    fn unread(&self, error: BodyError) -> Failure {
        match error {
            BodyError::TooLarge => {
                tracing::warn!(service = self.service, limit = MAX_BODY, "upstream sent too much");
                self.failure("sent too large an answer")
            }
            BodyError::Broken(error) => {
                let cause = causes(error);
                tracing::warn!(service = self.service, cause, "upstream's answer broke off");
                self.failure("broke off its answer")
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let document = serde_path_to_error::deserialize(&mut json).map_err(|e| e.to_string());
        let whole = document.and_then(|it| json.end().map(|()| it).map_err(|e| e.to_string()));
        whole.map_err(|error| {
            let cause = bounded(&error);
            tracing::warn!(service = self.service, cause, "could not read upstream's answer");
            self.failure("sent an unreadable answer")
        })
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::Upstream {
            detail: format!("the {} {what}", self.service),
        }
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What Open-Meteo finds wrong with a query, where it says so.
async fn reason(response: Response) -> Option<String> {
    let body = read_body(response).await.ok()?;
    let document: ErrorDocument = serde_json::from_slice(&body).ok()?;
    Some(bounded(&document.reason))
}

/// `Retry-After` in seconds or as a date, see RFC 9110, section 10.2.3. A date in the past is no wait.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

/// An error and what caused it, without the URL: its query is the caller's input.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    bounded(&text)
}

fn bounded(text: &str) -> String {
    text.chars().take(MAX_LOGGED).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://example.org", "https://example.org/v1/search")]
    #[case("https://example.org/", "https://example.org/v1/search")]
    #[case("https://example.org/meteo", "https://example.org/meteo/v1/search")]
    #[case("https://example.org/meteo/", "https://example.org/meteo/v1/search")]
    #[case("https://example.org/?apikey=k", "https://example.org/v1/search?apikey=k")]
    fn path_is_appended_to_the_base_url(#[case] base: &str, #[case] expected: &str) {
        let endpoint = Endpoint::new("service", base.parse().unwrap(), ["v1", "search"]).ok();
        assert_eq!(endpoint.unwrap().url.as_str(), expected);
    }

    #[rstest]
    #[case("30", Some(30))]
    #[case("Fri, 20 Nov 2026 12:01:00 GMT", Some(60))]
    #[case("Fri, 20 Nov 2026 11:00:00 GMT", Some(0))]
    #[case("9999999999", Some(86_400))]
    #[case("soon", None)]
    #[case("-1", None)]
    fn retry_after_is_seconds_or_a_date(#[case] value: &str, #[case] seconds: Option<u64>) {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 12:00:00 GMT").unwrap();
        assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs));
    }
}
