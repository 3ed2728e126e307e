//! The Idempotency-Key header
//! ([IETF draft](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)): a call with the same key
//! and the same content is the same call. A key counts for one route.

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use roundtrip::Tenant;
use roundtrip::broker::IdempotencyKey;
use roundtrip::http::problem::{Problem, ProblemType};

/// The header.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in bytes.
const LONGEST: usize = 255;

/// A key as a caller sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerKey(Vec<u8>);

impl CallerKey {
    /// Reads the key of a call. The draft's form is a quoted string; bare ones are about as common.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(refuse("header Idempotency-Key: one is expected, not several"));
        }
        let Some(key) = unquoted(value.as_bytes()) else {
            return Err(refuse(
                "header Idempotency-Key: 1 to 255 characters of visible ASCII are expected, bare or as a quoted string",
            ));
        };
        Ok(Some(Self(key)))
    }

    /// What stands for a tenant's key, and for what is asked for, on `route`.
    #[must_use]
    pub fn digest(&self, tenant: &Tenant, route: &str, asked: &[u8]) -> IdempotencyKey {
        IdempotencyKey {
            name: digest(tenant, route, &self.0),
            fingerprint: digest(tenant, route, asked),
        }
    }
}

fn refuse(detail: &'static str) -> Problem {
    Problem::new(ProblemType::MalformedIdempotencyKey, detail)
}

/// The content of a quoted string ([RFC 8941](https://www.rfc-editor.org/rfc/rfc8941#section-3.3.3)), or a bare key.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let key = match value {
        [b'"', quoted @ .., b'"'] => unescaped(quoted)?,
        [b'"', ..] | [.., b'"'] => return None,
        bare => bare.to_vec(),
    };
    let is_fit = |byte: &u8| byte.is_ascii_graphic() || (*byte == b' ' && value.starts_with(b"\""));
    ((1..=LONGEST).contains(&key.len()) && key.iter().all(is_fit)).then_some(key)
}

fn unescaped(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = quoted.iter().copied();
    let mut key = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        key.push(match byte {
            b'\\' => bytes.next().filter(|escaped| matches!(escaped, b'\\' | b'"'))?,
            b'"' => return None,
            other => other,
        });
    }
    Some(key)
}

/// Of all, and of where each ends. The default tenant has no part in it: its keys are those of versions that knew none.
fn digest(tenant: &Tenant, route: &str, rest: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    if let Some(tenant) = tenant.name() {
        // No method begins so.
        context.update(b"\x01");
        context.update(tenant.as_bytes());
        context.update(b"\0");
    }
    context.update(route.as_bytes());
    context.update(b"\0");
    context.update(rest);
    let digest = context.finish();
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(value: &[u8]) -> Result<Option<CallerKey>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        CallerKey::of(&headers)
    }

    #[test]
    fn a_key_may_be_quoted_or_bare() {
        let bare = read(b"8e03978e-40d5-43dd-bc93-6894a57f9324").unwrap();
        assert_eq!(read(b"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"").unwrap(), bare);
        assert_eq!(
            read(br#""with \"quotes\" and spaces""#).unwrap().unwrap().0,
            b"with \"quotes\" and spaces"
        );
        assert!(read(&[b'x'; 255]).unwrap().is_some());
        assert_eq!(CallerKey::of(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for value in [
            &b""[..],
            b"\"\"",
            b"\"open",
            b"a b",
            b"a\tb",
            b"\xc3\xa9",
            b"\"a\\b\"",
            b"\"a\"b\"",
            &[b'x'; 256],
        ] {
            let problem = read(value).unwrap_err();
            assert_eq!(problem.kind(), ProblemType::MalformedIdempotencyKey, "{value:?}");
        }
        let mut two = HeaderMap::new();
        two.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        two.append(IDEMPOTENCY_KEY, HeaderValue::from_static("b"));
        assert!(CallerKey::of(&two).is_err());
    }

    #[test]
    fn a_key_counts_for_its_route_and_its_content() {
        let key = CallerKey(b"k".to_vec());
        let one = key.digest(&Tenant::default(), "POST /a", b"{}");
        assert_eq!(one, key.digest(&Tenant::default(), "POST /a", b"{}"));
        assert_ne!(one.name, key.digest(&Tenant::default(), "POST /b", b"{}").name);
        assert_ne!(
            one.fingerprint,
            key.digest(&Tenant::default(), "POST /a", b"{ }").fingerprint
        );
        assert_ne!(
            one.name,
            CallerKey(b"K".to_vec())
                .digest(&Tenant::default(), "POST /a", b"{}")
                .name
        );
    }
}
