//! The whole of /admin on a broker in memory.
#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, to_bytes};
use roundtrip::broker::memory::MemoryBroker;
use rstest::rstest;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

const TOKEN: &str = "correct-horse-battery-staple";

fn app() -> Router {
    let token = AdminToken::of(TOKEN).unwrap();
    let routes = enable(
        OpenApiRouter::new(),
        token,
        Arc::new(MemoryBroker::new()),
        &Metrics::new(),
    );
    routes.split_for_parts().0
}

async fn call(method: &str, path: &str, token: Option<&str>) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    app().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[rstest]
#[case("GET", "/admin/dead-letters", 200)]
#[case("HEAD", "/admin/dead-letters", 200)]
#[case("POST", "/admin/dead-letters", 405)]
#[case("GET", "/admin/dead-letters/1-0", 404)]
#[case("DELETE", "/admin/dead-letters/1-0", 404)]
#[case("POST", "/admin/dead-letters/1-0/replay", 404)]
#[case("GET", "/admin/dead-letters/1-0/replay", 405)]
#[case("GET", "/admin/dead-letters/x", 422)]
#[case("DELETE", "/admin/dead-letters/x", 422)]
#[case("POST", "/admin/dead-letters/x/replay", 422)]
#[case("GET", "/admin/dead-letters?limit=0", 422)]
#[case("GET", "/admin", 404)]
#[case("GET", "/admin/", 404)]
#[case("GET", "/admin/nothing/here", 404)]
#[case("GET", "/admin/dead-letters/", 404)]
#[tokio::test]
async fn nothing_under_admin_is_reached_without_the_token(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
) {
    for (token, challenge) in [
        (None, "Bearer"),
        (Some("correct-horse-battery-stable"), r#"Bearer error="invalid_token""#),
    ] {
        let refused = call(method, path, token).await;
        assert_eq!(refused.status(), 401, "{token:?}");
        assert_eq!(refused.headers()["www-authenticate"], challenge, "{token:?}");
    }
    assert_eq!(call(method, path, Some(TOKEN)).await.status(), status);
}

#[tokio::test]
async fn where_nothing_was_given_up_the_page_is_empty() {
    let response = call("GET", "/admin/dead-letters", Some(TOKEN)).await;
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, serde_json::json!({"items": [], "next": null}));
}
