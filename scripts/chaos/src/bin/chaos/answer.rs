//! From a response to what its caller got. Whatever is not clearly an answer to this very request is named as damage.

use load_test::answer::Weather;
use load_test::failure::{Failure, FailureKind};
use load_test::response::Response;
use roundtrip::http::problem::ProblemType;
use serde::Deserialize;

use crate::history::End;

/// The most of a text that a finding shows, in characters.
const SHOWN: usize = 120;

/// As much of a problem document as must be right.
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    status: u16,
}

/// As much of an answer as names its request.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "requestId")]
    id: String,
}

/// What an answer over HTTP is to the caller who asked for `nonce`.
pub(crate) fn end_of(response: &Response<'_>, nonce: &str) -> End {
    let Response { status, body, .. } = *response;
    match status {
        200 => return weather(body, nonce).map_or_else(|end| end, |()| End::Ok),
        202 if location_of(response).is_some() => return End::Promised,
        _ => {}
    }
    let problem = serde_json::from_slice::<Problem>(body)
        .ok()
        .filter(|problem| problem.status == status);
    // The types' own text, so that a history needs no copies of it.
    let known = problem.and_then(|problem| {
        let kinds = ProblemType::ALL.iter().map(|kind| kind.uri());
        kinds.into_iter().find(|uri| *uri == problem.kind)
    });
    match known {
        Some(kind) => End::Problem(status, kind),
        None => damaged(&format!("status {status}"), body),
    }
}

/// The id of the request that a caller is told to ask for.
pub(crate) fn location_of(response: &Response<'_>) -> Option<String> {
    let id = response.header("Location")?.strip_prefix("/requests/")?;
    Some(id.to_owned())
}

/// The id of the request that an answer is to.
pub(crate) fn request_in(body: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    Some(answer.id)
}

/// Checks that `body` is the whole weather for `nonce`.
pub(crate) fn weather(body: &[u8], nonce: &str) -> Result<(), End> {
    match serde_json::from_slice::<Weather>(body) {
        Ok(weather) if weather.city == nonce => Ok(()),
        Ok(weather) => Err(End::Foreign(shown(&weather.city))),
        Err(error) => Err(damaged(&error.to_string(), body)),
    }
}

/// What a failed exchange is to its caller.
pub(crate) fn end_of_failure(failure: Failure) -> End {
    match failure.kind {
        FailureKind::Connect => End::TurnedAway,
        FailureKind::Timeout => End::Silent,
        FailureKind::Unreadable => End::Damaged(failure.detail),
        _ => End::Broken(failure.detail),
    }
}

fn damaged(why: &str, body: &[u8]) -> End {
    End::Damaged(format!("{why}: {}", shown(&String::from_utf8_lossy(body))))
}

/// As much of a text as a finding shows.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"city":"good-00000001-1","location":null,"requestId":"1","forecastTime":"now","temperature":1,"condition":"Clear","humidity":5,"windSpeed":2.5}"#;

    /// What a caller who asked for this makes of a response.
    fn end_of(status: u16, body: &[u8], nonce: &str) -> End {
        let response = Response {
            status,
            head: b"",
            body,
            keep_alive: true,
        };
        super::end_of(&response, nonce)
    }

    #[test]
    fn a_promise_says_where_to_ask() {
        let promise = |head| Response {
            status: 202,
            head,
            body: b"{}",
            keep_alive: true,
        };
        let good = promise(b"HTTP/1.1 202 Accepted\r\nlocation: /requests/1-2\r\n\r\n");
        assert_eq!(super::end_of(&good, "x"), End::Promised);
        assert_eq!(location_of(&good).as_deref(), Some("1-2"));
        for head in [
            &b"HTTP/1.1 202 Accepted\r\n\r\n"[..],
            b"HTTP/1.1 202 Accepted\r\nlocation: /\r\n\r\n",
        ] {
            assert!(matches!(super::end_of(&promise(head), "x"), End::Damaged(_)));
        }
        assert_eq!(request_in(BODY.as_bytes()).as_deref(), Some("1"));
    }

    #[test]
    fn only_a_whole_answer_with_the_right_nonce_is_well() {
        assert_eq!(end_of(200, BODY.as_bytes(), "good-00000001-1"), End::Ok);
        let other = end_of(200, BODY.as_bytes(), "good-00000001-2");
        assert_eq!(other, End::Foreign("good-00000001-1".to_owned()));
        let short = BODY.replace("\"windSpeed\":2.5", "\"x\":0");
        assert!(matches!(
            end_of(200, short.as_bytes(), "good-00000001-1"),
            End::Damaged(_)
        ));
        assert!(matches!(end_of(200, b"", "good-00000001-1"), End::Damaged(_)));
    }

    #[test]
    fn what_is_large_is_not_shown_whole() {
        let large = BODY.replace("good-00000001-1", &"x".repeat(1 << 20));
        for end in [
            end_of(200, large.as_bytes(), "good-00000001-1"),
            end_of(200, &large.as_bytes()[1..], "x"),
        ] {
            let (End::Foreign(text) | End::Damaged(text)) = end else {
                panic!("{end:?}");
            };
            assert!(text.len() < 300 && text.ends_with('…'), "{text}");
        }
    }

    #[test]
    fn a_problem_is_known_by_its_type_and_its_status() {
        let body = br#"{"type":"/problems/overloaded","status":503}"#;
        assert_eq!(end_of(503, body, "x"), End::Problem(503, "/problems/overloaded"));
        assert!(matches!(end_of(500, body, "x"), End::Damaged(_)));
        let unheard_of = br#"{"type":"/problems/new","status":503}"#;
        assert!(matches!(end_of(503, unheard_of, "x"), End::Damaged(_)));
    }
}
