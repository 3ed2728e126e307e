//! Clients that take their time, on a clock that does not: each wait is as long as it says, in no time.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::server::Limits;
use crate::observe::metrics::Metrics;

mod many;
mod streams;

const IDLE: Duration = Duration::from_secs(75);
const HEAD: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes: whoever waits for so long waits in vain.
const IN_VAIN: Duration = Duration::from_secs(3600);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &[u8] = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";

struct Client {
    socket: DuplexStream,
    served: JoinHandle<Option<DuplexStream>>,
    metrics: Metrics,
    stop: CancellationToken,
    started: Instant,
}

/// A client of a connection that buffers so many bytes.
fn client_with(buffer: usize) -> Client {
    let routes = Router::new()
        .route("/", get(async || "fine"))
        .route("/large", get(async || "x".repeat(10_000)))
        .route("/body", post(async |body: Bytes| body))
        .route("/events", get(async || Body::from_stream(streams::events())))
        .route(
            "/slow",
            get(async || {
                sleep(IDLE * 10).await;
                "at last"
            }),
        );
    client_of(routes, buffer, &Arc::new(Semaphore::new(1)))
}

thread_local! {
    /// Of all clients of a test.
    static LONG_HEADS: Arc<Semaphore> = Arc::new(Semaphore::new(2));
}

/// A client of these routes, in turns with others.
fn client_of(routes: Router, buffer: usize, turns: &Arc<Semaphore>) -> Client {
    let limits = Limits {
        connections: 1,
        idle: IDLE,
        head: HEAD,
        write: WRITE,
    };
    let (socket, server) = duplex(buffer);
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let serving = Serving {
        app: routes,
        limits,
        http: HttpMetrics::new(&metrics),
        turns: turns.clone(),
        long_heads: LONG_HEADS.with(Arc::clone),
        stop: stop.clone(),
    };
    Client {
        socket,
        served: tokio::spawn(serve(server, serving, Requests::Many)),
        metrics,
        stop,
        started: Instant::now(),
    }
}

fn client() -> Client {
    client_with(64 * 1024)
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// One answer, whose body ends so.
    async fn answer(&mut self, ending: &str) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(ending.as_bytes()) {
            let mut bytes = [0; 1024];
            let read = timeout(IN_VAIN, self.socket.read(&mut bytes)).await;
            let count = read.expect("no answer comes").unwrap();
            assert_ne!(count, 0, "hung up after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8(answer).unwrap()
    }

    /// Everything until the server hangs up, and how long that took.
    async fn rest(&mut self) -> (String, Duration) {
        let (asked, mut rest) = (Instant::now(), String::new());
        let read = timeout(IN_VAIN, self.socket.read_to_string(&mut rest)).await;
        read.expect("the connection never ends").unwrap();
        (rest, asked.elapsed())
    }

    #[track_caller]
    fn assert_counted(&self, reason: &str, count: u64) {
        let line = format!("http_slow_clients_total{{reason=\"{reason}\"}} {count}\n");
        let text = self.metrics.encode();
        assert!(text.contains(&line), "{line} is missing in:\n{text}");
    }
}

#[track_caller]
fn assert_between(took: Duration, least: Duration, most: Duration) {
    assert!(took >= least && took <= most, "{took:?} is not in {least:?}..={most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_hung_up_on() {
    let mut client = client();
    let (rest, took) = client.rest().await;
    assert_eq!(rest, "");
    assert_between(took, HEAD, HEAD + SECOND);
    client.assert_counted("head", 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_answered_with_408_so_long_after_its_first_byte() {
    let mut client = client();
    sleep(HEAD / 2).await;
    let begun = Instant::now();
    // Each byte would be early enough after the one before.
    for byte in &REQUEST[..10] {
        client.send(&[*byte]).await;
        sleep(SECOND * 9 / 10).await;
    }
    let (rest, _) = client.rest().await;
    assert_between(begun.elapsed(), HEAD, HEAD + SECOND);
    assert!(rest.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{rest}");
    for part in [
        "content-type: application/problem+json\r\n",
        "connection: close\r\n",
        "/problems/request-timeout",
    ] {
        assert!(rest.contains(part), "{part:?} is missing in {rest}");
    }
    client.assert_counted("head", 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_in_two_parts_is_answered_when_the_second_comes_in_time() {
    let mut client = client();
    for _ in 0..20 {
        client.send(&REQUEST[..10]).await;
        sleep(HEAD - SECOND).await;
        client.send(&REQUEST[10..]).await;
        client.answer("fine").await;
        sleep(SECOND).await;
    }
    client.assert_counted("head", 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_for_the_idle_timeout_after_its_last_answer() {
    let mut client = client();
    for _ in 0..10 {
        client.send(REQUEST).await;
        client.answer("fine").await;
        sleep(IDLE - SECOND).await;
    }
    client.send(REQUEST).await;
    client.answer("fine").await;
    let (rest, took) = client.rest().await;
    assert_eq!(rest, "");
    assert_between(took, IDLE, IDLE * 5 / 4 + SECOND);
    client.assert_counted("idle", 1);
    assert!(client.served.await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_just_began_is_not_cut_by_the_idle_timeout() {
    let mut client = client();
    client.send(REQUEST).await;
    client.answer("fine").await;
    sleep(IDLE - SECOND).await;
    client.send(&REQUEST[..10]).await;
    sleep(HEAD - SECOND).await;
    client.send(&REQUEST[10..]).await;
    client.answer("fine").await;
}

#[tokio::test(start_paused = true)]
async fn a_later_head_that_is_late_ends_the_connection_without_an_answer_nobody_asked_for() {
    let mut client = client();
    client.send(REQUEST).await;
    client.answer("fine").await;
    sleep(HEAD * 2).await;
    client.send(&REQUEST[..10]).await;
    let (rest, took) = client.rest().await;
    assert_eq!(rest, "");
    assert_between(took, HEAD, HEAD + SECOND);
    client.assert_counted("head", 1);
    client.assert_counted("idle", 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_begins_while_another_request_is_worked_on_has_no_more_time() {
    let mut client = client();
    client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(SECOND).await;
    client.send(&REQUEST[..10]).await;
    client.answer("at last").await;
    let (_, took) = client.rest().await;
    assert_between(took, HEAD, HEAD + SECOND);
}

#[tokio::test(start_paused = true)]
async fn work_may_take_as_long_as_it_takes() {
    let mut client = client();
    client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.answer("at last").await;
    assert!(client.started.elapsed() >= IDLE * 10);
    client.send(REQUEST).await;
    client.answer("fine").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_is_no_head_however_slowly_it_comes() {
    let mut client = client();
    client.send(POST).await;
    for byte in b"body" {
        sleep(IDLE).await;
        client.send(&[*byte]).await;
    }
    client.answer("body").await;
    sleep(IDLE - SECOND).await;
    client.send(REQUEST).await;
    client.answer("fine").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_given_up() {
    let mut client = client_with(100);
    sleep(HEAD / 2).await;
    client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let asked = Instant::now();
    let served = timeout(IN_VAIN, &mut client.served).await;
    let given_up = served.expect("the connection never ends").unwrap();
    assert!(given_up.is_some(), "what is left must be thrown away");
    assert_between(asked.elapsed(), WRITE, WRITE + SECOND);
    client.assert_counted("write", 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_its_whole_answer() {
    let mut client = client_with(1000);
    client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut count = 0;
    while count < 10_000 {
        sleep(WRITE - SECOND).await;
        let read = timeout(IN_VAIN, client.socket.read(&mut [0; 1000])).await;
        let read = read.expect("no more comes").unwrap();
        assert_ne!(read, 0, "cut off after {count} bytes");
        count += read;
    }
    client.assert_counted("write", 0);
    assert!(client.started.elapsed() > WRITE * 5);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_head_any_longer_than_usual() {
    let mut client = client();
    client.send(&REQUEST[..10]).await;
    sleep(SECOND).await;
    client.stop.cancel();
    let (rest, _) = client.rest().await;
    assert!(rest.starts_with("HTTP/1.1 408 "), "{rest}");
    assert_between(client.started.elapsed(), HEAD, HEAD + SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_an_idle_connection_and_completes_a_head_that_has_begun() {
    let (mut idle, mut begun) = (client(), client());
    idle.send(REQUEST).await;
    idle.answer("fine").await;
    begun.send(&REQUEST[..10]).await;
    sleep(SECOND).await;
    idle.stop.cancel();
    begun.stop.cancel();
    assert_between(idle.rest().await.1, PARTING_TIME, SECOND);
    begun.send(&REQUEST[10..]).await;
    assert!(begun.answer("fine").await.contains("connection: close"));
}
