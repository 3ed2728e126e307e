//! Clients that are not served: those that are not let in, and those that never completed their first head, get
//! answers that hyper has no part in; those whose bodies nobody wants are let go. The rule: all of it is bounded in
//! time, whatever the client does or does not do.

use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use axum::body::to_bytes;
use axum::response::IntoResponse as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink};
use tokio::time::timeout;

use super::probe::Head;
use crate::http::problem::{Problem, ProblemType, write_out};
use crate::http::request_id::{self, RequestId};

/// For the first bytes of a client that is refused. A client that gets an answer before it has asked anything
/// takes the connection for broken, and never shows the answer to anybody.
const ASKING_TIME: Duration = Duration::from_millis(200);

/// For the client to take the answer and to close.
const PARTING_TIME: Duration = Duration::from_secs(1);

/// What is read of a request that nobody wants, in bytes. More of it means a reset.
const UNREAD: u64 = 1024 * 1024;

/// What a client asks for: as much of its head as is needed to know whether it is a probe, and has come in time.
pub(super) async fn head(io: &mut (impl AsyncRead + Unpin)) -> Head {
    let mut head = Head::default();
    let _ = timeout(ASKING_TIME, async {
        while head.may_be_probe() && head.read(io).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
    head
}

/// Tells a client that there is no place for it, and closes.
pub(super) async fn refuse(io: impl AsyncRead + AsyncWrite + Unpin) {
    let detail = "MAX_CONNECTIONS connections are open; another instance may have room";
    let problem = Problem::new(ProblemType::TooManyConnections, detail);
    answer(io, problem.retry_after(Duration::from_secs(1))).await;
}

/// Tells a client that its head took too long, and closes.
pub(super) async fn give_up(io: impl AsyncRead + AsyncWrite + Unpin) {
    let detail = "the head of the request was not complete in time";
    answer(io, Problem::new(ProblemType::RequestTimeout, detail)).await;
}

/// Tells a client that its head is too long to be waited for now, and closes.
pub(super) async fn crowd_out(io: impl AsyncRead + AsyncWrite + Unpin) {
    let detail = "too many requests with long heads are incomplete; this one was not read to its end";
    let problem = Problem::new(ProblemType::Overloaded, detail);
    answer(io, problem.retry_after(Duration::from_secs(1))).await;
}

async fn answer(mut io: impl AsyncRead + AsyncWrite + Unpin, problem: Problem) {
    let id = RequestId::new();
    tracing::debug!(request_id = %id, kind = problem.kind().uri(), "refused a connection");
    let answering = async {
        io.write_all(&written_out(problem, id).await?).await?;
        io.shutdown().await?;
        part(io).await;
        io::Result::Ok(())
    };
    // Whoever did not take the answer by then does not want it.
    let _ = timeout(PARTING_TIME, answering).await;
}

/// Waits until a client that was answered goes, though it may still be sending. A socket that is closed with bytes
/// unread is reset, and the answer may be lost with it.
pub(super) async fn part(io: impl AsyncRead + Unpin) {
    let _ = timeout(PARTING_TIME, copy(&mut io.take(UNREAD), &mut sink())).await;
}

async fn written_out(problem: Problem, id: RequestId) -> io::Result<Vec<u8>> {
    let (head, body) = write_out(problem.into_response(), id).into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(1024);
    write!(bytes, "HTTP/1.1 {}\r\n", head.status)?;
    for (name, value) in &head.headers {
        write!(bytes, "{name}: ")?;
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    write!(bytes, "{}: {id}\r\n", request_id::HEADER)?;
    write!(bytes, "content-length: {}\r\n", body.len())?;
    write!(bytes, "date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()))?;
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::Instant;

    use super::*;

    async fn ask_and_refuse(mut io: impl AsyncRead + AsyncWrite + Unpin) {
        assert!(!head(&mut io).await.is_probe());
        refuse(io).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_does_not_wait_for_a_client_that_takes_nothing() {
        let (_client, server) = duplex(10);
        let started = Instant::now();
        let refused = timeout(ASKING_TIME * 100, ask_and_refuse(server)).await;
        refused.expect("the refusal never ends");
        assert!(started.elapsed() >= PARTING_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_waits_for_a_request_but_not_for_long() {
        let (mut asks, server) = duplex(10_000);
        let refusing = tokio::spawn(ask_and_refuse(server));
        assert!(timeout(ASKING_TIME / 2, asks.read(&mut [0; 1])).await.is_err());
        asks.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let asked = Instant::now();
        let mut answer = String::new();
        asks.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(asked.elapsed() < ASKING_TIME / 10, "{:?}", asked.elapsed());
        drop(asks);
        refusing.await.unwrap();

        let (mut silent, server) = duplex(10_000);
        let (connected, _refusing) = (Instant::now(), tokio::spawn(ask_and_refuse(server)));
        silent.read_exact(&mut [0; 12]).await.unwrap();
        assert!(connected.elapsed() >= ASKING_TIME && connected.elapsed() < ASKING_TIME * 2);
    }
}
