//! The weather as an operation: reads a question, asks the provider, answers.

use std::sync::Arc;

use async_trait::async_trait;
use roundtrip::Operation;
use serde::Serialize;

use super::contract::{CurrentWeather, DailyForecast};
use super::query::{QueryError, WeatherQuery};
use super::{Observation, Place, WeatherProvider};
use crate::failure::Failure;
use crate::handler::Job;
use crate::operations::Work;

/// Answers questions about the weather with a provider's knowledge.
#[derive(Clone)]
pub struct Weather(Arc<dyn WeatherProvider>);

/// What the weather operation answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum WeatherAnswer {
    /// The weather now.
    Now(CurrentWeather),
    /// A forecast, one entry a day.
    Days(Vec<DailyForecast>),
}

impl Weather {
    /// Answers with what `provider` knows.
    #[must_use]
    pub fn new(provider: Arc<dyn WeatherProvider>) -> Self {
        Self(provider)
    }
}

impl Operation for Weather {
    const NAME: &'static str = "weather";
    type Input = WeatherQuery;
    type Output = WeatherAnswer;
}

#[async_trait]
impl Work for Weather {
    fn read(&self, data: &[u8]) -> Result<WeatherQuery, Failure> {
        WeatherQuery::from_json(data).map_err(invalid)
    }

    async fn work(&self, query: WeatherQuery, job: &Job) -> Result<WeatherAnswer, Failure> {
        let days = query.days();
        let place = query.into_place();
        Ok(match days {
            Some(days) => WeatherAnswer::Days(self.0.daily(&place, days, &job.progress).await?),
            None => {
                let observation = self.0.current(&place, &job.progress).await?;
                WeatherAnswer::Now(now(job, place, observation))
            }
        })
    }
}

fn now(job: &Job, place: Place, observation: Observation) -> CurrentWeather {
    CurrentWeather {
        city: place.city,
        location: place.location,
        request_id: job.request.id.as_uuid(),
        forecast_time: observation.forecast_time,
        temperature: observation.temperature,
        condition: observation.condition,
        humidity: observation.humidity,
        wind_speed: observation.wind_speed,
    }
}

/// The ingress validates before it publishes, so this is somebody else's entry.
fn invalid(error: QueryError) -> Failure {
    let detail = match error {
        QueryError::Unreadable(detail) => detail,
        QueryError::Invalid(errors) => errors
            .iter()
            .map(|error| format!("{} {}", error.pointer.as_deref().unwrap_or_default(), error.detail))
            .collect::<Vec<_>>()
            .join("; "),
    };
    Failure::Invalid { detail }
}
