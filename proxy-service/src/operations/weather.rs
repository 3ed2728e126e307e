//! The weather operation: its contract, the work, and the providers that know the answer.

pub mod contract;
mod name;
pub mod open_meteo;
pub mod options;
pub mod query;
pub mod routes;
pub mod simulated;
pub mod work;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::progress::Reporter;
use contract::{Condition, DailyForecast};

/// A place to report on. Both names are validated: trimmed, not blank, free of control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The city, at most 100 characters.
    pub city: String,
    /// A place within the city, at most 200 characters.
    pub location: Option<String>,
}

/// What a provider knows about the weather at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The time the values are for, in UTC.
    pub forecast_time: OffsetDateTime,
    /// Air temperature, in °C.
    pub temperature: f64,
    /// The weather in a word or two.
    pub condition: Condition,
    /// Relative humidity, in %.
    pub humidity: u8,
    /// Wind speed, in m/s.
    pub wind_speed: f64,
}

/// Answers questions about the weather. Every call is one attempt: timeouts, retries and the circuit
/// breaker are the stack's business, so an implementation has none of its own.
#[async_trait]
pub trait WeatherProvider: Send + Sync + 'static {
    /// The weather at `place` now.
    async fn current(&self, place: &Place, progress: &Reporter) -> Result<Observation, Failure>;

    /// The forecast for `place`, one entry a day, today first; `days` is 1 to 16.
    async fn daily(&self, place: &Place, days: u8, progress: &Reporter) -> Result<Vec<DailyForecast>, Failure>;
}
