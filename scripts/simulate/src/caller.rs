//! A caller: what it sends, and what it gets, at the door of an ingress as shipped.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use roundtrip::CorrelationId;
use roundtrip::process::task::Instance;
use serde::Deserialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::log::{city, work_in};
use crate::member::Ingress;
use crate::plan::{Ask, Wait};

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// An answer.
    Answer(Answer),
    /// The connection broke, or its ingress was never heard of again.
    Broken,
    /// Its caller left.
    HungUp,
    /// No connection.
    TurnedAway,
}

/// An answer, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The name of the problem.
    pub(crate) problem: Option<String>,
    pub(crate) detail: String,
    pub(crate) retryable: Option<bool>,
    /// Where it says the request can be asked for.
    pub(crate) location: Option<CorrelationId>,
    pub(crate) replayed: bool,
    /// The piece of work in a good answer.
    pub(crate) work: Option<u64>,
    /// The state of a record.
    pub(crate) state: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(rename = "type")]
    kind: Option<String>,
    detail: Option<String>,
    retryable: Option<bool>,
    #[serde(rename = "status")]
    state: Option<serde_json::Value>,
}

/// The way into an ingress, for one call.
#[derive(Clone)]
pub(crate) struct Door {
    instance: Arc<Instance>,
    app: Router,
    inside: TaskTracker,
    dead: CancellationToken,
    cut_off: CancellationToken,
}

impl Door {
    /// The door of an ingress, if it is open.
    pub(crate) fn of(ingress: &Ingress) -> Option<Self> {
        Some(Self {
            instance: ingress.link.instance.clone(),
            app: ingress.app()?,
            inside: ingress.inside.clone(),
            dead: ingress.link.closed.clone(),
            cut_off: ingress.cut_off.clone(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.instance.name()
    }

    /// Makes a call; where the caller hangs up, its future is dropped, as a server does.
    pub(crate) async fn call(&self, request: Request<Body>, hangs_up: Option<Duration>) -> End {
        let app = self.app.clone();
        let work = async move {
            let response = app.oneshot(request).await.unwrap_or_else(|never| match never {});
            read(response).await
        };
        // Whoever is inside counts for a drain, also while its process stands still.
        let inside = self.inside.token();
        let mut serving = tokio::spawn(self.instance.run(work));
        let hung_up = async {
            match hangs_up {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            biased;
            answer = &mut serving => return answer.map_or(End::Broken, End::Answer),
            () = self.dead.cancelled() => End::Broken,
            () = self.cut_off.cancelled() => End::Broken,
            () = hung_up => End::HungUp,
        };
        serving.abort();
        drop(inside);
        end
    }
}

/// The request of a call.
pub(crate) fn request(ask: &Ask) -> Request<Body> {
    let document = format!("{{\"city\":\"{}\"}}", city(ask.work));
    let mut request = Request::post("/WeatherForecast/city")
        .header(header::HOST, "simulation")
        .header(header::CONTENT_TYPE, "application/json");
    match ask.wait {
        Wait::ForAnswer => {}
        Wait::UpTo(seconds) => request = request.header("Prefer", format!("wait={seconds}")),
        Wait::Not => request = request.header("Prefer", "respond-async"),
    }
    if let Some(key) = ask.key {
        request = request.header("Idempotency-Key", format!("key-{key}"));
    }
    if let Some(seconds) = ask.timeout {
        request = request.header("Request-Timeout", seconds);
    }
    let body = match ask.slow_body {
        Duration::ZERO => Body::from(document),
        pause => {
            let (first, rest) = (document[..5].to_owned(), document[5..].to_owned());
            let rest = async move {
                sleep(pause).await;
                rest
            };
            let parts = stream::iter([first]).chain(rest.into_stream());
            Body::from_stream(parts.map(|part| Ok::<_, std::io::Error>(Bytes::from(part))))
        }
    };
    request.body(body).expect("the parts of a request")
}

/// A call without a body.
pub(crate) fn ask_for(method: &str, path: String) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request
        .header(header::HOST, "simulation")
        .body(Body::empty())
        .expect("the parts of a request")
}

async fn read(response: Response<Body>) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers();
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.and_then(|path| CorrelationId::parse(path.rsplit('/').next()?.as_bytes()));
    let replayed = headers.contains_key("idempotency-replayed");
    let is_stream = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if is_stream {
        watch(response.into_body()).await;
        return Answer {
            status,
            ..Answer::default()
        };
    }
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    let body = body.unwrap_or_default();
    let document: Document = serde_json::from_slice(&body).unwrap_or_default();
    let name = document.kind.as_deref().and_then(|kind| kind.rsplit('/').next());
    Answer {
        status,
        problem: name.map(str::to_owned),
        detail: document.detail.unwrap_or_default(),
        retryable: document.retryable,
        location,
        replayed,
        work: (status == 200).then(|| work_in(&body)).flatten(),
        state: document.state.and_then(|state| state.as_str().map(str::to_owned)),
    }
}

/// Reads events, slowly, to their end, or until enough was seen.
async fn watch(body: Body) {
    let mut events = body.into_data_stream();
    for _ in 0..6 {
        match tokio::time::timeout(Duration::from_secs(5), events.next()).await {
            Ok(Some(_)) => sleep(Duration::from_millis(300)).await,
            _ => return,
        }
    }
}
