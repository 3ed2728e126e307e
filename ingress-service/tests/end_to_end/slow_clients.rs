//! Clients that hold connections: by sending nothing, by sending too slowly, by not reading, by being many.

use std::time::Duration;

use testbed::{RedisServer, until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{self, metric};
use crate::harness::{PATIENCE, Plan, Service, embedded, proxy};
use crate::raw::{ask, assert_problem, connect, read_all, status};

/// For a head, and for a write that makes no progress.
const LIMIT: Duration = Duration::from_secs(10);

const IDLE: &str = "http_slow_clients_total{reason=\"idle\"}";
const HEAD: &str = "http_slow_clients_total{reason=\"head\"}";
const WRITE: &str = "http_slow_clients_total{reason=\"write\"}";

#[tokio::test]
async fn a_head_may_take_ten_seconds_and_a_pause_between_requests_longer() {
    let ingress = embedded().start().await;
    let silent = async {
        let (connected, socket) = (Instant::now(), connect(&ingress).await);
        assert_eq!(read_all(socket).await, "");
        connected.elapsed()
    };
    let trickling = async {
        let (connected, socket) = (Instant::now(), connect(&ingress).await);
        let (read, mut write) = socket.into_split();
        let send = async {
            // None of them late, for as long as anybody listens.
            while write.write_all(b"G").await.is_ok() {
                sleep(Duration::from_millis(200)).await;
            }
            std::future::pending().await
        };
        let read = async {
            let mut bytes = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut { read }, &mut bytes).await;
            String::from_utf8(bytes).unwrap()
        };
        let answer = tokio::select! {
            answer = timeout(PATIENCE, read) => answer.expect("a head may trickle for ever"),
            () = send => unreachable!("what is sent never ends"),
        };
        assert_problem(&answer, 408, "/problems/request-timeout");
        assert!(answer.contains("connection: close"), "{answer}");
        connected.elapsed()
    };
    let pausing = async {
        let mut socket = connect(&ingress).await;
        assert_eq!(status(&ask(&mut socket).await), Some(200));
        sleep(LIMIT + Duration::from_secs(2)).await;
        assert_eq!(
            status(&ask(&mut socket).await),
            Some(200),
            "a pause ends the connection"
        );
    };
    let (silent, trickling, ()) = tokio::join!(silent, trickling, pausing);
    for took in [silent, trickling] {
        assert!(took >= LIMIT, "{silent:?}, {trickling:?}");
    }
    assert_eq!(metric(&ingress.url, HEAD).await, 2.0);
    assert_eq!(metric(&ingress.url, IDLE).await, 0.0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let ingress = embedded().with("IDLE_TIMEOUT", "2s").start().await;
    let mut socket = connect(&ingress).await;
    let asked = Instant::now();
    assert_eq!(status(&ask(&mut socket).await), Some(200));
    assert_eq!(read_all(socket).await, "");
    assert!(asked.elapsed() >= TIMEOUT, "{:?}", asked.elapsed());
    assert_eq!(metric(&ingress.url, IDLE).await, 1.0);
}

/// Opens a connection and keeps it, as soon as there is a place.
async fn take_place(service: &Service) -> TcpStream {
    let mut taken = None;
    until("there is a place", async || {
        let mut socket = connect(service).await;
        let has_place = status(&ask(&mut socket).await) == Some(200);
        taken = has_place.then_some(socket);
        has_place
    })
    .await;
    taken.unwrap()
}

async fn refuses_the_third(plan: Plan) {
    let service = plan.with("MAX_CONNECTIONS", "2").start().await;
    let (mut one, other) = (take_place(&service).await, take_place(&service).await);
    let refused = client::get(&format!("{}/openapi.json", service.url)).await;
    refused.assert_refused("/problems/too-many-connections");
    assert_eq!(refused.header("connection"), "close");
    // Those who have a place notice nothing.
    assert_eq!(status(&ask(&mut one).await), Some(200));
    drop(other);
    let _next = take_place(&service).await;
    drop(one);
    // Until the place that was given back is free, those who ask for metrics are refused as well.
    until("the refusals are counted", async || {
        metric(&service.url, "http_connections_refused_total").await >= 1.0
    })
    .await;
    until("one is held and one asks", async || {
        metric(&service.url, "http_connections").await == 2.0
    })
    .await;
    let explanation = format!("{}{}", service.url, refused.problem());
    until("the problem is explained", async || {
        client::get(&explanation).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn an_ingress_refuses_connections_beyond_the_maximum_until_one_is_free() {
    refuses_the_third(embedded()).await;
}

#[tokio::test]
async fn a_proxy_refuses_connections_beyond_the_maximum_until_one_is_free() {
    let redis = RedisServer::spawn().await;
    refuses_the_third(proxy(&redis.url())).await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_loses_its_connection() {
    let ingress = embedded().start().await;
    let mut socket = connect(&ingress).await;
    // Together more than the system buffers on the way.
    let requests = "GET /swagger/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    let sent = Instant::now();
    socket.write_all(requests.as_bytes()).await.unwrap();
    until("it is given up", async || metric(&ingress.url, WRITE).await == 1.0).await;
    assert!(sent.elapsed() >= LIMIT, "{:?}", sent.elapsed());
    until("only the one that asks is left", async || {
        metric(&ingress.url, "http_connections").await == 1.0
    })
    .await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
}
