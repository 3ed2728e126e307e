//! BROKER_URL: one URL chooses the backend. A password in it never reaches a log.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionInfo, IntoConnectionInfo};

/// Which backend to use, and where it is.
#[derive(Clone)]
pub enum BrokerUrl {
    /// `memory://`: requests and replies live in this process and die with it.
    Memory,
    /// `redis://[user:pass@]host[:port][/db]`, or `rediss://…` for TLS.
    Redis(Box<ConnectionInfo>),
}

impl BrokerUrl {
    /// Whether requests live in this process only.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Memory)
    }
}

/// A text that names no backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidBrokerUrl(&'static str);

impl fmt::Display for InvalidBrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; accepted are memory://, redis://[user:pass@]host[:port][/db] and rediss://…",
            self.0
        )
    }
}

impl std::error::Error for InvalidBrokerUrl {}

impl FromStr for BrokerUrl {
    type Err = InvalidBrokerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = url::Url::parse(text).map_err(|_| InvalidBrokerUrl("not a URL"))?;
        match url.scheme() {
            "memory" if text.trim_end_matches('/') == "memory:" => Ok(Self::Memory),
            "memory" => Err(InvalidBrokerUrl("memory:// takes no host or path")),
            "redis" | "rediss" if url.host_str().is_none_or(str::is_empty) => Err(InvalidBrokerUrl("no host")),
            "redis" | "rediss" if url.fragment().is_some() => Err(InvalidBrokerUrl(
                "no #fragment is accepted, as certificates are always verified",
            )),
            "redis" | "rediss" => url
                .into_connection_info()
                .map(|info| Self::Redis(Box::new(info)))
                .map_err(|_| InvalidBrokerUrl("not a Redis URL")),
            _ => Err(InvalidBrokerUrl("unknown scheme")),
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory://"),
            Self::Redis(info) => {
                let scheme = match info.addr() {
                    redis::ConnectionAddr::TcpTls { .. } => "rediss",
                    _ => "redis",
                };
                write!(f, "{scheme}://{}/{}", info.addr(), info.redis_settings().db())
            }
        }
    }
}

// Derived Debug would print the password.
impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url: BrokerUrl = "redis://user:secret@example.org:6380/3".parse().unwrap();
        assert_eq!(url.to_string(), "redis://example.org:6380/3");
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn malformed_urls_are_refused_with_what_is_accepted() {
        for text in [
            "",
            "localhost:6379",
            "redis:",
            "redis://",
            "http://x",
            "memory://x",
            "redis://h:99999",
            "redis://h/db",
            "rediss://h#insecure",
        ] {
            let error = text.parse::<BrokerUrl>().unwrap_err().to_string();
            assert!(error.contains("accepted are memory://, redis://"), "{text:?}: {error}");
        }
    }
}
