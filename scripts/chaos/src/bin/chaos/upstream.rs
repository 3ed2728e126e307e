//! The weather service behind the workers, as it may be on a bad day. Counts attempts: a request's first call is for
//! the city's position, so one such call is one attempt.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fault_proxy::{FaultProxy, NetworkFault};

const POSITION: &str = r#"{"results":[{"id":1,"name":"x","latitude":40.7,"longitude":-74.0}]}"#;
const WEATHER: &str = r#"{"utc_offset_seconds":0,"current":{"time":"2026-11-20T12:15","interval":900,
"temperature_2m":8.4,"relative_humidity_2m":71,"weather_code":61,"wind_speed_10m":4.17}}"#;

/// How the upstream answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Mood {
    /// Well.
    Healthy,
    /// With 500, each time.
    Failing,
    /// Well, after this time.
    Slow(Duration),
}

/// A running upstream, behind a proxy that closes its connections. Ends with its value.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    mood: watch::Sender<Mood>,
    attempts: Arc<AtomicU64>,
    fault_proxy: FaultProxy,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Answering {
    mood: watch::Receiver<Mood>,
    attempts: Arc<AtomicU64>,
}

impl Upstream {
    pub(crate) async fn start(address: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind((address.ip(), 0)).await;
        let listener = listener.map_err(|error| format!("could not listen for the upstream: {error}"))?;
        let server = listener.local_addr().map_err(|error| error.to_string())?;
        let (mood, watching) = watch::channel(Mood::Healthy);
        let attempts = Arc::new(AtomicU64::new(0));
        let answering = Answering {
            mood: watching,
            attempts: attempts.clone(),
        };
        let app = Router::new()
            .route("/v1/search", get(search))
            .route("/v1/forecast", get(forecast))
            .with_state(answering);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let _ = axum::serve(listener, app).await;
        }));
        let fault_proxy = FaultProxy::start(address, server).await?;
        Ok(Self {
            address: fault_proxy.address,
            mood,
            attempts,
            fault_proxy,
            _stop: stop.drop_guard(),
        })
    }

    /// Changes how it answers, at once.
    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Closes all connections; clients keep some in reserve, which would look like a leak.
    pub(crate) async fn hang_up(&self) {
        self.fault_proxy.set(NetworkFault::Reset);
        // Long enough that every connection has heard of it.
        sleep(Duration::from_millis(50)).await;
        self.fault_proxy.set(NetworkFault::Pass);
    }

    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }
}

async fn search(State(answering): State<Answering>) -> Response {
    answering.attempts.fetch_add(1, Ordering::Relaxed);
    answer(&answering, POSITION).await
}

async fn forecast(State(answering): State<Answering>) -> Response {
    answer(&answering, WEATHER).await
}

async fn answer(answering: &Answering, document: &'static str) -> Response {
    let mood = *answering.mood.borrow();
    match mood {
        Mood::Healthy => {}
        Mood::Failing => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Slow(time) => sleep(time).await,
    }
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proxy_service::operations::weather::open_meteo::OpenMeteo;
    use proxy_service::operations::weather::{Place, WeatherProvider};
    use proxy_service::progress::Reporter;

    use super::*;

    #[tokio::test]
    async fn the_real_provider_understands_it() {
        let upstream = Upstream::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url: url::Url = format!("http://{}", upstream.address).parse().unwrap();
        let provider = OpenMeteo::new(url.clone(), url).unwrap();
        let place = Place {
            city: "good-00000001-1".to_owned(),
            location: None,
        };
        provider.current(&place, &Reporter::none()).await.unwrap();
        upstream.set(Mood::Failing);
        provider.current(&place, &Reporter::none()).await.unwrap_err();
        upstream.hang_up().await;
        upstream.set(Mood::Healthy);
        provider.current(&place, &Reporter::none()).await.unwrap();
        assert_eq!(upstream.attempts(), 3);
    }
}
