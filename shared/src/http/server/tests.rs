//! The accept loop, on real sockets.

#![allow(clippy::unwrap_used)]

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::observe::metrics::Metrics;

struct Server {
    address: SocketAddr,
    metrics: Metrics,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Longer than anything takes that comes at all, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves on some port, with as many places.
async fn serve_with(connections: u32) -> Server {
    serve_patiently(connections, Duration::from_millis(300)).await
}

/// The same, with clients that may take nothing of their answers for so long.
async fn serve_patiently(connections: u32, write: Duration) -> Server {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/", get(async || "fine"))
        .route("/livez", get(async || "alive"))
        .route("/large", get(async || "x".repeat(16 << 20)));
    let limits = Limits {
        connections,
        idle: Duration::from_secs(60),
        head: Duration::from_secs(60),
        write,
    };
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let http = HttpMetrics::new(&metrics);
    let serving = serve(listener, app, limits, http, stop.clone(), PATIENCE * 60);
    Server {
        address,
        metrics,
        stop,
        serving: tokio::spawn(serving),
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request on a connection and reads the beginning of the answer.
    async fn ask(&self, stream: &mut TcpStream) -> String {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let _ = stream.write_all(request).await;
        let mut answer = [0; 1024];
        let count = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    /// Waits until a metric has a value.
    async fn until(&self, line: &str) {
        let line = format!("{line}\n");
        let deadline = Instant::now() + PATIENCE;
        while !self.metrics.encode().contains(&line) {
            let text = self.metrics.encode();
            assert!(Instant::now() < deadline, "{line} is missing in:\n{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_connection_beyond_the_last_place_is_refused_until_one_is_free() {
    let server = serve_with(2).await;
    let (mut one, other) = (server.connect().await, server.connect().await);
    server.until("http_connections 2").await;
    let mut refused = String::new();
    // It need not send anything to be told so.
    server.connect().await.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    for part in [
        "retry-after: 1\r\n",
        "connection: close\r\n",
        "/problems/too-many-connections",
    ] {
        assert!(refused.contains(part), "{part:?} is missing in {refused}");
    }
    server.until("http_connections_refused_total 1").await;
    assert!(server.ask(&mut one).await.starts_with("HTTP/1.1 200 "));
    drop(other);
    server.until("http_connections 1").await;
    let mut next = server.connect().await;
    assert!(server.ask(&mut next).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_place() {
    let server = serve_with(1).await;
    let mut client = server.connect().await;
    client
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    server.until("http_connections 1").await;
    server.until("http_slow_clients_total{reason=\"write\"} 1").await;
    server.until("http_connections 0").await;
    // What the system holds of the answer is thrown away, rather than kept for a client that may never ask.
    let error = loop {
        match client.read(&mut [0; 1 << 16]).await {
            Ok(0) => panic!("the answer ended as if it were whole"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_that_reads_slowly_and_steadily_keeps_its_connection() {
    const LIMIT: Duration = Duration::from_secs(2);
    for _ in 0..10 {
        let server = serve_patiently(1, LIMIT).await;
        let mut client = server.connect().await;
        let (longest_pause, whole) = read_slowly(&mut client, LIMIT * 2).await;
        // Who was kept from reading on a busy machine did not read steadily: another try.
        if longest_pause < LIMIT / 2 {
            whole.expect("cut off although it read");
            return server.until("http_slow_clients_total{reason=\"write\"} 0").await;
        }
    }
    panic!("the machine never lets anybody read for {LIMIT:?}");
}

/// Reads 160 KiB a second for so long. Returns the longest time without a read, and what went wrong.
async fn read_slowly(client: &mut TcpStream, length: Duration) -> (Duration, io::Result<()>) {
    SockRef::from(&*client).set_recv_buffer_size(16 * 1024).unwrap();
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    let (asked, mut read, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while asked.elapsed() < length {
        let taken = client.read_exact(&mut [0; 16 * 1024]).await;
        longest = longest.max(read.elapsed());
        if let Err(error) = taken {
            return (longest, Err(error));
        }
        read = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (longest, Ok(()))
}

#[tokio::test]
async fn refused_clients_do_not_delay_the_end() {
    let server = serve_with(1).await;
    let _place = server.connect().await;
    server.until("http_connections 1").await;
    let _refused = server.connect().await;
    server.until("http_connections_refused_total 1").await;
    server.stop.cancel();
    let served = timeout(PATIENCE, server.serving).await;
    served.expect("it waits for all of the grace period").unwrap();
}

#[tokio::test]
async fn a_vanished_client_will_be_noticed() {
    let server = serve_with(1).await;
    let stream = server.connect().await;
    try_configure(&stream).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
    #[cfg(target_os = "linux")]
    {
        assert_eq!(socket.tcp_keepalive_time().unwrap(), VANISHED / 2);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(VANISHED));
    }
}

#[tokio::test]
async fn a_probe_is_answered_without_a_place_whoever_else_wants_to_look_like_one() {
    let server = serve_with(1).await;
    let mut place = server.connect().await;
    server.until("http_connections 1").await;
    // They begin like probes and never end; more of them than there are places for probes.
    let mut pretenders = Vec::new();
    for _ in 0..100 {
        let mut pretender = server.connect().await;
        pretender.write_all(b"GET /livez HTTP/1.1\r\nHost:").await.unwrap();
        pretenders.push(pretender);
    }
    for request in [
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /livez?verbose HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let (mut probe, mut answer) = (server.connect().await, String::new());
        // In two parts, as the health check of a container may.
        let (one, other) = request.split_at(20);
        probe.write_all(one.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        probe.write_all(other.as_bytes()).await.unwrap();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{request}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    for request in [
        "GET / HTTP/1.1\r\n",
        "GET /livezz HTTP/1.1\r\n",
        "POST /livez HTTP/1.1\r\n",
    ] {
        let (mut other, mut answer) = (server.connect().await, String::new());
        other
            .write_all(format!("{request}Host: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        other.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{request}: {answer}");
    }
    for mut pretender in pretenders {
        let mut answer = String::new();
        pretender.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    server.until("http_connections_refused_total 103").await;
    assert!(server.ask(&mut place).await.starts_with("HTTP/1.1 200 "));
}
