//! The Host header. A request that names no host, several, or none that can be, may mean one thing here and another to
//! whatever stands before or behind: <https://www.rfc-editor.org/rfc/rfc9112#section-3.2>

use std::net::Ipv6Addr;
use std::str::FromStr as _;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Version};

use crate::http::problem::{Problem, ProblemType};

/// Says what is wrong with a request's host.
pub(super) fn refuse(version: Version, headers: &HeaderMap) -> Option<Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let detail = match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => return None,
        (None, _) if version < Version::HTTP_11 => return None,
        (None, _) => "header Host: one is expected, and there is none",
        (Some(_), Some(_)) => "header Host: one is expected, and there are several",
        (Some(_), None) => "header Host: a name or an address is expected, with or without a port",
    };
    Some(Problem::new(ProblemType::BadRequest, detail))
}

/// `uri-host [ ":" port ]`, of which all may be empty: <https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2>
fn is_host(value: &[u8]) -> bool {
    let (is_name, port) = match value.strip_prefix(b"[") {
        Some(literal) => {
            let end = literal.iter().position(|byte| *byte == b']');
            let (address, port) = literal.split_at(end.unwrap_or(literal.len()));
            (is_address(address), port.strip_prefix(b"]"))
        }
        None => {
            let end = value.iter().position(|byte| *byte == b':');
            let (name, port) = value.split_at(end.unwrap_or(value.len()));
            (is_name(name), Some(port))
        }
    };
    is_name
        && match port {
            Some([b':', digits @ ..]) => digits.iter().all(u8::is_ascii_digit),
            Some(rest) => rest.is_empty(),
            None => false,
        }
}

/// IPv6, or what may come after it.
fn is_address(literal: &[u8]) -> bool {
    match literal {
        [b'v' | b'V', future @ ..] => future.iter().all(|byte| *byte == b':' || is_plain(*byte)),
        _ => Ipv6Addr::from_str(str::from_utf8(literal).unwrap_or_default()).is_ok(),
    }
}

fn is_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        let accepted = match byte {
            b'%' => bytes.next().is_some_and(u8::is_ascii_hexdigit) && bytes.next().is_some_and(u8::is_ascii_hexdigit),
            other => is_plain(*other),
        };
        if !accepted {
            return false;
        }
    }
    true
}

/// Unreserved characters and sub-delimiters.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}
