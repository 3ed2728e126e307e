//! What goes over the wire for the weather: the query in a request's `data`, the answers in a reply's.

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use utoipa::ToSchema;
use uuid::Uuid;

/// The longest city accepted, in characters.
pub const MAX_CITY: usize = 100;
/// The longest location accepted, in characters.
pub const MAX_LOCATION: usize = 200;
/// The most days of forecast in one answer: what Open-Meteo offers.
pub const MAX_DAYS: u8 = 16;

/// The weather in a word or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the names say it all
pub enum Condition {
    Sunny,
    #[serde(rename = "Partly Cloudy")]
    PartlyCloudy,
    Cloudy,
    Rainy,
    Thunderstorm,
    Snowy,
    Foggy,
    Windy,
    Clear,
    Stormy,
}

impl Condition {
    /// The name as it stands in answers, for example `Partly Cloudy`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sunny => "Sunny",
            Self::PartlyCloudy => "Partly Cloudy",
            Self::Cloudy => "Cloudy",
            Self::Rainy => "Rainy",
            Self::Thunderstorm => "Thunderstorm",
            Self::Snowy => "Snowy",
            Self::Foggy => "Foggy",
            Self::Windy => "Windy",
            Self::Clear => "Clear",
            Self::Stormy => "Stormy",
        }
    }
}

/// The weather in a city now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentWeather {
    /// The city asked for.
    #[schema(example = "New York")]
    pub city: String,
    /// The place within the city, as asked for; null when none was.
    #[schema(example = "Downtown")]
    pub location: Option<String>,
    /// The correlation id of the request.
    pub request_id: Uuid,
    /// The time the values are for, RFC 3339 in UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime, example = "2026-11-20T12:00:00Z")]
    pub forecast_time: OffsetDateTime,
    /// Air temperature, in °C.
    #[schema(example = 8.4)]
    pub temperature: f64,
    /// The weather in a word or two.
    pub condition: Condition,
    /// Relative humidity, in %.
    #[schema(minimum = 0, maximum = 100, example = 71)]
    pub humidity: u8,
    /// Wind speed, in m/s.
    #[schema(example = 4.2)]
    pub wind_speed: f64,
}

/// One day of a forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DailyForecast {
    /// The day, `YYYY-MM-DD`.
    #[serde(with = "iso_date")]
    #[schema(value_type = String, format = Date, example = "2026-11-20")]
    pub date: Date,
    /// Mean temperature of the day, in °C.
    #[schema(example = 8)]
    pub temperature_c: i32,
    /// The same in °F.
    #[schema(example = 46)]
    pub temperature_f: i32,
    /// The weather in a word or two: a condition's name.
    #[schema(example = "Partly Cloudy")]
    pub summary: String,
}

impl DailyForecast {
    /// A day's forecast from its mean temperature in °C.
    #[must_use]
    pub fn new(date: Date, celsius: f64, condition: Condition) -> Self {
        Self {
            date,
            temperature_c: celsius.round() as i32,
            temperature_f: (celsius * 9.0 / 5.0 + 32.0).round() as i32,
            summary: condition.name().to_owned(),
        }
    }
}

time::serde::format_description!(iso_date, Date, "[year]-[month]-[day]");
