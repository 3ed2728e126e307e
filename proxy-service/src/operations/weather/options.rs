//! Where the weather comes from, as variables or flags say.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use url::Url;

use super::WeatherProvider;
use super::open_meteo::{self, OpenMeteo};
use super::simulated::{Latency, Simulated};

/// Where the weather comes from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workers (an ingress has them with memory:// only)")]
pub struct WeatherOptions {
    /// Who knows the weather
    #[arg(long, env, default_value = "simulated")]
    pub weather_provider: ProviderKind,

    /// How long the simulated provider takes: a duration, or a range such as 100ms..500ms
    #[arg(long, env, default_value = "0ms")]
    pub simulated_latency: Latency,

    /// Base URL of Open-Meteo's geocoding service
    #[arg(long, env, default_value = open_meteo::DEFAULT_GEOCODING_URL, value_parser = http_url, hide_env_values = true)]
    pub open_meteo_geocoding_url: Url,

    /// Base URL of Open-Meteo's forecast service
    #[arg(long, env, default_value = open_meteo::DEFAULT_FORECAST_URL, value_parser = http_url, hide_env_values = true)]
    pub open_meteo_forecast_url: Url,
}

/// Who knows the weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProviderKind {
    /// Made up: the same for the same city and day, and plausible for its climate
    Simulated,
    /// The real thing, from open-meteo.com
    OpenMeteo,
}

impl ProviderKind {
    /// The provider's name, as in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::OpenMeteo => "open-meteo",
        }
    }
}

impl WeatherOptions {
    /// The provider these options name.
    ///
    /// # Errors
    /// When its HTTP client cannot be built.
    pub fn provider(&self) -> Result<Arc<dyn WeatherProvider>, open_meteo::BuildError> {
        Ok(match self.weather_provider {
            ProviderKind::Simulated => Arc::new(Simulated::new(self.simulated_latency)),
            ProviderKind::OpenMeteo => Arc::new(OpenMeteo::new(
                self.open_meteo_geocoding_url.clone(),
                self.open_meteo_forecast_url.clone(),
            )?),
        })
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("an http:// or https:// URL is expected".to_owned()),
    }
}
