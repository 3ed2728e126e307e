//! OpenMeteo against a local server that speaks the documented format.

#![allow(clippy::unwrap_used)]

mod answers;
mod transport;

use proxy_service::failure::Failure;
use proxy_service::operations::weather::open_meteo::OpenMeteo;
use proxy_service::operations::weather::{Place, WeatherProvider};
use proxy_service::progress::Reporter;
use rstest::rstest;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const GEOCODING: &str = include_str!("geocoding.json");
const CURRENT: &str = include_str!("current.json");
const DAILY: &str = include_str!("daily.json");

fn new_york() -> Place {
    Place {
        city: "New York".to_owned(),
        location: Some("Downtown".to_owned()),
    }
}

fn provider(base: &str) -> OpenMeteo {
    OpenMeteo::new(base.parse().unwrap(), base.parse().unwrap()).unwrap()
}

fn upstream(detail: &str) -> Failure {
    Failure::Upstream {
        detail: detail.to_owned(),
    }
}

fn json_text(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "application/json; charset=utf-8")
}

/// A server that finds New York, and answers so when asked for a forecast.
async fn server(forecast: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    let geocoding = Mock::given(method("GET")).and(path("/v1/search"));
    geocoding.respond_with(json_text(GEOCODING)).mount(&server).await;
    Mock::given(path("/v1/forecast"))
        .respond_with(forecast)
        .mount(&server)
        .await;
    server
}

/// What becomes of the current weather when the forecast service answers so.
async fn failure_after(forecast: ResponseTemplate) -> Failure {
    let server = server(forecast).await;
    provider(&server.uri())
        .current(&new_york(), &Reporter::none())
        .await
        .unwrap_err()
}

#[rstest]
#[case("ftp://example.org", "https://example.org", "geocoding")]
#[case("https://example.org", "mailto:someone@example.org", "weather")]
fn base_url_must_be_http(#[case] geocoding: &str, #[case] forecast: &str, #[case] service: &str) {
    let error = OpenMeteo::new(geocoding.parse().unwrap(), forecast.parse().unwrap())
        .err()
        .unwrap();
    let expected = format!("url of the {service} service is neither http nor https");
    assert_eq!(error.to_string(), expected);
}
