//! The documents that Open-Meteo answers with, as far as they are used here. What does not fit them, or
//! is physically impossible, is the upstream's failure, never a caller's weather.

use serde::Deserialize;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, UtcOffset};

use super::codes::{by_daylight, condition, one_decimal, with_wind};
use crate::operations::weather::Observation;
use crate::operations::weather::contract::{Condition, DailyForecast};

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]");

/// What is wrong with a document that could be parsed, in words for the log.
type Problem = &'static str;

/// The answer of `/v1/search`. Without a match, `results` is missing.
#[derive(Deserialize)]
pub(super) struct Geocoding {
    results: Option<Vec<Coordinates>>,
}

/// A match's position, in degrees (WGS 84).
#[derive(Deserialize)]
pub(super) struct Coordinates {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

/// The answer of `/v1/forecast` with `current=`.
#[derive(Deserialize)]
pub(super) struct CurrentDocument {
    utc_offset_seconds: i32,
    current: Current,
}

#[derive(Deserialize)]
struct Current {
    time: String,
    temperature_2m: f64,
    relative_humidity_2m: f64,
    weather_code: u8,
    wind_speed_10m: f64,
}

/// The answer of `/v1/forecast` with `daily=`.
#[derive(Deserialize)]
pub(super) struct DailyDocument {
    daily: Daily,
}

/// One entry a day in each.
#[derive(Deserialize)]
struct Daily {
    time: Vec<String>,
    weather_code: Vec<u8>,
    temperature_2m_mean: Vec<f64>,
}

impl Geocoding {
    pub(super) fn best_match(self) -> Option<Coordinates> {
        self.results.into_iter().flatten().next()
    }
}

impl Coordinates {
    pub(super) fn checked(self) -> Result<Self, Problem> {
        if self.latitude.abs() > 90.0 || self.longitude.abs() > 180.0 {
            return Err("coordinates are not on earth");
        }
        Ok(self)
    }
}

impl CurrentDocument {
    pub(super) fn observation(self) -> Result<Observation, Problem> {
        let Current {
            time,
            relative_humidity_2m: humidity,
            wind_speed_10m: wind,
            ..
        } = self.current;
        if !(0.0..=100.0).contains(&humidity) {
            return Err("humidity is out of range");
        }
        if !(0.0..=150.0).contains(&wind) {
            return Err("wind speed is out of range");
        }
        let wind_speed = one_decimal(wind);
        Ok(Observation {
            forecast_time: in_utc(&time, self.utc_offset_seconds)?,
            temperature: one_decimal(temperature(self.current.temperature_2m)?),
            condition: with_wind(known(self.current.weather_code)?, wind_speed),
            humidity: humidity.round() as u8,
            wind_speed,
        })
    }
}

impl DailyDocument {
    /// The forecast, which must be for as many days as were asked for.
    pub(super) fn forecast(self, days: u8) -> Result<Vec<DailyForecast>, Problem> {
        let Daily {
            time,
            weather_code,
            temperature_2m_mean,
        } = self.daily;
        let lengths = [time.len(), weather_code.len(), temperature_2m_mean.len()];
        if lengths != [usize::from(days); 3] {
            return Err("number of days differs from what was asked for");
        }
        let values = weather_code.into_iter().zip(temperature_2m_mean);
        time.iter()
            .zip(values)
            .map(|(day, (code, celsius))| {
                let date = Date::parse(day, DATE).map_err(|_| "day is no date")?;
                let condition = by_daylight(known(code)?);
                Ok(DailyForecast::new(date, temperature(celsius)?, condition))
            })
            .collect()
    }
}

fn temperature(celsius: f64) -> Result<f64, Problem> {
    // The extremes measured on earth are -89 and 57 °C.
    if !(-100.0..=70.0).contains(&celsius) {
        return Err("temperature is out of range");
    }
    Ok(celsius)
}

fn known(code: u8) -> Result<Condition, Problem> {
    condition(code).ok_or("weather code is not documented")
}

fn in_utc(time: &str, offset_seconds: i32) -> Result<OffsetDateTime, Problem> {
    let local = PrimitiveDateTime::parse(time, MINUTE).map_err(|_| "time is no date and time")?;
    let offset = UtcOffset::from_whole_seconds(offset_seconds).map_err(|_| "offset is out of range")?;
    local
        .assume_offset(offset)
        .checked_to_offset(UtcOffset::UTC)
        .ok_or("time is out of range")
}
