//! Request bodies: how much memory they may take together, and who is refused before anything is read.

use std::time::Duration;

use testbed::until;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::client::{self, metric};
use crate::harness::{Service, embedded};
use crate::raw::{assert_problem, connect, read_all, status};

const TAKEN: &str = "roundtrip_ingress_body_bytes";

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
    // For how long a body may stall.
    const STALLED: Duration = Duration::from_secs(10);
    let mut tries = 0;
    let plan = embedded().with("MAX_BODY", "8KiB").with("MAX_BODY_MEMORY", "32KiB");
    let ingress = plan.start().await;
    let chunk = format!("1e00\r\n{}\r\n", " ".repeat(0x1e00));
    let [announced, chunked] = ["Content-Length: 8192\r\n", "Transfer-Encoding: chunked\r\n"];
    let is_taken = async || metric(&ingress.url, TAKEN).await >= f64::from(3 * 8192 + 0x1e00);
    let refusals = async || metric(&ingress.url, "roundtrip_ingress_refused_total{reason=\"body_memory\"}").await;
    let stalled = loop {
        let mut stalled = Vec::new();
        // Announced bytes count at once, those of chunks as they come.
        for _ in 0..3 {
            stalled.push(begin(&ingress, announced, b"{").await);
        }
        stalled.push(begin(&ingress, chunked, chunk.as_bytes()).await);
        let begun = Instant::now();
        while begun.elapsed() < STALLED && !is_taken().await {}
        let before = refusals().await;
        let mut refused = Vec::new();
        for (headers, part) in [(announced, &b""[..]), (chunked, chunk.as_bytes())] {
            refused.push(read_all(begin(&ingress, headers, part).await).await);
        }
        // On a machine that is busy with something else, those that stall may have lost their bytes by then: again.
        if is_taken().await {
            for answer in refused {
                assert_problem(&answer, 503, "/problems/overloaded");
                assert!(answer.contains("retry-after: "), "{answer}");
            }
            assert_eq!(refusals().await - before, 2.0);
            break stalled;
        }
        tries += 1;
        assert!(tries < 10, "most of the budget is never taken");
    };

    for socket in stalled {
        assert_problem(&read_all(socket).await, 408, "/problems/request-timeout");
    }
    until("all is given back", async || metric(&ingress.url, TAKEN).await == 0.0).await;
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
    until("the first is in flight", async || {
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
    // For how long those are listened to who go on sending.
    const PARTING_TIME: Duration = Duration::from_secs(1);
    let ingress = embedded().with("MAX_BODY", "1KiB").start().await;
    for size in [2000, 100_000, 500_000] {
        let mut heard = 0;
        for _ in 0..50 {
            let (begun, socket) = (Instant::now(), connect(&ingress).await);
            let (sent, answer) = send_unread(socket, size).await;
            if begun.elapsed() > PARTING_TIME / 2 {
                // Held up by a busy machine.
                continue;
            }
            assert!(sent.is_ok(), "cut off while it sent {size} bytes: {sent:?}");
            assert_eq!(status(&answer), Some(413), "{size}: {answer}");
            heard += 1;
            if heard == 5 {
                break;
            }
        }
        assert_eq!(
            heard, 5,
            "the machine never lets {size} bytes be sent in {PARTING_TIME:?}"
        );
    }
}

/// Sends a body that nobody wants, and then reads the answer.
async fn send_unread(mut socket: TcpStream, size: usize) -> (std::io::Result<()>, String) {
    let head = "POST /WeatherForecast/city HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let head = format!("{head}Connection: close\r\nContent-Length: {size}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    // In pieces, like a client whose link is slower than the answer; all of it before it reads.
    for piece in vec![b' '; size].chunks(100_000) {
        if let Err(error) = socket.write_all(piece).await {
            return (Err(error), String::new());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (Ok(()), read_all(socket).await)
}
