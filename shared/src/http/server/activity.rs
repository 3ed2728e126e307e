//! What a connection is doing, seen from both ends: an IO wrapper sees bytes come and go, a service wrapper
//! (`tracked_app.rs`) sees requests begin and end. All of it happens in the connection's own task, so plain loads and
//! stores are enough; they are atomic only because that task may move between threads. The rule: nothing here asks for
//! the time. What a request costs is a handful of instructions; when something happened is for the
//! [watchdog](super::watchdog) to find out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
/// What a connection waits for. Two that are equal are the same wait: each head, each pause between requests
/// and each stalled write has its own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For the first byte of all.
    New,
    /// For the rest of a head.
    Head(u32),
    /// For us: for the rest of a body, for the answer, and for the end of the answer.
    Busy,
    /// For the next head.
    Idle(u32),
    /// For the client to take some of its answer.
    Write(u32),
}

impl Waiting {
    /// Whether its clock starts now, rather than whenever somebody next looks.
    pub(super) fn is_urgent(self) -> bool {
        matches!(self, Self::Head(_) | Self::Write(_))
    }
}

/// A head of usual length, in bytes: what is buffered for each connection anyway.
const SHORT_HEAD: u32 = 8 * 1024;

const NEW: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
/// Busy with a request that has a body: what comes is the body.
const BUSY_WITH_BODY: u8 = 3;
/// Busy, and the client did not wait: the next head has begun.
const BUSY_WITH_NEXT: u8 = 4;
const IDLE: u8 = 5;

/// What one connection is doing.
#[derive(Debug, Default)]
pub(super) struct Activity {
    phase: AtomicU8,
    /// How many requests have begun.
    requests: AtomicU32,
    /// Bytes that came since the last head was complete, and are of no body.
    head: AtomicU32,
    /// There was no room for more of them.
    crowded_out: AtomicBool,
    /// Something came since the last answer ended.
    came: AtomicBool,
    /// The body of the last request was not read to its end.
    unread: AtomicBool,
    /// The client takes nothing.
    stalled: AtomicBool,
    /// How many stalls have ended.
    stalls: AtomicU32,
}

impl Activity {
    /// What the connection waits for.
    pub(super) fn waiting(&self) -> Waiting {
        if self.stalled.load(Relaxed) {
            return Waiting::Write(self.stalls.load(Relaxed));
        }
        match self.phase.load(Relaxed) {
            NEW => Waiting::New,
            HEAD => Waiting::Head(self.requests.load(Relaxed)),
            IDLE => Waiting::Idle(self.requests.load(Relaxed)),
            _ => Waiting::Busy,
        }
    }

    /// Whether no request has begun yet, so that nothing was ever answered.
    pub(super) fn is_first_head(&self) -> bool {
        self.requests.load(Relaxed) == 0
    }

    /// Whether the client may still be sending the body of its last request.
    pub(super) fn has_unread_body(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// Whether a head was too long to be buffered beside those of others.
    pub(super) fn is_crowded_out(&self) -> bool {
        self.crowded_out.load(Relaxed)
    }

    fn received(&self, count: usize) {
        self.came.store(true, Relaxed);
        if self.phase.load(Relaxed) != BUSY_WITH_BODY {
            let head = self.head.load(Relaxed).saturating_add(count as u32);
            self.head.store(head, Relaxed);
        }
        let next = match self.phase.load(Relaxed) {
            NEW | IDLE => HEAD,
            BUSY => BUSY_WITH_NEXT,
            _ => return,
        };
        self.phase.store(next, Relaxed);
    }

    pub(super) fn request_begins(&self, has_body: bool) {
        self.requests
            .store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
        self.phase.store(if has_body { BUSY_WITH_BODY } else { BUSY }, Relaxed);
        self.unread.store(has_body, Relaxed);
        self.head.store(0, Relaxed);
    }

    /// Whether the last request was sent before the answer to the one before was: nothing came in between.
    pub(super) fn is_pipelined(&self) -> bool {
        !self.came.load(Relaxed)
    }

    pub(super) fn body_ends(&self) {
        self.unread.store(false, Relaxed);
    }

    pub(super) fn answer_ends(&self) {
        self.came.store(false, Relaxed);
        let next = match self.phase.load(Relaxed) {
            BUSY_WITH_NEXT => HEAD,
            _ => IDLE,
        };
        self.phase.store(next, Relaxed);
    }

    fn written(&self, is_stalled: bool) {
        if self.stalled.load(Relaxed) == is_stalled {
            return;
        }
        self.stalled.store(is_stalled, Relaxed);
        if !is_stalled {
            self.stalls.store(self.stalls.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}

/// A socket whose bytes are noticed.
#[derive(Debug)]
pub(super) struct Tracked<IO> {
    io: IO,
    activity: Arc<Activity>,
    long_heads: Arc<Semaphore>,
    long_head: Option<OwnedSemaphorePermit>,
}

impl<IO> Tracked<IO> {
    /// A head that is longer than usual needs one of `long_heads` until it is complete.
    pub(super) fn new(io: IO, activity: Arc<Activity>, long_heads: Arc<Semaphore>) -> Self {
        Self {
            io,
            activity,
            long_heads,
            long_head: None,
        }
    }

    fn has_room(&mut self) -> bool {
        if self.activity.head.load(Relaxed) <= SHORT_HEAD {
            self.long_head = None;
            return true;
        }
        if self.long_head.is_none() {
            self.long_head = self.long_heads.clone().try_acquire_owned().ok();
        }
        self.long_head.is_some()
    }

    pub(super) fn into_inner(self) -> IO {
        self.io
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tracked<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let count = buf.filled().len() - before;
        if count > 0 {
            self.activity.received(count);
        }
        if !self.has_room() {
            self.activity.crowded_out.store(true, Relaxed);
            return Poll::Ready(Err(io::Error::other("too many long heads are incomplete")));
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tracked<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.activity.written(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
