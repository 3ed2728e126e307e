//! The health check of a container: the program itself asks its other instance, as an image without a shell has
//! nothing else that could.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// How long one step of the exchange may take. A service that needs longer is not well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks `/readyz` of the service that listens on `address`; says why where the answer is not 200. An unspecified
/// address, on which a service listens everywhere, is asked through loopback.
#[must_use]
#[allow(clippy::print_stderr)] // A health check's output is for whoever inspects the container.
pub fn probe(address: SocketAddr) -> ExitCode {
    match ask(reachable(address)) {
        Ok(status) if status == "200" => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("not ready: http://{address}/readyz answered {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("not ready: http://{address}/readyz could not be asked: {error}");
            ExitCode::FAILURE
        }
    }
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status of the answer; empty where it is no HTTP.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: a service that is full recognises it at once.
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    stream.take(1024).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    Ok(status.unwrap_or_default().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_everywhere_is_asked_through_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:5009", "127.0.0.1:5009"),
            ("[::]:5009", "[::1]:5009"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
