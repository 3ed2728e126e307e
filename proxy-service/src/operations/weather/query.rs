//! What is asked of the weather: the `data` of a request entry, and the body of the HTTP call.

use std::fmt;

use roundtrip::http::parameters::Parameters;
use roundtrip::http::problem::{FieldError, Problem};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Place;
use super::contract::{MAX_CITY, MAX_DAYS, MAX_LOCATION};
use super::name::{city_schema, location_schema, text};

/// A valid question: with `days`, for a forecast; without, for the weather now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeatherQuery {
    city: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<u8>,
}

/// The body of `POST /WeatherForecast/city`. Other members are ignored; none may be there twice.
#[derive(Debug, ToSchema)]
#[allow(dead_code)] // The document of what `WeatherQuery::from_json` reads.
pub struct CityRequest {
    /// The city.
    #[schema(schema_with = city_schema)]
    pub city: String,
    /// A place within the city.
    #[schema(schema_with = location_schema, required = false)]
    pub location: Option<String>,
}

/// The parameters of a forecast. None may be there twice.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The document of what `WeatherQuery::forecast` reads.
pub struct ForecastParameters {
    /// The city, 1 to 100 characters; New York by default
    #[param(schema_with = city_schema, required = false)]
    pub city: Option<String>,
    /// Days of forecast, 1 to 16; 5 by default
    #[param(value_type = u8, required = false, minimum = 1, maximum = 16)]
    pub days: Option<u8>,
}

/// Why a text is no valid question.
#[derive(Debug, PartialEq)]
pub enum QueryError {
    /// It is not readable JSON; the text says where.
    Unreadable(String),
    /// Its values are not accepted: all of them, in order.
    Invalid(Vec<FieldError>),
}

impl<'de> Deserialize<'de> for WeatherQuery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?;
        Self::from_json(json.get().as_bytes()).map_err(|error| D::Error::custom(format!("{error:?}")))
    }
}

impl WeatherQuery {
    /// Asks for a forecast of some days, with the parameters of a query string.
    ///
    /// # Errors
    /// A problem that names every parameter that cannot be read (400), or whose value is not accepted (422).
    pub fn forecast(parameters: &Parameters) -> Result<Self, Problem> {
        let [city, days] = parameters.read(["city", "days"])?;
        let mut errors = Vec::new();
        let city = text(city.as_deref().unwrap_or(DEFAULT_CITY), MAX_CITY, true).unwrap_or_else(|detail| {
            errors.push(FieldError::in_query("city", detail));
            None
        });
        let days = match days.map(|text| text.parse::<u8>()) {
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
            _ => Err(Problem::validation(errors)),
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
        let members = members(json)?;
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

/// The city of a forecast that names none.
const DEFAULT_CITY: &str = "New York";

/// The days of forecast when none are given.
const DEFAULT_DAYS: u8 = 5;

/// The parser's own depth limit (128) answers nesting; it recurses no further.
fn members(json: &[u8]) -> Result<Map<String, Value>, QueryError> {
    let unreadable = |error| QueryError::Unreadable(unreadable(&error));
    let is_object = json.trim_ascii_start().starts_with(b"{");
    if !is_object {
        serde_json::from_slice::<Value>(json).map_err(unreadable)?;
        return Err(QueryError::Invalid(vec![FieldError::at("", "must be a JSON object")]));
    }
    let Members(members) = serde_json::from_slice(json).map_err(unreadable)?;
    Ok(members)
}

/// Members with a name each: of two with one name this parser would take the last, and another one the first
/// (<https://www.rfc-editor.org/rfc/rfc8259#section-4>).
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(place) => place.insert(access.next_value()?),
                Entry::Occupied(taken) => {
                    let shown: String = taken.key().chars().take(MAX_SHOWN).collect();
                    let message = format_args!("the member {shown:?} is there twice, and one is expected");
                    return Err(A::Error::custom(message));
                }
            };
        }
        Ok(Members(members))
    }
}

/// The most characters of a caller's own words that are repeated to it.
const MAX_SHOWN: usize = 40;

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
    #[case(b"{\"city\":\"Oslo\",\"city\":\"Oslo\"}")]
    #[case(b"{\"city\":\"Oslo\",\"days\":1,\"d\\u0061ys\":2}")]
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
        let forecast = |query| WeatherQuery::forecast(&Parameters::of(query));
        assert_eq!(forecast("city=Oslo").unwrap().days(), Some(5));
        assert_eq!(forecast("").unwrap().to_json(), br#"{"city":"New York","days":5}"#);
        let problem = String::from_utf8(forecast("city=+&days=17").unwrap_err().to_json()).unwrap();
        for name in ["city", "days"] {
            assert!(problem.contains(&format!(r#""parameter":"{name}""#)), "{problem}");
        }
    }
}
