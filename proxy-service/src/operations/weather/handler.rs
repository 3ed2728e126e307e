//! The weather as an operation: reads a question, asks the provider, writes the answer.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::contract::CurrentWeather;
use super::query::{QueryError, WeatherQuery};
use super::{Observation, Place, WeatherProvider};
use crate::failure::Failure;
use crate::handler::{Handler, Job};

/// Answers questions about the weather with a provider's knowledge.
#[derive(Clone)]
pub struct WeatherHandler(Arc<dyn WeatherProvider>);

impl WeatherHandler {
    /// Answers with what `provider` knows.
    #[must_use]
    pub fn new(provider: Arc<dyn WeatherProvider>) -> Self {
        Self(provider)
    }
}

#[async_trait]
impl Handler for WeatherHandler {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let query = WeatherQuery::from_json(&job.request.data).map_err(invalid)?;
        let days = query.days();
        let place = query.into_place();
        match days {
            Some(days) => write(&self.0.daily(&place, days, &job.progress).await?),
            None => {
                let observation = self.0.current(&place, &job.progress).await?;
                write(&answer(&job, place, observation))
            }
        }
    }
}

fn answer(job: &Job, place: Place, observation: Observation) -> CurrentWeather {
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

fn write(answer: &impl serde::Serialize) -> Result<Bytes, Failure> {
    let json = serde_json::to_vec(answer).expect("text and numbers are always JSON");
    Ok(json.into())
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
