//! The look at the service before any load: whether it is there, and at which address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::failure::{Failure, FailureKind};
use crate::target::Target;

/// Where services say how they are: Roundtrip's own, and its predecessor's.
const PATHS: [&str; 2] = ["/healthz", "/WeatherForecast/health"];

/// What is asked.
const ROUTE: &str = "/WeatherForecast/city";

/// What both services answer, the one without calls too.
const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How long an address may take to say how it is. A healthy service takes milliseconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// A service that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The first of the host's addresses that answered; all load goes to it.
    pub address: SocketAddr,
    /// A sentence about its health, where it is not good.
    pub warning: Option<String>,
}

/// Asks for the service's health.
///
/// # Errors
/// Fails when nothing there speaks HTTP.
pub async fn check(target: &Target) -> Result<Found, NoService> {
    let url = target.url().to_owned();
    let addresses = match target.addresses().await {
        Ok(addresses) => addresses,
        Err(source) => return Err(NoService::NotFound { url, source }),
    };
    for address in addresses {
        match ask(target, address).await {
            Ok(warning) => return Ok(Found { address, warning }),
            // `localhost` is often two addresses, with the service on one of them.
            Err(failure) if failure.kind == FailureKind::Connect => {}
            Err(failure) if failure.kind == FailureKind::StatusOther => return Err(NoService::NoIngress { url }),
            Err(failure) => return Err(NoService::NotHttp { url, failure }),
        }
    }
    Err(NoService::Nothing { url })
}

/// Whether one of Roundtrip's services, whichever it is, says that it is ready.
pub async fn is_ready(address: SocketAddr) -> bool {
    let mut connection = Connection::new(address);
    let asked = connection.ask(READY, Instant::now() + CHECK_TIMEOUT).await;
    asked.is_ok_and(|response| response.status == 200)
}

/// Whether there is a route for what is asked. A question that is only a look costs no work: where the route takes POST
/// alone, it is 405.
async fn has_route(target: &Target, connection: &mut Connection) -> Result<bool, Failure> {
    let look = target.encode("GET", ROUTE, None);
    let status = connection.ask(&look, Instant::now() + CHECK_TIMEOUT).await?.status;
    Ok(status != 404)
}

async fn ask(target: &Target, address: SocketAddr) -> Result<Option<String>, Failure> {
    let mut connection = Connection::new(address);
    if !has_route(target, &mut connection).await? {
        let detail = format!("{ROUTE} is 404");
        return Err(Failure::new(FailureKind::StatusOther, detail));
    }
    let mut worst = None;
    for path in PATHS {
        let request = target.encode("GET", path, None);
        let status = connection.ask(&request, Instant::now() + CHECK_TIMEOUT).await?.status;
        match status {
            200 => return Ok(None),
            404 => worst = worst.or(Some(format!("{target} has no health check: GET {path} is 404"))),
            status => return Ok(Some(format!("{target} is not healthy: GET {path} is {status}"))),
        }
    }
    Ok(worst)
}

/// Why there is nothing to put load on.
#[derive(Debug)]
pub enum NoService {
    /// The host has no address.
    NotFound {
        /// The URL as given.
        url: String,
        /// What the lookup said.
        source: io::Error,
    },
    /// No address takes connections.
    Nothing {
        /// The URL as given.
        url: String,
    },
    /// Something answers that has no route for the calls.
    NoIngress {
        /// The URL as given.
        url: String,
    },
    /// Something takes connections, and does not answer as a service does.
    NotHttp {
        /// The URL as given.
        url: String,
        /// What it did instead.
        failure: Failure,
    },
}

impl fmt::Display for NoService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { url, source } => write!(f, "could not look up the host of {url}: {source}"),
            Self::Nothing { url } => {
                write!(f, "nothing answers at {url} — start it with: cargo run --release")
            }
            Self::NoIngress { url } => {
                write!(
                    f,
                    "{url}{ROUTE} is 404: is this an ingress-service? A proxy-service has no such route"
                )
            }
            Self::NotHttp { url, failure } => {
                write!(
                    f,
                    "what listens at {url} gave no HTTP answer to GET {}: {}",
                    PATHS[0], failure.detail
                )
            }
        }
    }
}

impl std::error::Error for NoService {}
