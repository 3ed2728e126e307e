//! What callers should not send: each is answered with a problem that says what is wrong.

use reqwest::header::{ALLOW, CONTENT_TYPE};
use reqwest::{Client, Method, RequestBuilder};
use rstest::rstest;
use serde_json::json;

use crate::client::{self, Answer};
use crate::harness::{Service, embedded};

struct Stage {
    ingress: Service,
    client: Client,
}

async fn stage() -> Stage {
    Stage {
        ingress: embedded().start().await,
        client: client::new(),
    }
}

impl Stage {
    fn post(&self) -> RequestBuilder {
        self.client.post(format!("{}/WeatherForecast/city", self.ingress.url))
    }

    async fn post_json(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.post().header(CONTENT_TYPE, "application/json").body(body);
        client::send(request).await.unwrap()
    }

    async fn still_works(&self) {
        let answer = client::call(&self.ingress.url).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let health = client::get(&format!("{}/healthz", self.ingress.url)).await;
        assert_eq!(
            (health.status, &health.body["status"]),
            (200, &json!("Healthy")),
            "{health:?}"
        );
        assert_eq!(health.body["pendingRequests"], 0);
    }
}

#[tokio::test]
async fn bodies_that_are_not_readable_are_refused() {
    let stage = stage().await;
    let nested = "[".repeat(8_000);
    let nested_in_a_member = format!("{{\"city\":{}", "{\"a\":".repeat(1_500));
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"{\"city\":\"Oslo\"",
        b"{\"city\":\"Oslo\"} trailing",
        b"city=Oslo",
        b"{\"city\":\"\xff\xfe\"}",
        nested.as_bytes(),
        nested_in_a_member.as_bytes(),
    ];
    for body in bodies {
        let start = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
        let answer = stage.post_json(body.to_vec()).await;
        assert_eq!(answer.status, 400, "{start:?}: {answer:?}");
        answer.assert_problem(400, "/problems/malformed-body");
        assert_eq!(answer.body["retryable"], false);
    }
    client::send(stage.post())
        .await
        .unwrap()
        .assert_problem(400, "/problems/malformed-body");
    stage.still_works().await;
}

#[tokio::test]
async fn bodies_of_another_media_type_are_refused() {
    let stage = stage().await;
    let body = r#"{"city":"Oslo"}"#;
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "json",
        "",
    ] {
        let request = stage.post().header(CONTENT_TYPE, media_type).body(body);
        let answer = client::send(request).await.unwrap();
        assert_eq!(answer.status, 415, "{media_type:?}: {answer:?}");
        answer.assert_problem(415, "/problems/unsupported-media-type");
    }
    let answer = client::send(stage.post().body(body)).await.unwrap();
    answer.assert_problem(415, "/problems/unsupported-media-type");
    for media_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/geo+json",
    ] {
        let request = stage.post().header(CONTENT_TYPE, media_type).body(body);
        assert_eq!(client::send(request).await.unwrap().status, 200, "{media_type:?}");
    }
}

#[tokio::test]
async fn bodies_that_are_encoded_are_refused() {
    let stage = stage().await;
    let body = r#"{"city":"Oslo"}"#;
    let send = async |encodings: &[&str]| {
        let mut request = stage.post().header(CONTENT_TYPE, "application/json").body(body);
        for encoding in encodings {
            request = request.header("Content-Encoding", *encoding);
        }
        client::send(request).await.unwrap()
    };
    let refused: [&[&str]; 6] = [
        &["gzip"],
        &["br"],
        &["identity, gzip"],
        &["identity", "gzip"],
        &["nonsense"],
        &["\""],
    ];
    for encodings in refused {
        let answer = send(encodings).await;
        assert_eq!(answer.status, 415, "{encodings:?}: {answer:?}");
        answer.assert_problem(415, "/problems/unsupported-content-encoding");
        // RFC 9110, 12.5.3: it says which would have been accepted.
        assert_eq!(answer.header("accept-encoding"), "identity", "{encodings:?}");
    }
    let accepted: [&[&str]; 4] = [&["identity"], &["Identity"], &["identity, identity"], &[""]];
    for encodings in accepted {
        assert_eq!(send(encodings).await.status, 200, "{encodings:?}");
    }
    stage.still_works().await;
}

#[tokio::test]
async fn values_that_are_not_accepted_are_named() {
    let stage = stage().await;
    let (long_city, long_location) = ("x".repeat(101), "y".repeat(201));
    let cases = [
        (json!({}), "/city"),
        (json!({"location": "Downtown"}), "/city"),
        (json!({"city": null}), "/city"),
        (json!({"city": ""}), "/city"),
        (json!({"city": " \t "}), "/city"),
        (json!({"city": 7}), "/city"),
        (json!({"city": ["Oslo"]}), "/city"),
        (json!({"city": {"name": "Oslo"}}), "/city"),
        (json!({"city": true}), "/city"),
        (json!({"city": long_city}), "/city"),
        (json!({"city": "Os\u{0}lo"}), "/city"),
        (json!({"city": "Oslo\r\nX-Evil: 1"}), "/city"),
        (json!({"city": "Oslo", "location": 5}), "/location"),
        (json!({"city": "Oslo", "location": long_location}), "/location"),
        (json!({"city": "Oslo", "location": "\u{1b}[31m"}), "/location"),
        (json!(["Oslo"]), ""),
        (json!("Oslo"), ""),
        (json!(null), ""),
    ];
    for (body, pointer) in cases {
        let answer = stage.post_json(body.to_string()).await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        answer.assert_problem(422, "/problems/validation-failed");
        let errors = answer.body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{body}: {answer:?}");
        assert_eq!(errors[0]["pointer"], pointer, "{body}");
        assert!(!errors[0]["detail"].as_str().unwrap().is_empty(), "{body}");
    }
    let both = json!({"city": "", "location": 5}).to_string();
    assert_eq!(stage.post_json(both).await.body["errors"].as_array().unwrap().len(), 2);
    stage.still_works().await;
}

#[tokio::test]
async fn values_at_the_limits_are_accepted_and_come_back_as_they_are() {
    let stage = stage().await;
    // In characters, not bytes: names that are not English are as long as others.
    let (city, location) = ("ø".repeat(100), "🌧".repeat(200));
    let answer = stage
        .post_json(json!({"city": city, "location": location}).to_string())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        (&answer.body["city"], &answer.body["location"]),
        (&json!(city), &json!(location))
    );
    let answer = stage.post_json(r#"{"city":"\"}{\\,:"}"#).await;
    assert_eq!((answer.status, &answer.body["city"]), (200, &json!("\"}{\\,:")));
    assert!(answer.body["location"].is_null());
}

#[tokio::test]
async fn parameters_that_are_not_accepted_are_named() {
    let stage = stage().await;
    let long = format!("city={}", "x".repeat(101));
    for (query, parameter) in [
        ("days=0", "days"),
        ("days=17", "days"),
        ("days=abc", "days"),
        ("days=-1", "days"),
        ("days=", "days"),
        ("days=99999999999999999999", "days"),
        ("city=", "city"),
        ("city=%20", "city"),
        ("city=a%00b", "city"),
        (&long, "city"),
    ] {
        let answer = client::get(&format!("{}/WeatherForecast?{query}", stage.ingress.url)).await;
        assert_eq!(answer.status, 422, "{query}: {answer:?}");
        answer.assert_problem(422, "/problems/validation-failed");
        assert_eq!(answer.body["errors"][0]["parameter"], parameter, "{query}");
    }
    stage.still_works().await;
}

#[rstest]
#[case::unknown_path(Method::GET, "/nowhere", 404, "/problems/route-not-found", "")]
#[case::unknown_path_below(Method::POST, "/WeatherForecast/city/more", 404, "/problems/route-not-found", "")]
#[case::unknown_problem(Method::GET, "/problems/nothing", 404, "/problems/not-found", "")]
#[case::wrong_method(Method::GET, "/WeatherForecast/city", 405, "/problems/method-not-allowed", "POST")]
#[case::delete(Method::DELETE, "/WeatherForecast", 405, "/problems/method-not-allowed", "GET,HEAD")]
#[case::made_up_method(Method::from_bytes(b"BREW").unwrap(), "/WeatherForecast", 405, "/problems/method-not-allowed", "GET,HEAD")]
#[tokio::test]
async fn what_is_not_there_is_said_so(
    #[case] method: Method,
    #[case] path: &str,
    #[case] status: u16,
    #[case] kind: &str,
    #[case] allow: &str,
) {
    let stage = stage().await;
    let request = stage.client.request(method, format!("{}{path}", stage.ingress.url));
    let answer = client::send(request).await.unwrap();
    answer.assert_problem(status, kind);
    assert_eq!(answer.header(ALLOW.as_str()), allow);
    stage.still_works().await;
}

#[tokio::test]
async fn ids_of_callers_that_could_garble_a_log_are_not_echoed() {
    let stage = stage().await;
    for id in [&b"x".repeat(129)[..], b"a b", b"\xc3\xa9", b""] {
        let answer = stage.post().header("X-Request-Id", id).json(&json!({"city": "Oslo"}));
        let answer = client::send(answer).await.unwrap();
        assert_eq!(answer.status, 200, "{id:?}: {answer:?}");
        assert_eq!(answer.header("x-request-id"), answer.body["requestId"], "{id:?}");
    }
}
