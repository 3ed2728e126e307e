//! A TCP proxy between the services and Redis that fails as networks do. What it has swallowed is never
//! forwarded later: a connection that lost bytes is reset when the network heals, as one is whose packets were
//! given up. Answers to questions of one kind can get lost as well, and those alone.

mod losses;

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use losses::Losses;
pub(crate) use losses::Question;

/// As much as is read at once.
const CHUNK: usize = 64 * 1024;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum NetworkFault {
    /// They arrive.
    Pass,
    /// They arrive so much later.
    Delay(Duration),
    /// Those do that publish requests.
    DelayPublishing(Duration),
    /// So many of a connection arrive in either direction, then it is closed.
    CutAfter(u64),
    /// They vanish, on new connections too; nobody is told.
    BlackHole,
    /// Connections are reset, new ones too.
    Reset,
}

/// A proxy in front of one server. Ends with its value.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    weather: watch::Sender<NetworkFault>,
    losses: Arc<Losses>,
    _stop: DropGuard,
}

impl FaultProxy {
    /// A proxy at `address` in front of `server`, which need not be there yet.
    pub(crate) async fn start(address: SocketAddr, server: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| format!("could not listen for the proxy before Redis: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (weather, watching) = watch::channel(NetworkFault::Pass);
        let losses = Arc::<Losses>::default();
        let stop = CancellationToken::new();
        let accepting = accept(listener, server, watching, losses.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Ok(Self {
            address,
            weather,
            losses,
            _stop: stop.drop_guard(),
        })
    }

    /// Changes what happens to bytes, at once and for all connections.
    pub(crate) fn set(&self, weather: NetworkFault) {
        self.weather.send_replace(weather);
    }

    /// Loses the answers to the next `times` questions of a kind, which the server gets; whoever asked hears nothing
    /// more on that connection. Returns when all of them were asked.
    pub(crate) async fn lose(&self, question: Question, times: u32) {
        self.losses.lose(question, times).await;
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    weather: watch::Receiver<NetworkFault>,
    losses: Arc<Losses>,
) {
    // Ends them all when it is dropped with this loop.
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let connections = TaskTracker::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors: those who leave make room.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let connection = serve(client, server, weather.clone(), losses.clone());
        connections.spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn serve(client: TcpStream, server: SocketAddr, mut weather: watch::Receiver<NetworkFault>, losses: Arc<Losses>) {
    let _ = client.set_nodelay(true);
    if *weather.borrow() == NetworkFault::BlackHole {
        // The system has answered the handshake already; nothing else ever gets through.
        while *weather.borrow_and_update() == NetworkFault::BlackHole && weather.changed().await.is_ok() {}
        reset(client);
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else {
        // Nobody listens there: the client hears it as from the server itself.
        reset(client);
        return;
    };
    let _ = server.set_nodelay(true);
    if forward(&client, &server, weather, &losses).await == End::Reset {
        reset(client);
        reset(server);
    }
}

/// Closes a connection in a way that the peer notices as a fault.
fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// What the two directions of a connection know of each other.
#[derive(Default)]
struct Fate {
    /// Whether bytes are gone.
    swallowed: AtomicBool,
    /// Bytes that arrived.
    passed: AtomicU64,
    /// Whether nothing comes back any more.
    deaf: AtomicBool,
}

async fn forward(
    client: &TcpStream,
    server: &TcpStream,
    weather: watch::Receiver<NetworkFault>,
    losses: &Losses,
) -> End {
    let fate = Fate::default();
    let there = |chunk: &[u8]| {
        if losses.strike(chunk) {
            fate.deaf.store(true, Ordering::Relaxed);
        }
        true
    };
    let back = |_: &[u8]| !fate.deaf.load(Ordering::Relaxed);
    tokio::select! {
        end = pump(client, server, weather.clone(), &fate, there) => end,
        end = pump(server, client, weather.clone(), &fate, back) => end,
        end = watch_over(weather, &fate) => end,
    }
}

/// Ends the connection when the weather says so, or when it heals over bytes that are gone.
async fn watch_over(mut weather: watch::Receiver<NetworkFault>, fate: &Fate) -> End {
    loop {
        match *weather.borrow_and_update() {
            NetworkFault::Reset => return End::Reset,
            NetworkFault::BlackHole => {}
            _ if fate.swallowed.load(Ordering::Relaxed) => return End::Reset,
            _ => {}
        }
        if weather.changed().await.is_err() {
            pending::<()>().await;
        }
        // Counted anew in new weather only: what passed before the first look counts.
        fate.passed.store(0, Ordering::Relaxed);
    }
}

/// Forwards chunk by chunk, those that `heard` lets through.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    weather: watch::Receiver<NetworkFault>,
    fate: &Fate,
    heard: impl Fn(&[u8]) -> bool,
) -> End {
    let mut chunk = vec![0; CHUNK];
    let mut late = Late::default();
    loop {
        let read = tokio::select! {
            read = read(from, &mut chunk) => read,
            () = late.is_due() => {
                if late.pass_one(to).await.is_err() {
                    return End::Reset;
                }
                continue;
            }
        };
        let read = match read {
            Ok(read) if read > 0 => read,
            // A peer that leaves during a black hole is not noticed on the other side until it heals.
            _ if *weather.borrow() == NetworkFault::BlackHole => {
                fate.swallowed.store(true, Ordering::Relaxed);
                pending::<usize>().await
            }
            Ok(_) => {
                let _ = late.pass_all(to).await;
                return End::Closed;
            }
            Err(_) => return End::Reset,
        };
        let now = *weather.borrow();
        let allowed = match now {
            NetworkFault::Pass => read,
            NetworkFault::Delay(delay) => {
                if heard(&chunk[..read]) {
                    late.push(delay, &chunk[..read]);
                }
                continue;
            }
            NetworkFault::DelayPublishing(delay) if late.is_some() || publishes(&chunk[..read]) => {
                if heard(&chunk[..read]) {
                    late.push(delay, &chunk[..read]);
                }
                continue;
            }
            NetworkFault::DelayPublishing(_) => read,
            NetworkFault::CutAfter(limit) => {
                let before = fate.passed.fetch_add(read as u64, Ordering::Relaxed);
                read.min(limit.saturating_sub(before) as usize)
            }
            NetworkFault::BlackHole => {
                fate.swallowed.store(true, Ordering::Relaxed);
                continue;
            }
            NetworkFault::Reset => return End::Reset,
        };
        if !heard(&chunk[..allowed]) {
            continue;
        }
        if late.pass_all(to).await.is_err() || write(to, &chunk[..allowed]).await.is_err() {
            return End::Reset;
        }
        if allowed < read {
            return End::Closed;
        }
    }
}

/// Whether a chunk adds to a stream by a command of its own, as only a publisher of requests does.
fn publishes(chunk: &[u8]) -> bool {
    const MARK: &[u8] = b"$4\r\nXADD\r\n";
    chunk.windows(MARK.len()).any(|window| window == MARK)
}

/// Chunks on a slow way, and when each arrives. Others may follow before that.
#[derive(Default)]
struct Late(VecDeque<(Instant, Vec<u8>)>);

impl Late {
    fn is_some(&self) -> bool {
        !self.0.is_empty()
    }

    fn push(&mut self, delay: Duration, chunk: &[u8]) {
        self.0.push_back((Instant::now() + delay, chunk.to_vec()));
    }

    /// Waits until one arrives.
    async fn is_due(&self) {
        match self.0.front() {
            Some((due, _)) => sleep_until(*due).await,
            None => pending().await,
        }
    }

    async fn pass_one(&mut self, to: &TcpStream) -> io::Result<()> {
        match self.0.pop_front() {
            Some((_, chunk)) => write(to, &chunk).await,
            None => Ok(()),
        }
    }

    async fn pass_all(&mut self, to: &TcpStream) -> io::Result<()> {
        while self.is_some() {
            self.pass_one(to).await?;
        }
        Ok(())
    }
}

async fn read(from: &TcpStream, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
}

async fn write(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
