//! What the services say, and what is made of it.

use std::time::{Duration, SystemTime};

use proxy_service::operations::weather::contract::{Condition, DailyForecast};
use proxy_service::progress::Reporter;
use serde_json::{Value, json};
use time::macros::{date, datetime};
use wiremock::matchers::{header, query_param};

use super::*;

/// `document` with another value at the JSON pointer, or none.
fn changed(document: &str, pointer: &str, value: Option<Value>) -> ResponseTemplate {
    let mut document: Value = serde_json::from_str(document).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(key.to_owned(), value).unwrap(),
        None => parent.remove(key).unwrap(),
    };
    ResponseTemplate::new(200).set_body_json(document)
}

#[tokio::test]
async fn current_weather_is_read_from_the_documented_answer() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/meteo/v1/search"))
        .and(query_param("name", "New York"))
        .and(query_param("count", "1"))
        .and(query_param("language", "en"))
        .and(query_param("format", "json"))
        .and(header("user-agent", concat!("roundtrip/", env!("CARGO_PKG_VERSION"))))
        .respond_with(json_text(GEOCODING))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/meteo/v1/forecast"))
        .and(query_param("latitude", "40.71427"))
        .and(query_param("longitude", "-74.00597"))
        .and(query_param(
            "current",
            "temperature_2m,relative_humidity_2m,weather_code,wind_speed_10m",
        ))
        .and(query_param("wind_speed_unit", "ms"))
        .and(query_param("timezone", "UTC"))
        .respond_with(json_text(CURRENT))
        .expect(1)
        .mount(&server)
        .await;

    let weather = provider(&format!("{}/meteo/", server.uri()))
        .current(&new_york(), &Reporter::none())
        .await
        .unwrap();
    assert_eq!(weather.forecast_time, datetime!(2026-11-20 12:15 UTC));
    assert_eq!(
        (weather.temperature, weather.humidity, weather.wind_speed),
        (8.4, 71, 4.2)
    );
    assert_eq!(weather.condition, Condition::Rainy);
}

#[tokio::test]
async fn daily_forecast_is_read_from_the_documented_answer() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/search"))
        .respond_with(json_text(GEOCODING))
        .mount(&server)
        .await;
    Mock::given(path("/v1/forecast"))
        .and(query_param("daily", "weather_code,temperature_2m_mean"))
        .and(query_param("forecast_days", "3"))
        .and(query_param("timezone", "auto"))
        .respond_with(json_text(DAILY))
        .mount(&server)
        .await;

    let days = provider(&server.uri())
        .daily(&new_york(), 3, &Reporter::none())
        .await
        .unwrap();
    let expected = [
        DailyForecast::new(date!(2026 - 11 - 20), 8.4, Condition::Sunny),
        DailyForecast::new(date!(2026 - 11 - 21), 5.0, Condition::PartlyCloudy),
        DailyForecast::new(date!(2026 - 11 - 22), -1.6, Condition::Snowy),
    ];
    assert_eq!(days, expected);
}

#[tokio::test]
async fn time_is_in_utc_even_when_the_answer_is_not() {
    let server = server(changed(CURRENT, "/utc_offset_seconds", Some(json!(-18000)))).await;
    let weather = provider(&server.uri())
        .current(&new_york(), &Reporter::none())
        .await
        .unwrap();
    assert_eq!(weather.forecast_time, datetime!(2026-11-20 17:15 UTC));
}

#[rstest]
#[case(json!({"generationtime_ms": 0.5}))]
#[case(json!({"results": [], "generationtime_ms": 0.5}))]
#[tokio::test]
async fn unknown_city_is_not_found_and_no_forecast_is_asked_for(#[case] geocoding: Value) {
    let server = MockServer::start().await;
    let found = ResponseTemplate::new(200).set_body_json(geocoding);
    Mock::given(path("/v1/search")).respond_with(found).mount(&server).await;
    Mock::given(path("/v1/forecast"))
        .respond_with(json_text(CURRENT))
        .expect(0)
        .mount(&server)
        .await;

    let nowhere = Place {
        city: "Xyz".to_owned(),
        location: None,
    };
    let failure = provider(&server.uri())
        .current(&nowhere, &Reporter::none())
        .await
        .unwrap_err();
    assert_eq!(
        failure,
        Failure::NotFound {
            detail: "no city named \"Xyz\" is known".to_owned()
        }
    );
}

#[tokio::test]
async fn a_refused_query_is_permanent_and_keeps_the_reason_to_itself() {
    let refusal = json!({"error": true, "reason": "Cannot initialize WeatherVariable from String"});
    let failure = failure_after(ResponseTemplate::new(400).set_body_json(refusal)).await;
    assert_eq!(
        failure,
        Failure::UpstreamRefused {
            detail: "the weather service refused the query".to_owned()
        }
    );
}

#[tokio::test]
async fn too_many_requests_is_throttling_for_the_seconds_asked_for() {
    let body = json!({"error": true, "reason": "Minutely API request limit exceeded."});
    let answer = ResponseTemplate::new(429)
        .insert_header("retry-after", "42")
        .set_body_json(body);
    let expected = Failure::Throttled {
        retry_after: Some(Duration::from_secs(42)),
    };
    assert_eq!(failure_after(answer).await, expected);
}

#[tokio::test]
async fn too_many_requests_without_a_delay_is_throttling_all_the_same() {
    let failure = failure_after(ResponseTemplate::new(429)).await;
    assert_eq!(failure, Failure::Throttled { retry_after: None });
}

#[tokio::test]
async fn service_unavailable_is_throttling_until_the_date_given() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(120));
    let answer = ResponseTemplate::new(503).insert_header("retry-after", date);
    let Failure::Throttled {
        retry_after: Some(delay),
    } = failure_after(answer).await
    else {
        panic!("not throttled");
    };
    // The date has whole seconds, and the test takes its time.
    assert!((60..=120).contains(&delay.as_secs()), "{delay:?}");
}

#[rstest]
#[case(500)]
#[case(502)]
#[case(404)]
#[tokio::test]
async fn any_other_error_status_is_an_upstream_failure(#[case] status: u16) {
    let answer = ResponseTemplate::new(status).set_body_string("stack trace of node 10.0.0.7");
    assert_eq!(
        failure_after(answer).await,
        upstream("the weather service answered with an error")
    );
}

#[rstest]
#[case::html("<html>maintenance</html>".to_owned())]
#[case::nothing(String::new())]
#[case::half(CURRENT[..CURRENT.len() / 2].to_owned())]
#[case::more(format!("{CURRENT} again"))]
#[tokio::test]
async fn garbage_is_an_upstream_failure(#[case] body: String) {
    let expected = upstream("the weather service sent an unreadable answer");
    assert_eq!(failure_after(json_text(&body)).await, expected);
}

#[rstest]
#[case("/current", None)]
#[case("/current/time", None)]
#[case("/current/temperature_2m", None)]
#[case("/current/temperature_2m", Some(Value::Null))]
#[case("/current/relative_humidity_2m", None)]
#[case("/current/weather_code", None)]
#[case("/current/weather_code", Some(json!(-1)))]
#[case("/current/wind_speed_10m", Some(json!("calm")))]
#[tokio::test]
async fn incomplete_answer_is_an_upstream_failure(#[case] at: &str, #[case] value: Option<Value>) {
    let failure = failure_after(changed(CURRENT, at, value)).await;
    assert_eq!(failure, upstream("the weather service sent an unreadable answer"));
}

#[rstest]
#[case("/current/temperature_2m", json!(70.1))]
#[case("/current/temperature_2m", json!(-100.1))]
#[case("/current/relative_humidity_2m", json!(101))]
#[case("/current/relative_humidity_2m", json!(-1))]
#[case("/current/wind_speed_10m", json!(-0.1))]
#[case("/current/wind_speed_10m", json!(150.5))]
#[case("/current/weather_code", json!(4))]
#[case("/current/time", json!("yesterday"))]
#[case("/utc_offset_seconds", json!(1_000_000))]
#[tokio::test]
async fn impossible_value_is_an_upstream_failure(#[case] at: &str, #[case] value: Value) {
    let failure = failure_after(changed(CURRENT, at, Some(value))).await;
    assert_eq!(failure, upstream("the weather service sent an implausible answer"));
}

#[rstest]
#[case("/daily/time", json!(["2026-11-20", "2026-11-21"]))]
#[case("/daily/time", json!(["2026-11-20", "2026-11-21", "2026-11-32"]))]
#[case("/daily/weather_code", json!([0, 2]))]
#[case("/daily/temperature_2m_mean", json!([8.4, 5.0, 71.0]))]
#[tokio::test]
async fn impossible_forecast_is_an_upstream_failure(#[case] at: &str, #[case] value: Value) {
    let server = server(changed(DAILY, at, Some(value))).await;
    let failure = provider(&server.uri())
        .daily(&new_york(), 3, &Reporter::none())
        .await
        .unwrap_err();
    assert_eq!(failure, upstream("the weather service sent an implausible answer"));
}

#[tokio::test]
async fn city_beyond_the_poles_is_an_upstream_failure() {
    let server = MockServer::start().await;
    let found = json!({"results": [{"name": "New York", "latitude": 90.5, "longitude": 0.0}]});
    let found = ResponseTemplate::new(200).set_body_json(found);
    Mock::given(path("/v1/search")).respond_with(found).mount(&server).await;
    let failure = provider(&server.uri())
        .current(&new_york(), &Reporter::none())
        .await
        .unwrap_err();
    assert_eq!(failure, upstream("the geocoding service sent an implausible answer"));
}
