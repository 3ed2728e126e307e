//! What operators and their machines ask is answered also when there is no place left, and costs nothing that callers
//! would notice.

use std::time::Duration;

use testbed::until;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client;
use crate::harness::{HEAVY, PATIENCE, Plan, embedded, proxy};
use crate::raw::{ask, connect, read_all, status};

async fn answers_probes_without_a_place(plan: Plan) {
    let service = plan.with("MAX_CONNECTIONS", "2").start().await;
    let mut taken: Vec<TcpStream> = Vec::new();
    // The connection that asked whether it is ready may still have its place.
    until("both places are taken", async || {
        let mut socket = connect(&service).await;
        if status(&ask(&mut socket).await) == Some(200) {
            taken.push(socket);
        }
        taken.len() == 2
    })
    .await;
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        for _ in 0..30 {
            let answer = client::get(&format!("{}{path}", service.url)).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert_eq!(answer.header("connection"), "close", "{path}");
        }
    }
    let refused = client::get(&format!("{}/openapi.json", service.url)).await;
    refused.assert_refused("/problems/too-many-connections");
    // One request, whatever comes behind it.
    let mut socket = connect(&service).await;
    let smuggled = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    socket.write_all(smuggled).await.unwrap();
    let answer = read_all(socket).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    for socket in &mut taken {
        assert_eq!(status(&ask(socket).await), Some(200));
    }
}

#[tokio::test]
async fn an_ingress_answers_probes_when_all_connections_are_taken() {
    answers_probes_without_a_place(embedded()).await;
}

#[tokio::test]
async fn a_proxy_answers_probes_when_all_connections_are_taken() {
    let redis = testbed::RedisServer::spawn().await;
    answers_probes_without_a_place(proxy(&redis.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_served_while_clients_pipeline_thousands_of_scrapes() {
    let _turn = HEAVY.lock().await;
    let ingress = embedded().start().await;
    let requests = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    let mut storm = JoinSet::new();
    for _ in 0..200 {
        let (mut read, mut write) = connect(&ingress).await.into_split();
        let requests = requests.clone();
        storm.spawn(async move {
            let mut nowhere = tokio::io::sink();
            let take = tokio::io::copy(&mut read, &mut nowhere);
            let send = async {
                let _ = write.write_all(requests.as_bytes()).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = take => {}
                () = send => {}
            }
        });
    }
    let mut longest = Duration::ZERO;
    for number in 0..20 {
        let answer = timeout(PATIENCE, client::call(&ingress.url)).await.unwrap();
        assert_eq!(answer.status, 200, "call {number}: {answer:?}");
        longest = longest.max(answer.took);
    }
    println!("the slowest of 20 calls took {longest:?}");
    storm.shutdown().await;
}
