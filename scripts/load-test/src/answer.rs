//! Answers and whether they are right. A request succeeded only when its answer passed [`verify`].

use serde::{Deserialize, Deserializer};

use crate::failure::{Failure, FailureKind};
use crate::question::Question;
use crate::response::Response;

/// The weather, as the service answers it. All eight fields must be there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Weather {
    /// The city asked for.
    pub city: String,
    /// The location asked for; null when none was.
    #[serde(deserialize_with = "nullable")]
    pub location: Option<String>,
    /// The service's own id of the request.
    pub request_id: String,
    /// The time the values are for.
    pub forecast_time: String,
    /// In °C.
    pub temperature: f64,
    /// In a word or two.
    pub condition: String,
    /// In %.
    pub humidity: f64,
    /// In m/s.
    pub wind_speed: f64,
}

/// A field of its own: serde would take a missing `Option` for null.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// Checks that an answer is one to `question`: quickly, by the bytes that name its place, or in full where these are
/// not found.
///
/// # Errors
/// What the request counts as when the answer is not right.
pub fn verify(response: &Response<'_>, question: &Question) -> Result<(), Failure> {
    if response.status == 200 && question.recognises(response.body) {
        return Ok(());
    }
    verify_in_full(response, question).map(|_| ())
}

/// Checks an answer to `question` field by field, and hands it over.
///
/// # Errors
/// What the request counts as when the answer is not right.
pub fn verify_in_full(response: &Response<'_>, question: &Question) -> Result<Weather, Failure> {
    if response.status != 200 {
        return Err(refused(response));
    }
    let weather: Weather = serde_json::from_slice(response.body)
        .map_err(|error| Failure::new(FailureKind::Unreadable, format!("the answer does not fit: {error}")))?;
    let asked = question.place();
    let right_location = asked.location.is_none() || asked.location == weather.location;
    if asked.city != weather.city || !right_location {
        let detail = format!(
            "asked for {:?} in {:?}, the answer is for {:?} in {:?}",
            asked.location.as_deref().unwrap_or_default(),
            asked.city,
            weather.location.as_deref().unwrap_or_default(),
            weather.city,
        );
        return Err(Failure::new(FailureKind::WrongAnswer, detail));
    }
    Ok(weather)
}

fn refused(response: &Response<'_>) -> Failure {
    let kind = match response.status {
        503 => FailureKind::Status503,
        504 => FailureKind::Status504,
        _ => FailureKind::StatusOther,
    };
    /// Enough for a problem document's title and detail, in bytes.
    const SHOWN: usize = 300;
    let body = &response.body[..response.body.len().min(SHOWN)];
    let text = String::from_utf8_lossy(body);
    Failure::new(kind, format!("{} {}", response.status, text.trim()).trim_end())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cities::Place;

    const RIGHT: &str = r#"{"city":"São \"P\"","location":"Sé","requestId":"1","forecastTime":"now","temperature":1,"condition":"Clear","humidity":5,"windSpeed":2.5}"#;

    fn question() -> Question {
        let place = Place {
            city: "São \"P\"".to_owned(),
            location: Some("Sé".to_owned()),
        };
        Question::new(&"http://localhost".parse().unwrap(), place)
    }

    fn outcome(status: u16, body: &str) -> Result<(), FailureKind> {
        let response = Response {
            status,
            head: b"",
            body: body.as_bytes(),
            keep_alive: true,
        };
        verify(&response, &question()).map_err(|failure| failure.kind)
    }

    #[test]
    fn the_usual_writing_is_recognised_without_parsing() {
        assert!(question().recognises(RIGHT.as_bytes()));
        assert_eq!(outcome(200, RIGHT), Ok(()));
    }

    #[test]
    fn the_same_json_written_differently_is_right_too() {
        let other = RIGHT.replace("\":", "\" : ").replace('é', "\\u00e9");
        assert!(!question().recognises(other.as_bytes()));
        assert_eq!(outcome(200, &other), Ok(()));
    }

    #[rstest]
    #[case(200, RIGHT.replace("São", "Sao"), FailureKind::WrongAnswer)]
    #[case(200, RIGHT.replace("Sé", "Se"), FailureKind::WrongAnswer)]
    #[case(200, RIGHT.replace("\"Sé\"", "null"), FailureKind::WrongAnswer)]
    #[case(200, "<html>".to_owned(), FailureKind::Unreadable)]
    #[case(503, RIGHT.to_owned(), FailureKind::Status503)]
    #[case(504, String::new(), FailureKind::Status504)]
    #[case(201, RIGHT.to_owned(), FailureKind::StatusOther)]
    fn anything_else_counts_as_its_kind(#[case] status: u16, #[case] body: String, #[case] kind: FailureKind) {
        assert_eq!(outcome(status, &body), Err(kind));
    }

    #[rstest]
    fn every_field_must_be_there(
        #[values(
            "city",
            "location",
            "requestId",
            "forecastTime",
            "temperature",
            "condition",
            "humidity",
            "windSpeed"
        )]
        field: &str,
    ) {
        let body = RIGHT.replace(&format!("\"{field}\""), "\"other\"");
        let response = Response {
            status: 200,
            head: b"",
            body: body.as_bytes(),
            keep_alive: true,
        };
        let failure = verify_in_full(&response, &question()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreadable);
        assert!(failure.detail.contains(field), "{failure}");
    }
}
