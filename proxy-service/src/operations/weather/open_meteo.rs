//! Weather from Open-Meteo: the city is geocoded, then its coordinates are asked about. Nothing of an
//! upstream's answer reaches a caller unless it was read, understood and found plausible.

mod codes;
mod documents;
mod endpoint;

pub(crate) use codes::{STRONG_BREEZE, one_decimal};

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, redirect, retry};
use url::Url;

use super::contract::DailyForecast;
use super::{Observation, Place, WeatherProvider};
use crate::failure::Failure;
use crate::progress::Reporter;
use documents::{Coordinates, CurrentDocument, DailyDocument, Geocoding};
use endpoint::Endpoint;

/// The public [geocoding API](https://open-meteo.com/en/docs/geocoding-api).
pub const DEFAULT_GEOCODING_URL: &str = "https://geocoding-api.open-meteo.com";
/// The public [forecast API](https://open-meteo.com/en/docs).
pub const DEFAULT_FORECAST_URL: &str = "https://api.open-meteo.com";

/// A reachable host accepts within one round trip; three seconds leave room for a lost SYN or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Answers with weather from Open-Meteo, see its [documentation](https://open-meteo.com/en/docs).
///
/// Only the city is looked up, by the best match for its name: Open-Meteo's geocoding knows cities and
/// postal codes but no places within a city, so a place's location has no influence on the answer.
pub struct OpenMeteo {
    client: Client,
    geocoding: Endpoint,
    forecast: Endpoint,
}

/// Why an [`OpenMeteo`] could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// A base URL is neither http nor https.
    Scheme {
        /// Which service's URL it is.
        service: &'static str,
    },
    /// The HTTP client could not be set up.
    Client(reqwest::Error),
}

impl OpenMeteo {
    /// Asks the services at these base URLs. A base URL may have a path, which `/v1/search` or
    /// `/v1/forecast` is appended to, and a query, which is sent along.
    ///
    /// # Errors
    ///
    /// When a URL is neither http nor https, or the HTTP client cannot be set up.
    pub fn new(geocoding_url: Url, forecast_url: Url) -> Result<Self, BuildError> {
        // reqwest takes the process-wide provider. When there is one already, it stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("roundtrip/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect could lead anywhere, even into our own network.
            .redirect(redirect::Policy::none())
            // One call is one attempt.
            .retry(retry::never())
            .build()
            .map_err(BuildError::Client)?;
        Ok(Self {
            client,
            geocoding: Endpoint::new("geocoding service", geocoding_url, ["v1", "search"])?,
            forecast: Endpoint::new("weather service", forecast_url, ["v1", "forecast"])?,
        })
    }

    async fn locate(&self, city: &str) -> Result<Coordinates, Failure> {
        let query = [("name", city), ("count", "1"), ("language", "en"), ("format", "json")];
        let found: Geocoding = self.geocoding.fetch(&self.client, &query).await?;
        let best = found.best_match().ok_or_else(|| Failure::NotFound {
            detail: format!("no city named \"{city}\" is known"),
        })?;
        best.checked().map_err(|problem| self.geocoding.implausible(problem))
    }
}

/// What callers read who watch: half of the way is done.
const FOUND: &str = "the city was found; asking for its weather";

#[async_trait]
impl WeatherProvider for OpenMeteo {
    async fn current(&self, place: &Place, progress: &Reporter) -> Result<Observation, Failure> {
        let at = self.locate(&place.city).await?;
        progress.report(50, FOUND);
        let query = [
            ("latitude", &*at.latitude.to_string()),
            ("longitude", &at.longitude.to_string()),
            (
                "current",
                "temperature_2m,relative_humidity_2m,weather_code,wind_speed_10m",
            ),
            ("wind_speed_unit", "ms"),
            ("timezone", "UTC"),
        ];
        let document: CurrentDocument = self.forecast.fetch(&self.client, &query).await?;
        document
            .observation()
            .map_err(|problem| self.forecast.implausible(problem))
    }

    async fn daily(&self, place: &Place, days: u8, progress: &Reporter) -> Result<Vec<DailyForecast>, Failure> {
        let at = self.locate(&place.city).await?;
        progress.report(50, FOUND);
        let query = [
            ("latitude", &*at.latitude.to_string()),
            ("longitude", &at.longitude.to_string()),
            ("daily", "weather_code,temperature_2m_mean"),
            ("forecast_days", &days.to_string()),
            ("wind_speed_unit", "ms"),
            // A day is the city's own, midnight to midnight.
            ("timezone", "auto"),
        ];
        let document: DailyDocument = self.forecast.fetch(&self.client, &query).await?;
        document
            .forecast(days)
            .map_err(|problem| self.forecast.implausible(problem))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme { service } => write!(f, "url of the {service} is neither http nor https"),
            Self::Client(_) => f.write_str("could not set up the http client"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Scheme { .. } => None,
            Self::Client(error) => Some(error),
        }
    }
}
