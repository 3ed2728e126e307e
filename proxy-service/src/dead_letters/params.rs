//! What a caller asks for, read from its URL. Every refusal names the parameter and what is accepted.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use roundtrip::Partition;
use roundtrip::broker::{LetterId, Position};
use roundtrip::http::page::Page;
use roundtrip::http::parameters::Parameters;
use roundtrip::http::problem::{FieldError, Problem, ProblemType};

/// Reads the parameters of a page; all that are not accepted are named at once. `before` is an older name of `cursor`.
pub(super) fn page(parameters: &Parameters) -> Result<Page<LetterId>, Problem> {
    let [limit, cursor, before] = parameters.read(["limit", "cursor", "before"])?;
    let mut errors = Vec::new();
    let page = Page::read(limit, [("cursor", cursor), ("before", before)], read_id, &mut errors);
    match errors.is_empty() {
        true => Ok(page),
        false => Err(Problem::validation(errors)),
    }
}

/// Reads the id in a path.
pub(super) fn id(path: Result<Path<String>, PathRejection>) -> Result<LetterId, Problem> {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let id = read_id(&text).ok_or_else(|| {
        let expected = "the id of a dead letter is expected, such as 1763687432117-0";
        Problem::validation(vec![FieldError::in_query("id", expected)])
    })?;
    // One beyond all ids was cut to the last of them, which may be there.
    if id.to_string() == text {
        Ok(id)
    } else {
        Err(not_found())
    }
}

pub(super) fn not_found() -> Problem {
    Problem::new(ProblemType::NotFound, "there is no dead letter of this id")
}

fn read_id(text: &str) -> Option<LetterId> {
    let (millis, rest) = text.split_once('-')?;
    let (sequence, part) = rest.split_at(rest.find('-').unwrap_or(rest.len()));
    Some(LetterId {
        at: Position {
            millis: number(millis)?,
            sequence: number(sequence)?,
        },
        partition: Partition::parse_suffix(part.as_bytes())?,
    })
}

/// A number of up to twenty digits, cut to the largest there is: the document's pattern cannot tell them apart. One
/// spelling only: `01-0` and `+1-0` name no letter that was ever listed.
fn number(text: &str) -> Option<u64> {
    let is_plain = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_plain && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn page(parameters: &[(&str, &str)]) -> Result<Page<LetterId>, Problem> {
        let pairs: Vec<_> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace('+', "%2B")))
            .collect();
        super::page(&Parameters::of(&pairs.join("&")))
    }

    fn id(text: &str) -> Result<LetterId, Problem> {
        super::id(Ok(Path(text.to_owned())))
    }

    #[test]
    fn a_page_has_a_size_and_a_beginning() {
        let read = |parameters| page(parameters).unwrap();
        let newest = |limit| Page { limit, before: None };
        assert_eq!(read(&[]), newest(20));
        assert_eq!(read(&[("limit", "1")]), newest(1));
        assert_eq!(read(&[("limit", "100")]), newest(100));
        for name in ["cursor", "before"] {
            let before = page(&[(name, "1763687432117-3")]).unwrap().before.unwrap();
            assert_eq!((before.at.millis, before.at.sequence), (1_763_687_432_117, 3), "{name}");
        }
        let beyond = read(&[("before", "99999999999999999999-1")]).before.unwrap();
        assert_eq!((beyond.at.millis, beyond.at.sequence), (u64::MAX, 1));
    }

    #[rstest]
    #[case("limit", "0")]
    #[case("cursor", "yesterday")]
    #[case("before", "")]
    #[case("before", "1763687432117")]
    #[case("before", "1763687432117-")]
    #[case("before", "1763687432117-0-0")]
    #[case("before", "01-0")]
    #[case("before", "+1-0")]
    #[case("before", "(1-0")]
    #[case("before", "+")]
    #[case("before", "1-99999999999999999999999")]
    fn what_is_not_accepted_is_named(#[case] name: &str, #[case] value: &str) {
        let problem = format!("{:?}", page(&[(name, value)]).unwrap_err());
        let expected = format!("parameter: Some({name:?})");
        assert!(
            problem.contains(&expected) && problem.contains("is expected"),
            "{problem}"
        );
    }

    #[test]
    fn all_that_is_not_accepted_is_named_at_once() {
        let problem = format!("{:?}", page(&[("limit", "x"), ("before", "y")]).unwrap_err());
        assert!(problem.contains("limit") && problem.contains("before"), "{problem}");
    }

    #[test]
    fn an_id_is_read_in_the_spelling_it_is_listed_in() {
        let at = Position { millis: 1, sequence: 2 };
        assert_eq!(id("1-2").unwrap(), LetterId::of(at));
        for text in ["1", "1-2 ", "-", "*", "1-02", "$"] {
            assert!(id(text).is_err(), "{text:?}");
        }
        let last = format!("{}-1", u64::MAX);
        assert_eq!(id(&last).unwrap().to_string(), last);
        assert_eq!(id("18446744073709551616-1").unwrap_err().kind(), ProblemType::NotFound);
    }
}
