//! Weather made up from a climate, for running without an upstream. The same city, location and UTC
//! day always give the same weather, in every process and on every platform.

mod climate;
mod latency;

pub use latency::{Latency, ParseLatencyError};

use async_trait::async_trait;
use time::{Date, Duration, OffsetDateTime};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::contract::{Condition, DailyForecast};
use super::open_meteo::{STRONG_BREEZE, one_decimal};
use super::{Observation, Place, WeatherProvider};
use crate::failure::Failure;
use crate::progress::Reporter;
use climate::Climate;

/// At or below this many °C, what falls is snow.
const SNOW_AT_MOST: f64 = 1.0;
/// From this many °C on, showers may come with thunder.
const THUNDER_AT_LEAST: f64 = 20.0;
/// From this many °C on, damp air is muggy rather than foggy.
const FOG_BELOW: f64 = 22.0;

/// Answers with simulated weather after a simulated latency. It never fails.
#[derive(Debug, Clone)]
pub struct Simulated {
    latency: Latency,
}

/// The weather at a place on a day.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Weather {
    /// In °C.
    temperature: f64,
    /// Relative, in %.
    humidity: u8,
    /// In m/s.
    wind_speed: f64,
    condition: Condition,
}

/// Random numbers that follow from a seed and a name, so that a new one leaves the others as they are.
struct Draws(u64);

impl Simulated {
    /// Every answer takes `latency`, picked anew for each call.
    #[must_use]
    pub fn new(latency: Latency) -> Self {
        tracing::info!(simulated = true, %latency, "weather is simulated");
        Self { latency }
    }

    async fn delay(&self, progress: &Reporter) {
        let delay = self.latency.pick();
        // Even an empty sleep waits for the timer's next tick.
        if delay.is_zero() {
            return;
        }
        if !progress.is_watched() {
            return tokio::time::sleep(delay).await;
        }
        for percent in [25, 50, 75, 100] {
            tokio::time::sleep(delay / 4).await;
            progress.report(percent, "looking at the sky");
        }
    }
}

#[async_trait]
impl WeatherProvider for Simulated {
    async fn current(&self, place: &Place, progress: &Reporter) -> Result<Observation, Failure> {
        self.delay(progress).await;
        let observation = observe(place, OffsetDateTime::now_utc());
        tracing::debug!(simulated = true, "answered with simulated weather");
        Ok(observation)
    }

    async fn daily(&self, place: &Place, days: u8, progress: &Reporter) -> Result<Vec<DailyForecast>, Failure> {
        self.delay(progress).await;
        let forecast = forecast(place, OffsetDateTime::now_utc().date(), days);
        tracing::debug!(simulated = true, days, "answered with a simulated forecast");
        Ok(forecast)
    }
}

/// The weather at `place` at `now`, which is in UTC.
fn observe(place: &Place, now: OffsetDateTime) -> Observation {
    let weather = Weather::on(place, now.date());
    Observation {
        forecast_time: now.truncate_to_second(),
        temperature: weather.temperature,
        condition: weather.condition,
        humidity: weather.humidity,
        wind_speed: weather.wind_speed,
    }
}

fn forecast(place: &Place, today: Date, days: u8) -> Vec<DailyForecast> {
    (0..i64::from(days))
        .map_while(|ahead| today.checked_add(Duration::days(ahead)))
        .map(|date| {
            let weather = Weather::on(place, date);
            DailyForecast::new(date, weather.temperature, weather.condition)
        })
        .collect()
}

impl Weather {
    fn on(place: &Place, date: Date) -> Self {
        let city = place.city.to_lowercase();
        let location = place.location.as_deref().map(str::to_lowercase);
        let climate = Climate::of(&city);
        // The day is the city's; a location within it only differs a little.
        let day = Draws::of(&city, None, date);
        let spot = Draws::of(&city, location.as_deref(), date);

        let temperature = one_decimal(climate.season(date) + 4.0 * day.spread("temperature") + spot.spread("exposure"));
        let humidity = climate.humidity + 18.0 * day.spread("humidity") + 4.0 * spot.spread("damp");
        let humidity = humidity.round().clamp(10.0, 100.0) as u8;
        let breeze = climate.wind_speed * (0.3 + day.unit("wind") + 0.4 * spot.unit("shelter"));
        let wind_speed = one_decimal((breeze + gale(day.unit("gale"))).clamp(0.0, 29.9));

        Self {
            temperature,
            humidity,
            wind_speed,
            condition: condition(temperature, humidity, wind_speed, &spot),
        }
    }
}

/// What a gale adds to the wind, in m/s: almost nothing on most days, up to 16 on a few.
fn gale(unit: f64) -> f64 {
    // Multiplied out: `powi` may round differently from platform to platform.
    let fourth = unit * unit * unit * unit;
    16.0 * fourth * fourth * fourth
}

fn condition(temperature: f64, humidity: u8, wind_speed: f64, draws: &Draws) -> Condition {
    let humidity = f64::from(humidity);
    let rain_chance = ((humidity - 45.0) * 0.009).max(0.0);
    let wet = draws.unit("rain") < rain_chance;
    if wind_speed >= STRONG_BREEZE {
        return if wet { Condition::Stormy } else { Condition::Windy };
    }
    if wet {
        return match temperature {
            t if t <= SNOW_AT_MOST => Condition::Snowy,
            t if t >= THUNDER_AT_LEAST && draws.unit("thunder") < 0.35 => Condition::Thunderstorm,
            _ => Condition::Rainy,
        };
    }
    if humidity >= 85.0 && wind_speed < 3.0 && temperature < FOG_BELOW {
        return Condition::Foggy;
    }
    match 0.6 * draws.unit("clouds") + 0.4 * humidity / 100.0 {
        cover if cover > 0.65 => Condition::Cloudy,
        cover if cover > 0.45 => Condition::PartlyCloudy,
        // The same sky: nobody calls a winter's day sunny.
        _ if temperature < 10.0 => Condition::Clear,
        _ => Condition::Sunny,
    }
}

impl Draws {
    fn of(city: &str, location: Option<&str>, date: Date) -> Self {
        // Names hold no control characters, so NUL keeps them apart.
        let key = format!("{city}\0{}", location.unwrap_or_default());
        Self(xxh3_64_with_seed(
            key.as_bytes(),
            i64::from(date.to_julian_day()) as u64,
        ))
    }

    /// Uniform in 0..1.
    fn unit(&self, name: &str) -> f64 {
        // The upper 53 bits fill a double's mantissa exactly.
        (xxh3_64_with_seed(name.as_bytes(), self.0) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in -1..1.
    fn spread(&self, name: &str) -> f64 {
        2.0 * self.unit(name) - 1.0
    }
}

#[cfg(test)]
mod tests;
