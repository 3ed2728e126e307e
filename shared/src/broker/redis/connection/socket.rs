//! One connection to the server, used by one caller at a time: write commands, await their answers, nothing
//! between. For the commands every request passes through; the rest shares a connection of the library's.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use redis::{ConnectionAddr, ConnectionInfo};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_rustls::TlsConnector;

use crate::broker::redis::connection::patience::answered_by;
use crate::broker::redis::connection::resp::{Commands, Cursor, Scanner, Unreadable};
use crate::broker::redis::errors::ServerError;

/// Room for a read. A batch of small replies fits; larger answers take more reads.
const READ_SIZE: usize = 16 * 1024;

/// An answer that is longer takes its buffer along: what is read next does not begin in the rest of it.
const KEEP_BUFFER: usize = 4 * READ_SIZE;

/// What the slowest link worth working on carries in a second, in bytes: 32 Mbit/s. Less, and the largest entry would
/// take longer than anybody waits for it.
const MIN_RATE: u64 = 4 * 1024 * 1024;

/// How long so many bytes may be on their way, beside the time an exchange takes anyway.
pub(in crate::broker::redis) fn on_the_way(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / MIN_RATE)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that is open and authenticated.
pub(in crate::broker::redis) struct Socket {
    stream: Box<dyn Stream>,
    incoming: BytesMut,
}

/// How long an exchange may take, and how large its answers may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker::redis) struct Terms {
    /// The time for what is small. What is large has more: as long as bytes move, the server does not hang.
    pub(in crate::broker::redis) patience: Duration,
    /// The most bytes of all answers together.
    pub(in crate::broker::redis) limit: usize,
}

/// Why an exchange has no answer.
#[derive(Debug)]
pub(in crate::broker::redis) enum Unanswered {
    /// The connection broke, or what came is no answer.
    Broken(io::Error),
    /// Nothing came in time.
    Late(Elapsed),
    /// It began to come, and was given up.
    Cut(Cut),
}

/// An answer that was not read to its end.
#[derive(Debug)]
pub(in crate::broker::redis) struct Cut {
    /// What there is of it.
    pub(in crate::broker::redis) head: Cursor,
    /// Whether more of it was announced than its reader takes; else it came too slowly.
    pub(in crate::broker::redis) too_large: bool,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.too_large {
            true => "the answer is larger than it may be",
            false => "the answer came too slowly",
        })
    }
}

impl std::error::Error for Cut {}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Elapsed> for Unanswered {
    fn from(elapsed: Elapsed) -> Self {
        Self::Late(elapsed)
    }
}

impl Socket {
    /// Connects, with TLS where the URL says so, authenticates and chooses the database.
    pub(in crate::broker::redis) async fn connect(
        info: &ConnectionInfo,
        user_timeout: Duration,
    ) -> io::Result<Result<Self, ServerError>> {
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, *port, false),
            ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
            _ => return Err(io::Error::other("only redis:// and rediss:// are supported")),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        configure(&stream, user_timeout)?;
        let mut socket = Self {
            stream: if tls {
                Box::new(over_tls(host, stream).await?)
            } else {
                Box::new(stream)
            },
            incoming: BytesMut::new(),
        };
        let greeting = greeting(info);
        if greeting.count() == 0 {
            return Ok(Ok(socket));
        }
        // Whoever connects has a limit of its own for all of it.
        let terms = Terms {
            patience: user_timeout,
            limit: READ_SIZE,
        };
        match socket.exchange(&greeting, terms).await {
            Ok((_, error)) => Ok(error.map_or(Ok(socket), Err)),
            Err(Unanswered::Broken(error)) => Err(error),
            Err(unanswered) => Err(io::Error::other(format!(
                "the greeting was not answered: {unanswered:?}"
            ))),
        }
    }

    /// Sends commands and awaits all their answers; returns them with the first error among them. After an error of
    /// its own, or when dropped halfway, the connection is of no use any more.
    pub(in crate::broker::redis) async fn exchange(
        &mut self,
        commands: &Commands,
        terms: Terms,
    ) -> Result<(Cursor, Option<ServerError>), Unanswered> {
        let deadline = Instant::now() + terms.patience + on_the_way(commands.bytes().len());
        answered_by(deadline, self.send(commands.bytes())).await??;
        let mut scanner = Scanner::new(commands.count()).within(terms.limit);
        let mut began = None;
        loop {
            // All the room that is known to be needed at once: growing bit by bit would copy what is there.
            let missing = scanner.wanted().saturating_sub(self.incoming.len());
            self.incoming.reserve(missing.max(READ_SIZE));
            let deadline = deadline + on_the_way(self.incoming.len());
            let read = match answered_by(deadline, self.stream.read_buf(&mut self.incoming)).await {
                Ok(read) => read?,
                Err(elapsed) if began.is_none() => return Err(elapsed.into()),
                Err(_) => return Err(self.cut(began, false)),
            };
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let began = *began.get_or_insert_with(Instant::now);
            let end = match scanner.scan(&self.incoming) {
                Ok(None) => continue,
                Ok(Some(end)) => end,
                Err(Unreadable::TooLarge) => return Err(self.cut(Some(began), true)),
                Err(Unreadable::NotResp) => return Err(not_resp().into()),
            };
            let answer = self.incoming.split_to(end).freeze();
            if end > KEEP_BUFFER {
                self.incoming = BytesMut::from(&self.incoming[..]);
            }
            let error = scanner.error(&answer);
            let error = error.map(ServerError::from);
            return Ok((Cursor::since(began, answer), error));
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    fn cut(&mut self, began: Option<Instant>, too_large: bool) -> Unanswered {
        let head = self.incoming.split().freeze();
        Unanswered::Cut(Cut {
            head: Cursor::since(began.unwrap_or_else(Instant::now), head),
            too_large,
        })
    }

    /// Whether the peer closed the connection, or said something unasked: either way nothing may be sent.
    pub(in crate::broker::redis) async fn is_closed(&mut self) -> bool {
        if !self.incoming.is_empty() {
            return true;
        }
        let mut room = [0; 1];
        poll_fn(|cx| {
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut room));
            Poll::Ready(read.is_ready())
        })
        .await
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

fn not_resp() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server does not answer in RESP")
}

/// <https://redis.io/docs/latest/commands/auth/>, <https://redis.io/docs/latest/commands/select/>
fn greeting(info: &ConnectionInfo) -> Commands {
    let settings = info.redis_settings();
    let mut commands = Commands::default();
    match (settings.username(), settings.password()) {
        (Some(user), Some(password)) => {
            commands.begin(3).arg("AUTH").arg(user).arg(password);
        }
        (None, Some(password)) => {
            commands.begin(2).arg("AUTH").arg(password);
        }
        _ => {}
    }
    if settings.db() != 0 {
        commands.begin(2).arg("SELECT").arg(settings.db().to_string());
    }
    commands
}

/// Small writes go at once; a peer that is gone is noticed, idle or not.
fn configure(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(1));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    Ok(())
}

/// Trusts what the system trusts.
async fn over_tls(host: &str, stream: TcpStream) -> io::Result<impl Stream + use<>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
