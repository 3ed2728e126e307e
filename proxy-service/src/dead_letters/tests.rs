//! The whole of /admin on a broker in memory, and on one that fails or is slow.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{BrokerErrorKind, EntryId, LetterId, Replayed, StoredLetter};
use roundtrip::{BrokerError, CorrelationId, OperationName};
use rstest::rstest;
use serde_json::Value;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::*;

const TOKEN: &str = "correct-horse-battery-staple";

fn app_of(letters: Arc<dyn DeadLetters>, metrics: &Metrics) -> Router {
    let token = AdminToken::of(TOKEN).unwrap();
    let routes = enable(OpenApiRouter::new(), token, letters, metrics);
    routes.split_for_parts().0
}

async fn call_on(app: Router, method: &str, path: &str, token: Option<&str>) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn call(method: &str, path: &str, token: Option<&str>) -> Response {
    let app = app_of(Arc::new(MemoryBroker::new()), &Metrics::new());
    call_on(app, method, path, token).await
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

/// A broker that has every letter, and answers a change as it is told to, once it is allowed to.
#[derive(Debug)]
struct Stub {
    unconfirmed: bool,
    reached: Notify,
    go: Notify,
}

impl Stub {
    fn new(unconfirmed: bool) -> Arc<Self> {
        let (reached, go) = (Notify::new(), Notify::new());
        Arc::new(Self {
            unconfirmed,
            reached,
            go,
        })
    }

    async fn change<T>(&self, done: T) -> Result<T, BrokerError> {
        self.reached.notify_one();
        self.go.notified().await;
        let error = || BrokerError::new(BrokerErrorKind::Unconfirmed, "change", "a secret cause");
        if self.unconfirmed { Err(error()) } else { Ok(done) }
    }
}

#[async_trait]
impl DeadLetters for Stub {
    async fn letters(&self, _: Option<LetterId>, _: usize) -> Result<Vec<StoredLetter>, BrokerError> {
        Ok(Vec::new())
    }

    async fn letter(&self, id: LetterId) -> Result<Option<StoredLetter>, BrokerError> {
        let request = CorrelationId::new().to_string();
        Ok(Some(StoredLetter {
            id,
            operation: OperationName::first(),
            entry: Some(id.at),
            reason: "it never worked".to_owned(),
            attempts: 5,
            last_error: String::new(),
            replayable: true,
            fields: vec![("requestId".into(), request.into())],
        }))
    }

    async fn replay(&self, id: LetterId) -> Result<Replayed, BrokerError> {
        self.change(Replayed::As(EntryId::of(OperationName::first(), id.at)))
            .await
    }

    async fn discard(&self, _: LetterId) -> Result<bool, BrokerError> {
        self.change(true).await
    }
}

fn count(metrics: &Metrics, action: &str, outcome: &str) -> bool {
    let line = format!("roundtrip_proxy_admin_actions_total{{action=\"{action}\",outcome=\"{outcome}\"}} 1");
    metrics.encode().lines().any(|other| other == line)
}

#[rstest]
#[case("POST", "/admin/dead-letters/1-0/replay", "replay")]
#[case("DELETE", "/admin/dead-letters/1-0", "discard")]
#[tokio::test]
async fn a_change_that_was_not_confirmed_has_an_unknown_outcome(
    #[case] method: &str,
    #[case] path: &str,
    #[case] action: &str,
) {
    let (stub, metrics) = (Stub::new(true), Metrics::new());
    stub.go.notify_one();
    let answer = call_on(app_of(stub, &metrics), method, path, Some(TOKEN)).await;
    assert_eq!(answer.status(), 504);
    assert!(count(&metrics, action, "outcome_unknown"), "{}", metrics.encode());
}

#[rstest]
#[case("POST", "/admin/dead-letters/1-0/replay", "replay")]
#[case("DELETE", "/admin/dead-letters/1-0", "discard")]
#[tokio::test]
async fn a_change_is_counted_even_if_its_caller_hung_up(
    #[case] method: &'static str,
    #[case] path: &'static str,
    #[case] action: &str,
) {
    let (stub, metrics) = (Stub::new(false), Metrics::new());
    let app = app_of(stub.clone(), &metrics);
    let caller = tokio::spawn(async move { call_on(app, method, path, Some(TOKEN)).await });
    stub.reached.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    stub.go.notify_one();
    let counted = async {
        while !count(&metrics, action, "done") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), counted).await.unwrap();
}
