//! One keep-alive connection: a request out, its answer in. A connection whose exchange broke is never used again,
//! since what else arrives on it cannot be told from the next answer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::failure::{Failure, FailureKind};
use crate::response::{Response, ResponseReader};

/// A connection to one address, made when it is first needed and made again after the server closed it.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    reader: ResponseReader,
    alarm: Alarm,
}

impl Connection {
    /// A connection to `address`, not made yet.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and I/O.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            reader: ResponseReader::default(),
            alarm: Alarm::new(),
        }
    }

    /// Makes sure that there is a connection. [`ask`](Self::ask) does so too, at the cost of its request.
    ///
    /// # Errors
    /// [`FailureKind::Connect`], or [`FailureKind::Timeout`] at `deadline`.
    pub async fn connect(&mut self, deadline: Instant) -> Result<(), Failure> {
        if self.stream.as_ref().is_some_and(has_ended) {
            self.stream = None;
        }
        if self.stream.is_some() {
            return Ok(());
        }
        let stream = match self.alarm.before(deadline, TcpStream::connect(self.address)).await {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return Err(Failure::new(FailureKind::Connect, error.to_string())),
            None => return Err(Failure::new(FailureKind::Timeout, "no connection in time")),
        };
        // A request is one write: waiting to coalesce it would only add latency.
        let _ = stream.set_nodelay(true);
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends a request and reads its answer. Deadlines must not go back from one call to the next.
    ///
    /// # Errors
    /// Says why there is no answer: [`FailureKind::Timeout`] at `deadline`, [`FailureKind::Connect`],
    /// [`FailureKind::Reset`] or [`FailureKind::Unreadable`].
    pub async fn ask(&mut self, request: &[u8], deadline: Instant) -> Result<Response<'_>, Failure> {
        let outcome = self.exchange(request, deadline).await;
        let response = self.reader.response().filter(|_| outcome.is_ok());
        if !response.is_some_and(|response| response.keep_alive) {
            self.stream = None;
        }
        outcome?;
        Ok(response.expect("an exchange that succeeded has a response"))
    }

    async fn exchange(&mut self, request: &[u8], deadline: Instant) -> Result<(), Failure> {
        self.connect(deadline).await?;
        let stream = self.stream.as_mut().expect("connected above");
        self.reader.begin();
        match self.alarm.before(deadline, stream.write_all(request)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(reset("could not send the request", &error)),
            None => return Err(Failure::new(FailureKind::Timeout, "the request was not taken in time")),
        }
        loop {
            let space = self.reader.space().map_err(unreadable)?;
            match self.alarm.before(deadline, stream.read(space)).await {
                Some(Ok(0)) if self.reader.close() => return Ok(()),
                Some(Ok(0)) => return Err(closed(&self.reader)),
                Some(Ok(read)) => {
                    if self.reader.advance(read).map_err(unreadable)? {
                        return Ok(());
                    }
                }
                Some(Err(error)) => return Err(reset("could not read the answer", &error)),
                None => return Err(Failure::new(FailureKind::Timeout, "no answer in time")),
            }
        }
    }
}

/// Whether the server has closed a connection that is not in use. Costs no system call while nothing arrived.
fn has_ended(stream: &TcpStream) -> bool {
    // Bytes without a request, such as a 408, announce the end as well.
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn closed(reader: &ResponseReader) -> Failure {
    let when = if reader.has_begun() { "within" } else { "before" };
    Failure::new(
        FailureKind::Reset,
        format!("the server closed the connection {when} the answer"),
    )
}

fn reset(what: &str, error: &io::Error) -> Failure {
    Failure::new(FailureKind::Reset, format!("{what}: {error}"))
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Unreadable, error.to_string())
}

/// The timeout of a connection's exchanges: one timer, set again only when it goes off, since setting it for each
/// request would cost more than the request's parsing. It goes off too early, never too late, because deadlines
/// only move forward.
#[derive(Debug)]
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn new() -> Self {
        Self(Box::pin(tokio::time::sleep_until(tokio::time::Instant::now())))
    }

    /// What `operation` returns, or `None` when it has not returned by `deadline`.
    async fn before<T>(&mut self, deadline: Instant, operation: impl Future<Output = T>) -> Option<T> {
        let mut operation = pin!(operation);
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = operation.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            while self.0.as_mut().poll(context).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                self.0.as_mut().reset(deadline.into());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// Answers the n-th connection with the n-th list of writes, one for each request, and then closes it.
    async fn server(connections: Vec<Vec<&'static [u8]>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let _ = stream.read(&mut [0; 1000]).await.unwrap();
                    stream.write_all(answer).await.unwrap();
                }
            }
        });
        address
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    async fn ask(connection: &mut Connection) -> Result<Vec<u8>, FailureKind> {
        let response = connection.ask(b"GET / HTTP/1.1\r\n\r\n", soon()).await;
        response
            .map(|response| response.body.to_vec())
            .map_err(|failure| failure.kind)
    }

    #[tokio::test]
    async fn connection_close_is_honoured() {
        let close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nend";
        let mut connection = Connection::new(server(vec![vec![OK, close], vec![OK]]).await);
        assert_eq!(ask(&mut connection).await.unwrap(), b"ok");
        assert_eq!(ask(&mut connection).await.unwrap(), b"end");
        assert!(connection.stream.is_none());
        assert_eq!(ask(&mut connection).await.unwrap(), b"ok");
    }

    #[tokio::test]
    async fn a_connection_closed_while_idle_costs_no_request() {
        let mut connection = Connection::new(server(vec![vec![OK], vec![OK]]).await);
        assert_eq!(ask(&mut connection).await.unwrap(), b"ok");
        while !has_ended(connection.stream.as_ref().unwrap()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&mut connection).await.unwrap(), b"ok");
    }

    #[tokio::test]
    async fn an_answer_cut_short_is_a_reset_and_the_next_request_connects_again() {
        let mut connection = Connection::new(server(vec![vec![&OK[..30]], vec![OK]]).await);
        assert_eq!(ask(&mut connection).await, Err(FailureKind::Reset));
        assert_eq!(ask(&mut connection).await.unwrap(), b"ok");
    }

    #[tokio::test]
    async fn garbage_is_unreadable() {
        let mut connection = Connection::new(server(vec![vec![b"SSH-2.0\r\n"]]).await);
        assert_eq!(ask(&mut connection).await, Err(FailureKind::Unreadable));
    }

    #[tokio::test]
    async fn nobody_listening_is_a_connect_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(ask(&mut Connection::new(address)).await, Err(FailureKind::Connect));
    }

    #[tokio::test]
    async fn a_silent_server_times_out_at_the_deadline_and_not_before() {
        let timeout = Duration::from_millis(60);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut silent = Connection::new(listener.local_addr().unwrap());
        for _ in 0..2 {
            let started = Instant::now();
            let asked = tokio::time::timeout(Duration::from_secs(60), silent.ask(b"x", started + timeout));
            let failure = asked.await.expect("the deadline ends it").unwrap_err();
            assert_eq!(failure.kind, FailureKind::Timeout);
            assert!(started.elapsed() >= timeout);
        }
    }
}
