//! One connection, from its first byte to its end. The rule: a connection is cut off only where no answer is
//! under way, or where the client does not take it; in every other case hyper is asked to close, and does
//! so behind the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::Serving;
use super::activity::{Activity, Tracked};
use super::rejection;
use super::tracked_app::TrackedApp;
use super::watchdog::{Late, Watchdog};
use crate::observe::metrics::HttpMetrics;
use crate::process::logging::with_causes;

#[cfg(test)]
mod tests;

/// Where hyper itself stops reading a head, and the most that it reads ahead of what somebody asks for: what a
/// connection may buffer for nothing. Larger than what the service accepts, so that what is a little too large gets a
/// readable answer. (Over 100 header lines, and what is no HTTP, get hyper's bare status: it offers no other, and a
/// higher number of lines costs every request an allocation.)
const READ_BUFFER: usize = 24 * 1024;

/// After the stop, the time for a request that is on its way: its answer asks the client to close. Only then
/// is an idle connection closed from our side.
const PARTING_TIME: Duration = Duration::from_millis(500);

/// How much a connection may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requests {
    /// One request after the other.
    Many,
    /// A single one; the answer says so.
    One,
}

/// Serves a connection to its end. Gives back one whose client takes nothing: what is left to be written to
/// it must be thrown away.
pub(super) async fn serve<IO>(io: IO, serving: Serving, requests: Requests) -> Option<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let stop = serving.stop.clone();
    let mut connection = Watched::new(io, serving, requests);
    let mut ended = stop.run_until_cancelled(&mut connection).await;
    if ended.is_none() {
        ended = timeout(PARTING_TIME, &mut connection).await.ok();
    }
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection.hyper).graceful_shutdown();
            (&mut connection).await
        }
    };
    match ended {
        Ended::Closed(Ok(())) => {
            if connection.activity.has_unread_body() {
                rejection::part(connection.into_io()).await;
            }
            None
        }
        Ended::Late(Late::Idle) => None,
        Ended::Closed(Err(error)) => {
            tracing::debug!(error = with_causes(&error), "a connection ended early");
            // As with a head that is late: after an earlier answer nobody can tell whose this one is.
            if connection.activity.is_crowded_out() && connection.activity.is_first_head() {
                rejection::crowd_out(connection.into_io()).await;
            }
            None
        }
        Ended::Late(Late::Head) => {
            let has_begun = connection.activity.waiting() != super::activity::Waiting::New;
            // Whoever sent nothing asked for nothing: browsers open connections that they may need.
            if has_begun {
                rejection::give_up(connection.into_io()).await;
            }
            None
        }
        Ended::Late(Late::Write) => Some(connection.into_io()),
    }
}

enum Ended {
    Closed(hyper::Result<()>),
    Late(Late),
}

/// hyper's connection, and who watches it.
struct Watched<IO> {
    hyper: http1::Connection<TokioIo<Tracked<IO>>, TrackedApp>,
    activity: Arc<Activity>,
    watchdog: Watchdog,
    http: HttpMetrics,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Watched<IO> {
    fn new(io: IO, serving: Serving, requests: Requests) -> Self {
        let activity = Arc::new(Activity::default());
        let io = TokioIo::new(Tracked::new(io, activity.clone(), serving.long_heads));
        let app = TrackedApp::new(serving.app, activity.clone(), serving.turns);
        let hyper = http1::Builder::new()
            // It runs between requests too, and takes a timer for each: the watchdog does neither.
            .header_read_timeout(None)
            .max_buf_size(READ_BUFFER)
            .keep_alive(requests == Requests::Many)
            // Answers are small: copied behind their head they cost less than a vectored write.
            .writev(false)
            .serve_connection(io, app);
        Self {
            hyper,
            activity,
            watchdog: Watchdog::new(serving.limits),
            http: serving.http,
        }
    }

    fn into_io(self) -> IO {
        self.hyper.into_parts().io.into_inner().into_inner()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Watched<IO> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        loop {
            // First of all: a request that has come by now is not late.
            if let Poll::Ready(ended) = Pin::new(&mut this.hyper).poll(cx) {
                return Poll::Ready(Ended::Closed(ended));
            }
            let Poll::Ready(late) = this.watchdog.poll(cx, this.activity.waiting()) else {
                return Poll::Pending;
            };
            this.http.slow_client(late.reason());
            match late {
                // An earlier answer may still be under way, and a 408 could be taken for another one.
                Late::Idle | Late::Head if !this.activity.is_first_head() => {
                    this.watchdog.part();
                    Pin::new(&mut this.hyper).graceful_shutdown();
                }
                late => return Poll::Ready(Ended::Late(late)),
            }
        }
    }
}
