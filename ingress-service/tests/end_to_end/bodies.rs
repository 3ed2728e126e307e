//! Request bodies: how much memory they may take together, and who is refused before anything is read.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{self, metric};
use crate::harness::{PATIENCE, Service, embedded, until};
use crate::raw::{assert_problem, connect, read_all, status};

const TAKEN: &str = "ingress_body_bytes";

/// Begins a call: its head, and this much of its body.
async fn begin(ingress: &Service, headers: &str, part: &[u8]) -> TcpStream {
    let mut socket = connect(ingress).await;
    let head = format!(
        "POST /WeatherForecast/city HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // Whoever is refused early is not read to the end.
    let _ = timeout(Duration::from_secs(2), socket.write_all(part)).await;
    socket
}

#[tokio::test]
async fn bodies_share_a_budget_and_those_that_stall_give_their_bytes_back() {
    let plan = embedded().with("MAX_BODY", "8KiB").with("MAX_BODY_MEMORY", "32KiB");
    let ingress = plan.start().await;
    let mut stalled = Vec::new();
    // Announced bytes count at once, those of chunks as they come.
    for _ in 0..3 {
        stalled.push(begin(&ingress, "Content-Length: 8192\r\n", b"{").await);
    }
    let chunk = format!("1e00\r\n{}\r\n", " ".repeat(0x1e00));
    stalled.push(begin(&ingress, "Transfer-Encoding: chunked\r\n", chunk.as_bytes()).await);
    until("most of the budget is taken", Duration::from_secs(8), async || {
        metric(&ingress.url, TAKEN).await >= f64::from(3 * 8192 + 0x1e00)
    })
    .await;

    let refused = read_all(begin(&ingress, "Content-Length: 8192\r\n", b"").await).await;
    assert_problem(&refused, 503, "/problems/overloaded");
    assert!(refused.contains("retry-after: "), "{refused}");
    let refused = read_all(begin(&ingress, "Transfer-Encoding: chunked\r\n", chunk.as_bytes()).await).await;
    assert_problem(&refused, 503, "/problems/overloaded");
    assert_eq!(
        metric(&ingress.url, "ingress_refused_total{reason=\"body_memory\"}").await,
        2.0
    );

    for socket in stalled {
        assert_problem(&read_all(socket).await, 408, "/problems/request-timeout");
    }
    until("all is given back", PATIENCE, async || {
        metric(&ingress.url, TAKEN).await == 0.0
    })
    .await;
    assert_eq!(client::call(&ingress.url).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_sent_but_for_their_last_byte_take_little_memory() {
    const CONNECTIONS: usize = 200;
    const MEBIBYTE: usize = 1 << 20;
    let ingress = embedded().start().await;
    let resident = async || metric(&ingress.url, "process_resident_memory_bytes").await;
    let before = resident().await;
    let body = vec![b' '; MEBIBYTE - 1];
    let mut clients = JoinSet::new();
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        sockets.push(begin(&ingress, &format!("Content-Length: {MEBIBYTE}\r\n"), b"").await);
    }
    for mut socket in sockets {
        let body = body.clone();
        clients.spawn(async move {
            let _ = timeout(Duration::from_secs(3), socket.write_all(&body)).await;
            socket
        });
    }
    let _sockets = clients.join_all().await;
    let grown = (resident().await - before) / MEBIBYTE as f64;
    assert!(grown < 64.0, "{CONNECTIONS} connections take {grown:.0} MiB");
}

#[tokio::test]
async fn an_ingress_that_is_full_refuses_a_call_before_its_body_comes() {
    let plan = embedded().with("MAX_IN_FLIGHT", "1").with("SIMULATED_LATENCY", "30s");
    let ingress = plan.start().await;
    let url = ingress.url.clone();
    let first = tokio::spawn(async move { client::call(&url).await });
    until("the first is in flight", PATIENCE, async || {
        metric(&ingress.url, "ingress_pending_requests").await == 1.0
    })
    .await;
    // Nobody is asked to send what is not read, either.
    for headers in [
        "Content-Length: 4000\r\n",
        "Content-Length: 4000\r\nExpect: 100-continue\r\n",
    ] {
        let refused = read_all(begin(&ingress, headers, b"").await).await;
        assert_problem(&refused, 503, "/problems/overloaded");
        assert!(refused.contains("retry-after: "), "{refused}");
    }
    first.abort();
}

#[tokio::test]
async fn a_caller_who_sends_a_body_that_is_not_read_hears_why() {
    let ingress = embedded().with("MAX_BODY", "1KiB").start().await;
    for size in [2000, 100_000, 500_000] {
        for _ in 0..5 {
            let mut socket = connect(&ingress).await;
            let head = "POST /WeatherForecast/city HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
            let head = format!("{head}Connection: close\r\nContent-Length: {size}\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            // In pieces, like a client whose link is slower than the answer; all of it before it reads.
            for piece in vec![b' '; size].chunks(100_000) {
                let sent = socket.write_all(piece).await;
                assert!(sent.is_ok(), "cut off while it sent {size} bytes: {sent:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let answer = read_all(socket).await;
            assert_eq!(status(&answer), Some(413), "{size}: {answer}");
        }
    }
}
