//! The HTTP server: a place for each of so many connections, and a drain that cuts nobody off. Our own accept
//! loop, because `axum::serve` offers neither limits for slow clients nor a bounded drain. The rule: whatever
//! a client does, its connection has an end. What a `connection` waits for is noticed in `activity`, and
//! how long it may wait is up to the `watchdog`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use prometheus::IntGauge;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::observe::metrics::HttpMetrics;
use crate::resilience::backoff::Backoff;
use connection::Requests;
pub use limits::{ConnectionOptions, Limits};

mod activity;
mod body;
mod connection;
mod limits;
mod probe;
mod rejection;
#[cfg(test)]
mod tests;
mod tracked_app;
mod watchdog;

/// A peer that has vanished is noticed after this, idle or not. Longer than the limits for writing: a client
/// that is merely slow is told apart from one that is gone.
const VANISHED: Duration = Duration::from_secs(30);

/// How much of an answer the system keeps beyond what it has sent, in bytes. By itself it keeps megabytes, and says
/// that there is room again only when a third of them is taken: a client that reads steadily, but less than that in the
/// time for a write, would be taken for one that reads nothing.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 64 * 1024;

/// How many clients are being refused at the same time. Beyond, a connection is closed without a word: an
/// answer for each would let those who are refused take what the cap protects.
const REFUSALS: usize = 1024;

/// Places of their own for probes, beyond those of everybody: where operators and their machines hear nothing, they
/// restart what is only busy. Each is taken for a moment, by somebody who has sent a whole head.
const PROBES: usize = 16;

/// For a probe without a place, from its head to the end of its connection.
const PROBE_TIME: Duration = Duration::from_secs(2);

/// How many heads longer than 8 KiB may be incomplete at the same time. Each may take 24 KiB, and all connections
/// together more than a container has.
const LONG_HEADS: usize = 1024;

/// How many requests of clients that do not wait for their answers are begun at the same time.
const TURNS: usize = 4;

/// Listens on an address.
///
/// # Errors
/// A sentence that names the address, the reason, and the variable to change.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    listen(address).map_err(|source| ListenError { address, source })
}

/// Connections that wait to be accepted; the system may allow fewer. What finds no place there comes again a second
/// later, so a burst of clients should find one.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // What an earlier process left in TIME_WAIT does not keep the next one from starting.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "could not listen on {}; set LISTEN_ADDR to a free address",
            self.address
        )
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What connections are served with.
#[derive(Clone)]
struct Serving {
    app: Router,
    limits: Limits,
    http: HttpMetrics,
    turns: Arc<Semaphore>,
    long_heads: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Serves until `stop`, then answers what is under way, and what was connecting, for as long as `grace`,
/// cuts off what is left, and returns.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    http: HttpMetrics,
    stop: CancellationToken,
    grace: Duration,
) {
    let (connections, cut_off) = (TaskTracker::new(), CancellationToken::new());
    let [places, refusals, probes, turns, long_heads] =
        [limits.connections as usize, REFUSALS, PROBES, TURNS, LONG_HEADS].map(|count| Arc::new(Semaphore::new(count)));
    let serving = Serving {
        app,
        limits,
        http,
        turns,
        long_heads,
        stop: stop.clone(),
    };
    let start = |stream: TcpStream| {
        let (cut_off, serving) = (cut_off.clone(), serving.clone());
        if let Ok(place) = places.clone().try_acquire_owned() {
            let place = Place::new(place, &serving.http);
            let served = serve_connection(stream, place, serving);
            connections.spawn(async move { cut_off.run_until_cancelled(served).await });
        } else if let Ok(place) = refusals.clone().try_acquire_owned() {
            let refused = serve_without_place(stream, place, probes.clone(), serving);
            connections.spawn(async move { cut_off.run_until_cancelled(refused).await });
        } else {
            serving.http.refused_connection();
        }
    };
    let mut pauses = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                start(stream);
                pauses.reset();
            }
            // Out of descriptors, or the peer gave up already: neither is a reason to stop serving.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                pauses.pause(&stop).await;
            }
        }
    }
    backlog(listener).into_iter().for_each(start);
    connections.close();
    if timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(
            count = connections.len(),
            "the grace period is over; cutting off those who still wait"
        );
        cut_off.cancel();
        connections.wait().await;
    }
}

/// Connections that clients have already and we have not: the system would reset them with the listener.
fn backlog(listener: TcpListener) -> Vec<TcpStream> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let waiting = std::iter::from_fn(|| listener.accept().ok());
    waiting
        .filter_map(|(stream, _)| {
            stream.set_nonblocking(true).ok()?;
            TcpStream::from_std(stream).ok()
        })
        .collect()
}

/// One of the places there are, taken for as long as this lives.
struct Place {
    _permit: OwnedSemaphorePermit,
    taken: IntGauge,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, http: &HttpMetrics) -> Self {
        let taken = http.connections().clone();
        taken.inc();
        Self { _permit: permit, taken }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.dec();
    }
}

async fn serve_connection(stream: TcpStream, _place: Place, serving: Serving) {
    configure(&stream);
    if let Some(stream) = connection::serve(stream, serving, Requests::Many).await {
        reset(&stream);
    }
}

/// Answers a probe, and refuses everybody else.
async fn serve_without_place(
    mut stream: TcpStream,
    _place: OwnedSemaphorePermit,
    probes: Arc<Semaphore>,
    serving: Serving,
) {
    let head = rejection::head(&mut stream).await;
    if !head.is_probe() {
        serving.http.refused_connection();
        return rejection::refuse(stream).await;
    }
    configure(&stream);
    let answered = async {
        let _place = probes.acquire().await;
        let again = head.before(stream);
        if let Some(again) = connection::serve(again, serving, Requests::One).await {
            reset(again.io());
        }
    };
    // Whoever did not take the answer by then does not want it.
    let _ = timeout(PROBE_TIME, answered).await;
}

/// Closes a connection without its client: the system would go on trying to get rid of what nobody takes.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn configure(stream: &TcpStream) {
    if let Err(error) = try_configure(stream) {
        // The peer is gone already, which is noticed soon enough.
        tracing::debug!(%error, "could not configure a connection");
    }
}

/// Answers are written whole: waiting to coalesce them only adds latency. A client that vanished without a
/// word is noticed, whether or not there is something to be written to it.
fn try_configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(VANISHED / 2)
        .with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(VANISHED))?;
        socket.set_tcp_notsent_lowat(UNSENT)?;
    }
    Ok(())
}
