//! The operator's token. The one rule: its text is nowhere after it was read, neither in memory nor in a
//! message; what is kept is its hash, and what is compared are hashes.

use std::ffi::OsStr;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};

/// Shorter ones can be guessed.
const MIN_LENGTH: usize = 16;

/// Longer ones might not fit into a request's head.
const MAX_LENGTH: usize = 1024;

/// What an operator has to send: 16 to 1024 characters of visible ASCII.
#[derive(Clone)]
pub struct AdminToken([u8; SHA256_OUTPUT_LEN]);

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It sent no token, or not as a bearer.
    Missing,
    /// It sent another token.
    Wrong,
}

impl AdminToken {
    /// Takes a token from its text; `None` when it is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let acceptable =
            (MIN_LENGTH..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        acceptable.then(|| Self(hash(text.as_bytes())))
    }

    /// Judges a call by its headers.
    pub(super) fn admits(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let sent = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let offered = sent.and_then(bearer).ok_or(Refused::Missing)?;
        // Of hashes, so that the time tells nothing about the token's length either.
        verify_slices_are_equal(&hash(offered), &self.0).map_err(|_| Refused::Wrong)
    }
}

fn hash(text: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, text).as_ref());
    hash
}

/// The token in `Bearer <token>`; a scheme's case does not matter.
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credentials.split_at_checked("bearer ".len())?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(***)")
    }
}

/// Reads a token from the command line or the environment. A parser of our own, because clap repeats a
/// value that is refused.
#[derive(Debug, Clone, Copy)]
pub struct TokenParser;

impl TypedValueParser for TokenParser {
    type Value = AdminToken;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<AdminToken, clap::Error> {
        value.to_str().and_then(AdminToken::of).ok_or_else(|| {
            let argument = argument.map(Arg::to_string).unwrap_or_default();
            let message = format!(
                "invalid value for '{argument}': {MIN_LENGTH} to {MAX_LENGTH} characters of visible ASCII are expected \
                 (the value is not shown); without the variable there is no admin API"
            );
            command.clone().error(ErrorKind::ValueValidation, message)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "correct-horse-battery-staple";

    fn judge(credentials: &str) -> Result<(), Refused> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(credentials).unwrap())]);
        AdminToken::of(TOKEN).unwrap().admits(&headers)
    }

    #[rstest]
    #[case("Bearer correct-horse-battery-staple", Ok(()))]
    #[case("bearer correct-horse-battery-staple", Ok(()))]
    #[case("BEARER   correct-horse-battery-staple", Ok(()))]
    #[case("Bearer correct-horse-battery-stapl", Err(Refused::Wrong))]
    #[case("Bearer correct-horse-battery-staple2", Err(Refused::Wrong))]
    #[case("Bearer Correct-horse-battery-staple", Err(Refused::Wrong))]
    #[case("Bearer x", Err(Refused::Wrong))]
    #[case("Bearer ", Err(Refused::Missing))]
    #[case("Bearer", Err(Refused::Missing))]
    #[case("", Err(Refused::Missing))]
    #[case("Bearercorrect-horse-battery-staple", Err(Refused::Missing))]
    #[case("Basic correct-horse-battery-staple", Err(Refused::Missing))]
    #[case("correct-horse-battery-staple", Err(Refused::Missing))]
    fn only_the_whole_token_as_a_bearer_is_admitted(#[case] credentials: &str, #[case] verdict: Result<(), Refused>) {
        assert_eq!(judge(credentials), verdict);
    }

    #[test]
    fn a_call_without_the_header_is_not_admitted() {
        let token = AdminToken::of(TOKEN).unwrap();
        assert_eq!(token.admits(&HeaderMap::new()), Err(Refused::Missing));
    }

    #[test]
    fn what_could_be_guessed_or_not_be_sent_is_no_token() {
        for text in [&"x".repeat(16), &"~!".repeat(512)] {
            assert!(AdminToken::of(text).is_some(), "{text}");
        }
        for text in [
            "",
            &"x".repeat(15),
            &"x".repeat(1025),
            "sixteen letters, and blanks",
            "sixteen-letters\t",
            "schlüssel-schlüssel",
        ] {
            assert!(AdminToken::of(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn it_is_not_shown() {
        let token = AdminToken::of(TOKEN).unwrap();
        assert_eq!(format!("{token:?}"), "AdminToken(***)");
    }
}
