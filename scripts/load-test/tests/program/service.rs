//! A small service under the test's control: right, wrong, slow or broken on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

/// What the service does with a request for the weather.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// Answers as it should.
    Right,
    /// As it should, in chunks, and closes the connection.
    RightOnce,
    /// For the city that was not asked for.
    WrongCity,
    /// Without one of the fields.
    Incomplete,
    /// With this status.
    Status(u16),
    /// With half an answer.
    HalfAnAnswer,
    /// Never.
    Silent,
    /// As something else that has a health check.
    NoIngress,
    /// As it should, but at the n-th request nobody gets anything for a while.
    StallOnce(u64, Duration),
}

/// A service that runs until it is dropped.
pub(crate) struct Service {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

struct Shared {
    manner: Manner,
    requests: AtomicU64,
    /// Held by whoever stalls the whole service.
    gate: Mutex<()>,
}

impl Service {
    /// Starts a service on a free port.
    pub(crate) fn start(manner: Manner) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manner,
            requests: AtomicU64::new(0),
            gate: Mutex::new(()),
        });
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        let _runtime = runtime;
        Self { address, _runtime }
    }

    /// The URL of the service.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut buffer = vec![0; 4096];
    loop {
        // The load test writes a request at once, and small ones arrive so.
        let read = stream.read(&mut buffer).await?;
        let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if request.is_empty() {
            return Ok(());
        }
        if request.starts_with("GET /healthz ") || request.starts_with("GET /readyz ") {
            stream.write_all(&response(200, "{}")).await?;
            continue;
        }
        if request.starts_with("GET ") {
            let status = if matches!(shared.manner, Manner::NoIngress) {
                404
            } else {
                405
            };
            stream.write_all(&response(status, "{}")).await?;
            continue;
        }
        let body = request.split("\r\n\r\n").nth(1).unwrap();
        match answer(&shared, serde_json::from_str(body).unwrap()).await {
            (bytes, true) => stream.write_all(&bytes).await?,
            (bytes, false) => return stream.write_all(&bytes).await,
        }
    }
}

/// The bytes to answer with, and whether the connection stays.
async fn answer(shared: &Shared, asked: Value) -> (Vec<u8>, bool) {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    let mut weather = json!({
        "city": asked["city"], "location": asked["location"], "requestId": number.to_string(),
        "forecastTime": "2026-01-01T00:00:00Z", "temperature": -3, "condition": "Snowy", "humidity": 90,
        "windSpeed": 7.5,
    });
    match shared.manner {
        Manner::Right | Manner::NoIngress => {}
        Manner::RightOnce => return (chunked_and_closed(&weather.to_string()), false),
        Manner::WrongCity => weather["city"] = "Atlantis".into(),
        Manner::Incomplete => drop(weather.as_object_mut().unwrap().remove("humidity")),
        Manner::Status(status) => return (response(status, r#"{"title":"Not now"}"#), true),
        Manner::HalfAnAnswer => {
            let whole = response(200, &weather.to_string());
            return (whole[..whole.len() / 2].to_vec(), false);
        }
        Manner::Silent => std::future::pending().await,
        Manner::StallOnce(at, stall) => {
            let _held = shared.gate.lock().await;
            if number == at {
                tokio::time::sleep(stall).await;
            }
        }
    }
    (response(200, &weather.to_string()), true)
}

fn response(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn chunked_and_closed(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked";
    format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
}
