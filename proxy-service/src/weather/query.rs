//! What is asked of the weather: the `data` of a request entry, and the body of the HTTP call.

use roundtrip::service::problem::FieldError;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Place;
use super::contract::{MAX_CITY, MAX_DAYS, MAX_LOCATION};

/// A valid question: with `days`, for a forecast; without, for the weather now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeatherQuery {
    city: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<u8>,
}

/// The body of `POST /WeatherForecast/city`.
#[derive(Debug, ToSchema)]
#[allow(dead_code)] // The document of what `WeatherQuery::from_json` reads.
pub struct CityRequest {
    /// The city, 1 to 100 characters, not blank, without control characters.
    #[schema(min_length = 1, max_length = 100, example = "New York")]
    pub city: String,
    /// A place within the city, at most 200 characters, without control characters.
    #[schema(max_length = 200, example = "Downtown")]
    pub location: Option<String>,
}

/// Why a text is no valid question.
#[derive(Debug, PartialEq)]
pub enum QueryError {
    /// It is not readable JSON; the text says where.
    Unreadable(String),
    /// Its values are not accepted: all of them, in order.
    Invalid(Vec<FieldError>),
}

impl WeatherQuery {
    /// Asks for the weather now, or for a forecast of some days; values as they come from a query string.
    ///
    /// # Errors
    /// Every value that is not accepted.
    pub fn forecast(city: &str, days: Option<&str>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let city = text(city, MAX_CITY, true).unwrap_or_else(|detail| {
            errors.push(FieldError::in_query("city", detail));
            None
        });
        let days = match days.map(|text| text.trim().parse::<u8>()) {
            None => Some(DEFAULT_DAYS),
            Some(Ok(days)) if (1..=MAX_DAYS).contains(&days) => Some(days),
            Some(_) => {
                errors.push(FieldError::in_query("days", days_expected()));
                None
            }
        };
        match (city, errors.is_empty()) {
            (Some(city), true) => Ok(Self {
                city,
                location: None,
                days,
            }),
            _ => Err(errors),
        }
    }

    /// Reads a question from the `data` of a request entry. Members it does not know are ignored.
    ///
    /// # Errors
    /// [`QueryError`]: where the JSON breaks off, or every value that is not accepted.
    pub fn from_json(json: &[u8]) -> Result<Self, QueryError> {
        Self::read(json, days)
    }

    /// Reads a question for the weather now from a caller's body; `days` is no member of it.
    ///
    /// # Errors
    /// As [`WeatherQuery::from_json`].
    pub fn for_now(json: &[u8]) -> Result<Self, QueryError> {
        Self::read(json, |_, _| None)
    }

    fn read(
        json: &[u8],
        days: impl Fn(&Map<String, Value>, &mut Vec<FieldError>) -> Option<u8>,
    ) -> Result<Self, QueryError> {
        // The parser's own depth limit (128) answers nesting; it recurses no further.
        let value: Value = serde_json::from_slice(json).map_err(|error| QueryError::Unreadable(unreadable(&error)))?;
        let Value::Object(members) = value else {
            return Err(QueryError::Invalid(vec![FieldError::at("", "must be a JSON object")]));
        };
        let mut errors = Vec::new();
        let city = member(&members, "city", MAX_CITY, true, &mut errors);
        let location = member(&members, "location", MAX_LOCATION, false, &mut errors);
        let days = days(&members, &mut errors);
        match (city, errors.is_empty()) {
            (Some(city), true) => Ok(Self { city, location, days }),
            _ => Err(QueryError::Invalid(errors)),
        }
    }

    /// The question as the `data` of a request entry.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are always JSON")
    }

    /// The days of forecast asked for; `None` for the weather now.
    #[must_use]
    pub fn days(&self) -> Option<u8> {
        self.days
    }

    pub(super) fn into_place(self) -> Place {
        Place {
            city: self.city,
            location: self.location,
        }
    }
}

/// The days of forecast when none are given.
const DEFAULT_DAYS: u8 = 5;

fn member(
    members: &Map<String, Value>,
    name: &'static str,
    max: usize,
    required: bool,
    errors: &mut Vec<FieldError>,
) -> Option<String> {
    let outcome = match members.get(name) {
        None | Some(Value::Null) if required => Err("is required".to_owned()),
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => text(value, max, required),
        Some(_) => Err("must be a string".to_owned()),
    };
    outcome.unwrap_or_else(|detail| {
        errors.push(FieldError::at(format!("/{name}"), detail));
        None
    })
}

/// A text without surrounding white space; `None` when that leaves nothing.
fn text(value: &str, max: usize, required: bool) -> Result<Option<String>, String> {
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return if required {
            Err("must not be blank".to_owned())
        } else {
            Ok(None)
        };
    }
    let length = trimmed.chars().count();
    if length > max {
        return Err(format!("must have at most {max} characters, has {length}"));
    }
    // The trimmed characters count too: a line break is never meant.
    if value.chars().any(char::is_control) {
        return Err("must not have control characters".to_owned());
    }
    Ok(Some(trimmed.to_owned()))
}

fn days(members: &Map<String, Value>, errors: &mut Vec<FieldError>) -> Option<u8> {
    let value = members.get("days").filter(|value| !value.is_null())?;
    let days = value.as_u64().and_then(|days| u8::try_from(days).ok());
    let days = days.filter(|days| (1..=MAX_DAYS).contains(days));
    if days.is_none() {
        errors.push(FieldError::at("/days", days_expected()));
    }
    days
}

fn days_expected() -> String {
    format!("must be a whole number from 1 to {MAX_DAYS}")
}

/// The parser's words about the syntax, with line and column; they repeat nothing of the body.
fn unreadable(error: &serde_json::Error) -> String {
    format!("the body is not readable JSON: {error}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn errors(json: &str) -> Vec<(String, String)> {
        match WeatherQuery::from_json(json.as_bytes()) {
            Err(QueryError::Invalid(errors)) => errors
                .into_iter()
                .map(|error| (error.pointer.unwrap().into_owned(), error.detail))
                .collect(),
            other => panic!("{json}: {other:?}"),
        }
    }

    #[rstest]
    #[case("{}", "/city", "is required")]
    #[case(r#"{"city":null}"#, "/city", "is required")]
    #[case(r#"{"city":""}"#, "/city", "must not be blank")]
    #[case(r#"{"city":" \t "}"#, "/city", "must not be blank")]
    #[case(r#"{"city":7}"#, "/city", "must be a string")]
    #[case(r#"{"city":["Oslo"]}"#, "/city", "must be a string")]
    #[case(r#"{"city":"Os\u0000lo"}"#, "/city", "must not have control characters")]
    #[case(r#"{"city":"Oslo\n"}"#, "/city", "must not have control characters")]
    #[case(r#"{"city":"Oslo","location":5}"#, "/location", "must be a string")]
    #[case(
        r#"{"city":"Oslo","location":"a\u001bb"}"#,
        "/location",
        "must not have control characters"
    )]
    #[case(r#"{"city":"Oslo","days":0}"#, "/days", "must be a whole number from 1 to 16")]
    #[case(r#"{"city":"Oslo","days":"5"}"#, "/days", "must be a whole number from 1 to 16")]
    #[case(r#"{"city":"Oslo","days":1e9}"#, "/days", "must be a whole number from 1 to 16")]
    #[case("[]", "", "must be a JSON object")]
    #[case("\"Oslo\"", "", "must be a JSON object")]
    fn a_wrong_value_is_named_with_what_is_accepted(#[case] json: &str, #[case] pointer: &str, #[case] detail: &str) {
        assert_eq!(errors(json), [(pointer.to_owned(), detail.to_owned())]);
    }

    #[test]
    fn all_wrong_values_are_named_at_once() {
        let json = format!(
            r#"{{"city":"{}","location":"{}","days":99}}"#,
            "x".repeat(101),
            "y".repeat(201)
        );
        let pointers: Vec<_> = errors(&json).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, ["/city", "/location", "/days"]);
    }

    #[test]
    fn lengths_count_characters_not_bytes() {
        let json = format!(r#"{{"city":"{}","location":"{}"}}"#, "é".repeat(100), "日".repeat(200));
        assert!(WeatherQuery::from_json(json.as_bytes()).is_ok());
    }

    #[rstest]
    #[case(b"" as &[u8])]
    #[case(b"{")]
    #[case(b"{\"city\":\"\xff\"}")]
    #[case(b"{\"city\":\"Oslo\"} trailing")]
    fn what_is_no_json_is_unreadable(#[case] body: &[u8]) {
        assert!(matches!(WeatherQuery::from_json(body), Err(QueryError::Unreadable(_))));
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let body = open.repeat(100_000) + "1" + &close.repeat(100_000);
            let outcome = WeatherQuery::from_json(body.as_bytes());
            assert!(matches!(outcome, Err(QueryError::Unreadable(_))));
        }
    }

    #[test]
    fn a_callers_body_has_no_days() {
        let query = WeatherQuery::for_now(br#"{"city":"Oslo","days":99}"#).unwrap();
        assert_eq!(query.days(), None);
    }

    #[test]
    fn it_reads_back_as_it_was_written() {
        let query = WeatherQuery::from_json(br#"{"city":" New York ","location":"Downtown","other":1}"#).unwrap();
        assert_eq!(query.to_json(), br#"{"city":"New York","location":"Downtown"}"#);
        assert_eq!(WeatherQuery::from_json(&query.to_json()), Ok(query));
    }

    #[test]
    fn a_query_string_has_five_days_by_default_and_names_its_parameters() {
        assert_eq!(WeatherQuery::forecast("Oslo", None).unwrap().days(), Some(5));
        let errors = WeatherQuery::forecast(" ", Some("17")).unwrap_err();
        let parameters: Vec<_> = errors.iter().map(|error| error.parameter.clone().unwrap()).collect();
        assert_eq!(parameters, ["city", "days"]);
    }
}
