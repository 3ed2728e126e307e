//! Where the load goes: a plain `http://` URL, taken apart once.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use url::{Host, Url};

/// A service to put load on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
    host: String,
    port: u16,
    host_header: String,
    base_path: String,
}

impl Target {
    /// The URL without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every address the host has.
    ///
    /// # Errors
    /// Fails when the host cannot be looked up.
    pub async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        Ok(found.collect())
    }

    /// The bytes of a request for `path`, which starts with a slash; with a JSON body, or none.
    #[must_use]
    pub fn encode(&self, method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
        let Self {
            base_path, host_header, ..
        } = self;
        let mut head =
            format!("{method} {base_path}{path} HTTP/1.1\r\nHost: {host_header}\r\nUser-Agent: load-test\r\n");
        if let Some(body) = body {
            head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        format!("{head}\r\n{}", body.unwrap_or_default()).into_bytes()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError::NotAccepted)?;
        match url.scheme() {
            "http" => {}
            "https" => return Err(TargetError::Https),
            _ => return Err(TargetError::NotAccepted),
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return Err(TargetError::NotAccepted);
        }
        // Inside a URL an IPv6 address stands in brackets, for a lookup it must not.
        let (host, host_header) = match url.host().ok_or(TargetError::NotAccepted)? {
            Host::Domain(name) => (name.to_owned(), name.to_owned()),
            Host::Ipv4(address) => (address.to_string(), address.to_string()),
            Host::Ipv6(address) => (address.to_string(), format!("[{address}]")),
        };
        Ok(Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            host,
            port: url.port_or_known_default().unwrap_or(80),
            host_header: host_header + &url.port().map(|port| format!(":{port}")).unwrap_or_default(),
            base_path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// A URL that load cannot be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetError {
    /// TLS would measure the client's own cryptography as well.
    Https,
    /// Not of the form that is accepted.
    NotAccepted,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::Https {
            f.write_str("https is not supported, load goes over plain http; ")?;
        }
        f.write_str("accepted is http://HOST:PORT, such as http://localhost:5009")
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://localhost:5009/", "http://localhost:5009", "localhost:5009", "/healthz")]
    #[case("http://example.org", "http://example.org", "example.org", "/healthz")]
    #[case("http://[::1]:80/weather/", "http://[::1]/weather", "[::1]", "/weather/healthz")]
    fn a_url_becomes_host_and_path(#[case] text: &str, #[case] url: &str, #[case] host: &str, #[case] path: &str) {
        let target: Target = text.parse().unwrap();
        assert_eq!(target.url(), url);
        let request = String::from_utf8(target.encode("GET", "/healthz", None)).unwrap();
        let start = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        assert!(
            request.starts_with(&start) && request.ends_with("\r\n\r\n"),
            "{request}"
        );
    }

    #[test]
    fn a_body_comes_with_its_length_in_bytes() {
        let target: Target = "http://localhost".parse().unwrap();
        let request = String::from_utf8(target.encode("POST", "/", Some("é"))).unwrap();
        assert!(request.ends_with("Content-Length: 2\r\n\r\né"), "{request}");
    }

    #[tokio::test]
    async fn an_ipv6_address_is_looked_up_without_brackets() {
        let target: Target = "http://[::1]:5009".parse().unwrap();
        assert_eq!(target.addresses().await.unwrap(), ["[::1]:5009".parse().unwrap()]);
    }

    #[rstest]
    #[case("localhost:5009")]
    #[case("ftp://localhost")]
    #[case("http://")]
    #[case("")]
    #[case("http://user:secret@localhost")]
    #[case("http://localhost/?q=1")]
    fn anything_else_is_refused_with_an_example(#[case] text: &str) {
        let error = text.parse::<Target>().unwrap_err();
        assert_eq!(error, TargetError::NotAccepted);
        assert!(error.to_string().contains("http://localhost:5009"));
    }

    #[test]
    fn https_is_refused_by_name() {
        let error = "https://localhost".parse::<Target>().unwrap_err();
        assert!(error.to_string().contains("https is not supported"));
    }
}
