//! One connection to the server, used by one caller at a time: write commands, await their answers, nothing
//! between. For the commands every request passes through; the rest shares a connection of the library's.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use redis::{ConnectionAddr, ConnectionInfo};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::errors::code_word;
use super::wire::{Commands, NotResp, Scanner};

/// Room for a read. A batch of small replies fits; larger answers take more reads.
const READ_SIZE: usize = 16 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that is open and authenticated.
pub(super) struct Socket {
    stream: Box<dyn Stream>,
    incoming: BytesMut,
}

/// The server's own word that a command failed.
#[derive(Debug)]
pub(super) struct ServerError {
    text: String,
    nested: bool,
}

impl ServerError {
    /// An error that stands alone among the answers.
    pub(super) fn new(text: &[u8]) -> Self {
        Self {
            text: String::from_utf8_lossy(text).into_owned(),
            nested: false,
        }
    }

    /// The code word it begins with: `NOGROUP`, `OOM`, …
    pub(super) fn code(&self) -> &str {
        code_word(&self.text)
    }

    /// Whether the command failed while its transaction ran: the others took effect.
    pub(super) fn is_inside_transaction(&self) -> bool {
        self.nested
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ServerError {}

impl Socket {
    /// Connects, with TLS where the URL says so, authenticates and chooses the database.
    pub(super) async fn connect(
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
        let (_, error) = socket.exchange(&greeting).await?;
        Ok(error.map_or(Ok(socket), Err))
    }

    /// Sends commands and awaits all their answers; returns them with the first error among them. After an error of
    /// its own, or when dropped halfway, the connection is of no use any more.
    pub(super) async fn exchange(&mut self, commands: &Commands) -> io::Result<(Bytes, Option<ServerError>)> {
        self.stream.write_all(commands.bytes()).await?;
        self.stream.flush().await?;
        let mut scanner = Scanner::new(commands.count());
        loop {
            self.incoming.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(end) = scanner.scan(&self.incoming).map_err(|NotResp| not_resp())? else {
                continue;
            };
            let answer = self.incoming.split_to(end).freeze();
            let error = scanner.error(&answer);
            let error = error.map(|(text, nested)| ServerError { text, nested });
            return Ok((answer, error));
        }
    }

    /// Whether the peer closed the connection, or said something unasked: either way nothing may be sent.
    pub(super) async fn is_closed(&mut self) -> bool {
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
