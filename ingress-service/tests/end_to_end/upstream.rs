//! An upstream whose answers come when a test says so: work lasts for as long as somebody looks, on any machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::routing::get;
use testbed::until;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::harness::Plan;

const POSITION: &str = r#"{"results":[{"id":1,"name":"x","latitude":40.7,"longitude":-74.0}]}"#;
const WEATHER: &str = r#"{"utc_offset_seconds":0,"current":{"time":"2026-11-20T12:15","interval":900,
"temperature_2m":8.4,"relative_humidity_2m":71,"weather_code":61,"wind_speed_10m":4.17}}"#;

type Json = ([(HeaderName, &'static str); 1], &'static str);

/// A weather service that answers nobody at first. A request's first call is for the city's position, its second for
/// the weather there.
#[derive(Clone)]
pub(crate) struct Upstream {
    url: String,
    begun: Arc<AtomicUsize>,
    /// An answer for each permit, and all once they are closed.
    positions: Arc<Semaphore>,
    weather: Arc<Semaphore>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            begun: Arc::default(),
            positions: Arc::new(Semaphore::new(0)),
            weather: Arc::new(Semaphore::new(0)),
        };
        let routes = Router::new()
            .route("/v1/search", get(search))
            .route("/v1/forecast", get(forecast))
            .with_state(upstream.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        upstream
    }

    /// Workers that ask here, and wait for as long as it takes.
    pub(crate) fn behind(&self, plan: Plan) -> Plan {
        plan.with("WEATHER_PROVIDER", "open-meteo")
            .with("OPEN_METEO_GEOCODING_URL", &self.url)
            .with("OPEN_METEO_FORECAST_URL", &self.url)
            .with("ATTEMPT_TIMEOUT", "1h")
    }

    /// Waits until so much work has begun.
    pub(crate) async fn has_begun(&self, count: usize) {
        until("the work has begun", async || {
            self.begun.load(Ordering::Relaxed) >= count
        })
        .await;
    }

    /// Lets one piece of work end.
    pub(crate) fn end_one(&self) {
        self.positions.add_permits(1);
        self.weather.add_permits(1);
    }

    /// Lets all work get half of the way, which it reports, and no further.
    pub(crate) fn half_open(&self) {
        self.positions.close();
    }

    /// Lets all work end, now and later.
    pub(crate) fn open(&self) {
        self.positions.close();
        self.weather.close();
    }
}

async fn search(State(upstream): State<Upstream>) -> Json {
    upstream.begun.fetch_add(1, Ordering::Relaxed);
    answer(&upstream.positions, POSITION).await
}

async fn forecast(State(upstream): State<Upstream>) -> Json {
    answer(&upstream.weather, WEATHER).await
}

async fn answer(gate: &Semaphore, document: &'static str) -> Json {
    // An error says that the gate is open.
    let _ = gate.acquire().await.map(|permit| permit.forget());
    ([(CONTENT_TYPE, "application/json")], document)
}
