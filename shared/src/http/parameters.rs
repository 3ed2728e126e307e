//! The parameters of a query string. The rule: what cannot be read in one way only, because it is there twice, is no
//! UTF-8, or has a name that the route does not know, is refused by name and not guessed.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::http::problem::{FieldError, Problem, ProblemType};

/// Unknown parameters that are named at once; of each name, the first characters.
const MAX_NAMED: usize = 10;
const MAX_NAME: usize = 64;

/// The query string of a call, as it was sent.
#[derive(Debug, Clone, Default)]
pub struct Parameters(String);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

/// Says that a route takes no parameters.
#[derive(Debug)]
pub struct NoParameters;

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(query) => Parameters::of(query).read([]).map(|[]| Self),
        }
    }
}

impl Parameters {
    /// The parameters in a query string.
    #[must_use]
    pub fn of(query: &str) -> Self {
        Self(query.to_owned())
    }

    /// The values of the parameters of these names, which are all that the route knows; `None` for one that is not there.
    ///
    /// # Errors
    /// A problem (400) that names every one of them that is there more than once, or is no UTF-8, and those that the route
    /// does not know.
    pub fn read<const N: usize>(&self, names: [&'static str; N]) -> Result<[Option<String>; N], Problem> {
        let mut errors = Vec::new();
        let values = names.map(|name| {
            self.one(name).unwrap_or_else(|detail| {
                errors.push(FieldError::in_query(name, detail));
                None
            })
        });
        errors.extend(self.unknown(&names));
        if errors.is_empty() {
            return Ok(values);
        }
        let detail = "at least one parameter cannot be read; see errors";
        Err(Problem::new(ProblemType::BadRequest, detail).with_errors(errors))
    }

    /// The first of those whose names are none of these.
    fn unknown(&self, names: &[&'static str]) -> impl Iterator<Item = FieldError> {
        let accepted = move || match names {
            [] => "there is no such parameter; this route takes none".to_owned(),
            names => format!("there is no such parameter; this route takes {}", names.join(", ")),
        };
        let theirs = self.pairs().map(|(name, _)| decoded(name));
        let unknown: BTreeSet<_> = theirs
            .filter(|name| !names.iter().any(|known| known.as_bytes() == name))
            .map(|name| {
                String::from_utf8_lossy(&name)
                    .chars()
                    .take(MAX_NAME)
                    .collect::<String>()
            })
            .collect();
        let named = unknown.into_iter().take(MAX_NAMED);
        named.map(move |name| FieldError::in_query(name, accepted()))
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn one(&self, name: &str) -> Result<Option<String>, &'static str> {
        let mut values = self.pairs().filter(|(theirs, _)| decoded(theirs) == name.as_bytes());
        let Some((_, value)) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err("one is expected, not several");
        }
        let text = String::from_utf8(decoded(value));
        text.map(Some).map_err(|_| "text in UTF-8 is expected, percent-encoded")
    }
}

/// As forms are encoded (<https://url.spec.whatwg.org/#urlencoded-parsing>).
fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<[Option<String>; 2], Problem> {
        Parameters::of(query).read(["name", "size"])
    }

    #[test]
    fn values_are_decoded() {
        let values = |query| read(query).unwrap().map(Option::unwrap_or_default);
        assert_eq!(values(""), ["", ""]);
        assert_eq!(values("size=5&name=New+York"), ["New York", "5"]);
        assert_eq!(values("n%61me=Z%C3%BCrich%2B&&"), ["Z\u{fc}rich+", ""]);
        assert_eq!(values("name=a=b%zz%"), ["a=b%zz%", ""]);
        assert_eq!(read("name").unwrap(), [Some(String::new()), None]);
    }

    #[test]
    fn what_the_route_does_not_know_is_refused_by_name() {
        for (query, named) in [
            ("name=Oslo&Size=1", "Size"),
            ("x=1&x=2", "x"),
            ("=1", ""),
            ("%ff", "\u{fffd}"),
            ("caf%C3%A9", "caf\u{e9}"),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(problem.kind(), ProblemType::BadRequest);
            let said: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
            let errors = said["errors"].as_array().unwrap();
            assert_eq!(
                (errors.len(), errors[0]["parameter"].as_str()),
                (1, Some(named)),
                "{query}"
            );
            let detail = errors[0]["detail"].as_str().unwrap();
            assert_eq!(detail, "there is no such parameter; this route takes name, size");
        }
        assert!(Parameters::of("a=1").read([]).is_err() && Parameters::of("&").read([]).is_ok());
    }

    #[test]
    fn many_and_long_names_are_not_all_repeated() {
        let query: Vec<_> = (0..1000).map(|n| format!("{n}{}", "x".repeat(500))).collect();
        let said = read(&query.join("&")).unwrap_err().to_json();
        assert!(said.len() < 4096, "{}", said.len());
    }

    #[test]
    fn all_that_cannot_be_read_is_named_at_once() {
        for query in [
            "name=%ff&size=1&size=1",
            "name=1&name=2&size=%C3",
            "name=1&%6Eame=1&size=a%ED%A0%80",
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(problem.kind(), ProblemType::BadRequest);
            let said = String::from_utf8(problem.to_json()).unwrap();
            for part in [
                r#""parameter":"name""#,
                r#""parameter":"size""#,
                "UTF-8",
                "one is expected",
            ] {
                assert!(said.contains(part), "{query}: {part} is missing in {said}");
            }
        }
    }
}
