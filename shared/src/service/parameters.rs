//! The parameters of a query string. The rule: what cannot be read in one way only, because it is there twice or is no
//! UTF-8, is refused by name and not guessed; parameters that nobody asks for are ignored, however they look.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::problem::{FieldError, Problem, ProblemType};

/// The query string of a call, as it was sent.
#[derive(Debug, Clone, Default)]
pub struct Parameters(String);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Parameters {
    /// The parameters in a query string.
    #[must_use]
    pub fn of(query: &str) -> Self {
        Self(query.to_owned())
    }

    /// The values of the parameters of these names; `None` for one that is not there.
    ///
    /// # Errors
    /// A problem (400) that names every one of them that is there more than once, or is no UTF-8.
    pub fn read<const N: usize>(&self, names: [&'static str; N]) -> Result<[Option<String>; N], Problem> {
        let mut errors = Vec::new();
        let values = names.map(|name| {
            self.one(name).unwrap_or_else(|detail| {
                errors.push(FieldError::in_query(name, detail));
                None
            })
        });
        if errors.is_empty() {
            return Ok(values);
        }
        let detail = "at least one parameter cannot be read; see errors";
        Err(Problem::new(ProblemType::BadRequest, detail).with_errors(errors))
    }

    fn one(&self, name: &str) -> Result<Option<String>, &'static str> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(theirs, _)| decoded(theirs) == name.as_bytes());
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
        Parameters::of(query).read(["city", "days"])
    }

    #[test]
    fn values_are_decoded_and_others_ignored() {
        let values = |query| read(query).unwrap().map(Option::unwrap_or_default);
        assert_eq!(values(""), ["", ""]);
        assert_eq!(values("days=5&city=New+York"), ["New York", "5"]);
        assert_eq!(values("c%69ty=Z%C3%BCrich%2B&x=1&x=%ff&%ff&&=&"), ["Z\u{fc}rich+", ""]);
        assert_eq!(values("city=a=b%zz%"), ["a=b%zz%", ""]);
        assert_eq!(read("city&Days=1").unwrap(), [Some(String::new()), None]);
    }

    #[test]
    fn all_that_cannot_be_read_is_named_at_once() {
        for query in [
            "city=%ff&days=1&days=1",
            "city=1&city=2&days=%C3",
            "city=1&%63ity=1&days=a%ED%A0%80",
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(problem.kind(), ProblemType::BadRequest);
            let said = String::from_utf8(problem.to_json()).unwrap();
            for part in [
                r#""parameter":"city""#,
                r#""parameter":"days""#,
                "UTF-8",
                "one is expected",
            ] {
                assert!(said.contains(part), "{query}: {part} is missing in {said}");
            }
        }
    }
}
