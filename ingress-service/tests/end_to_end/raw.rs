//! Sockets without a client in front: for what no client would send, or would not wait for.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{PATIENCE, Service};

pub(crate) async fn connect(service: &Service) -> TcpStream {
    let address = service.url.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// Everything until the server hangs up.
pub(crate) async fn read_all(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE + PATIENCE / 2, socket.read_to_end(&mut answer)).await;
    // A reset is also a way to hang up.
    let _ = read.expect("the server neither answered nor hung up");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks what no probe asks, on a connection that stays open, and says what is answered; nothing when the service
/// hangs up.
pub(crate) async fn ask(socket: &mut TcpStream) -> String {
    let _ = socket
        .write_all(b"GET /problems/overloaded HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut answer = [0; 4096];
    let count = timeout(PATIENCE, socket.read(&mut answer)).await;
    let count = count.expect("the server neither answered nor hung up").unwrap_or(0);
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

/// The status of an answer; none when it is no answer.
pub(crate) fn status(answer: &str) -> Option<u16> {
    answer.split(' ').nth(1)?.parse().ok()
}

/// Checks that this is a problem document of a status and type.
#[track_caller]
pub(crate) fn assert_problem(answer: &str, code: u16, kind: &str) {
    assert_eq!(status(answer), Some(code), "{answer}");
    assert!(
        answer.to_lowercase().contains("content-type: application/problem+json"),
        "{answer}"
    );
    assert!(answer.contains(kind), "{answer}");
}
