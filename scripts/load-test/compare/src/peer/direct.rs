//! No broker: the front calls the worker over pooled keep-alive connections.

use axum::Router;
use axum::extract::State;
use axum::http::{Request, Uri};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

use crate::BoxError;
use crate::front::{self, Ask};
use crate::weather::Weather;

#[derive(Clone)]
pub(crate) struct Asker {
    client: Client<HttpConnector, Full<Bytes>>,
    worker: Uri,
}

impl Asker {
    /// Asks the worker at `address`.
    pub(crate) fn new(address: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let worker = Uri::builder().scheme("http").authority(address).path_and_query("/");
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            worker: worker.build().expect("the driver gives HOST:PORT"),
        }
    }
}

impl Ask for Asker {
    async fn ask(&self, question: Bytes) -> Result<Bytes, BoxError> {
        let request = Request::post(self.worker.clone()).body(Full::new(question))?;
        let response = self.client.request(request).await?;
        match response.status().is_success() {
            true => Ok(response.into_body().collect().await?.to_bytes()),
            false => Err(format!("the worker answered {}", response.status()).into()),
        }
    }
}

/// Serves questions on `address` until the process is ended.
pub(crate) async fn work(address: &str) -> Result<(), BoxError> {
    let questions = Router::new().route("/", post(answer)).with_state(Weather::new());
    front::serve_router(TcpListener::bind(address).await?, questions).await
}

async fn answer(State(weather): State<Weather>, question: Bytes) -> Response {
    front::answer_with(weather.answer(question).await)
}
