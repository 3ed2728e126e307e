//! The fastest service there could be: answers every place with the same weather, from memory, on one thread. For
//! measuring the load test itself: `cargo run --release -p load-test --example responder -- 127.0.0.1:5999`.

use std::collections::HashMap;
use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5999".to_owned());
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream));
    }
}

/// Answers one connection until it ends. Relies on what the load test does: one request at a time, one write each.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answers: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut buffer = vec![0; 4096];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let request = &buffer[..read];
        if !answers.contains_key(request) {
            answers.insert(request.to_vec(), answer(request));
        }
        stream.write_all(&answers[request]).await?;
    }
}

fn answer(request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
    let asked: Value = serde_json::from_str(body).unwrap_or_default();
    let weather = json!({
        "city": asked["city"], "location": asked["location"], "requestId": "01890a5d-ac96-774b-bcce-b302099a8057",
        "forecastTime": "2026-01-01T00:00:00Z", "temperature": 8.4, "condition": "Partly Cloudy", "humidity": 71,
        "windSpeed": 4.2,
    });
    let weather = weather.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
    format!("{head}: {}\r\n\r\n{weather}", weather.len()).into_bytes()
}
