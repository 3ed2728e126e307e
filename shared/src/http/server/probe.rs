//! Probes: what operators and their machines ask, and are answered also when there is no place left. The rule: who is
//! let in as one has sent a whole head already, so that nobody holds such a place by being slow.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::http::probes::PROBES;

/// The longest head of a probe, in bytes. Those of the usual tools have some hundred.
const LONGEST: usize = 2048;

/// The beginning of what a client sent.
#[derive(Debug, Default)]
pub(super) struct Head(Vec<u8>);

impl Head {
    /// Reads some more of it.
    pub(super) async fn read(&mut self, io: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let room = LONGEST - self.0.len();
        io.take(room as u64).read_buf(&mut self.0).await
    }

    /// Whether it is a probe's, whole.
    pub(super) fn is_probe(&self) -> bool {
        begins_as_probe(&self.0) && self.0.windows(4).any(|bytes| bytes == b"\r\n\r\n")
    }

    /// Whether it is not known yet.
    pub(super) fn may_be_probe(&self) -> bool {
        self.0.len() < LONGEST && begins_as_probe(&self.0) && !self.is_probe()
    }

    /// Puts it back before what is still to come.
    pub(super) fn before<IO>(self, io: IO) -> Again<IO> {
        Again {
            head: self.0,
            given: 0,
            io,
        }
    }
}

/// Whether these may be the first bytes of one.
fn begins_as_probe(bytes: &[u8]) -> bool {
    let begins = |line: String| match bytes.get(line.len()) {
        None => line.as_bytes().starts_with(bytes),
        Some(next) => bytes.starts_with(line.as_bytes()) && matches!(next, b' ' | b'?'),
    };
    PROBES
        .iter()
        .any(|path| begins(format!("GET {path}")) || begins(format!("HEAD {path}")))
}

/// A connection of which something was read before.
#[derive(Debug)]
pub(super) struct Again<IO> {
    head: Vec<u8>,
    given: usize,
    io: IO,
}

impl<IO> Again<IO> {
    pub(super) fn io(&self) -> &IO {
        &self.io
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Again<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = &this.head[this.given..];
        if left.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let count = left.len().min(buf.remaining());
        buf.put_slice(&left[..count]);
        this.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Again<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_heads_that_ask_for_a_probe_are_probes() {
        let head = |text: &str| Head(text.as_bytes().to_vec());
        for text in [
            "GET /livez HTTP/1.1\r\n\r\n",
            "HEAD /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\nmore",
        ] {
            assert!(head(text).is_probe() && !head(text).may_be_probe(), "{text:?}");
        }
        for text in ["", "G", "GET /", "GET /livez", "GET /metrics HTTP/1.1\r\nHost:"] {
            assert!(!head(text).is_probe() && head(text).may_be_probe(), "{text:?}");
        }
        let long = format!("GET /livez HTTP/1.1\r\nX: {}", "x".repeat(LONGEST));
        for text in [
            "X",
            "POST /livez HTTP/1.1\r\n\r\n",
            "GET /livezz HTTP/1.1\r\n\r\n",
            &long[..LONGEST],
        ] {
            assert!(!head(text).is_probe() && !head(text).may_be_probe(), "{text:?}");
        }
    }
}
