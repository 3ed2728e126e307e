#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const SOON: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_millis(200);

/// A server that sends back what it gets, behind the proxy.
async fn echo() -> FaultProxy {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    FaultProxy::start(ANY, address).await.unwrap()
}

async fn connect(fault_proxy: &FaultProxy) -> TcpStream {
    timeout(SOON, TcpStream::connect(fault_proxy.address))
        .await
        .unwrap()
        .unwrap()
}

async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    timeout(SOON, stream.read_exact(&mut back)).await.unwrap()?;
    Ok(back)
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(A_WHILE, stream.read(&mut [0])).await.is_err()
}

/// What the end of the connection looks like to the client.
async fn end(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap()?;
    Ok(rest)
}

#[tokio::test]
async fn in_fair_weather_bytes_pass() {
    let fault_proxy = echo().await;
    let mut stream = connect(&fault_proxy).await;
    let long = vec![7; 300_000];
    assert_eq!(exchange(&mut stream, b"hello").await.unwrap(), b"hello");
    let (mut from, mut to) = stream.split();
    let mut back = vec![0; long.len()];
    let (sent, read) = tokio::join!(to.write_all(&long), from.read_exact(&mut back));
    sent.unwrap();
    read.unwrap();
    assert_eq!(back, long);
}

#[tokio::test]
async fn a_delay_delays_each_way() {
    let fault_proxy = echo().await;
    let mut stream = connect(&fault_proxy).await;
    fault_proxy.set(NetworkFault::Delay(Duration::from_millis(50)));
    let started = Instant::now();
    assert_eq!(exchange(&mut stream, b"hello").await.unwrap(), b"hello");
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_cut_lets_through_what_it_says_and_closes() {
    let fault_proxy = echo().await;
    fault_proxy.set(NetworkFault::CutAfter(8));
    let mut stream = connect(&fault_proxy).await;
    // Five there and three of them back.
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(end(&mut stream).await.unwrap(), b"hel");
}

#[tokio::test]
async fn a_black_hole_says_nothing_and_what_it_swallowed_never_arrives() {
    let fault_proxy = echo().await;
    let (mut used, mut idle) = (connect(&fault_proxy).await, connect(&fault_proxy).await);
    for stream in [&mut used, &mut idle] {
        exchange(stream, b"before").await.unwrap();
    }
    fault_proxy.set(NetworkFault::BlackHole);
    let mut new = connect(&fault_proxy).await;
    for stream in [&mut used, &mut new] {
        stream.write_all(b"lost").await.unwrap();
        assert!(is_silent(stream).await);
    }
    fault_proxy.set(NetworkFault::Pass);
    for stream in [&mut used, &mut new] {
        assert_eq!(end(stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
    // One that sent nothing meanwhile has lost nothing.
    assert_eq!(exchange(&mut idle, b"after").await.unwrap(), b"after");
    assert_eq!(
        exchange(&mut connect(&fault_proxy).await, b"after").await.unwrap(),
        b"after"
    );
}

#[tokio::test]
async fn a_slow_way_takes_its_time_however_much_is_on_it() {
    const DELAY: Duration = Duration::from_millis(100);
    let fault_proxy = echo().await;
    let mut stream = connect(&fault_proxy).await;
    fault_proxy.set(NetworkFault::Delay(DELAY));
    let began = std::time::Instant::now();
    for _ in 0..100 {
        stream.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    timeout(SOON, stream.read_exact(&mut [0; 100])).await.unwrap().unwrap();
    assert!(began.elapsed() >= 2 * DELAY, "there and back");
    assert!(began.elapsed() < 20 * DELAY, "and not chunk by chunk");
}

#[tokio::test]
async fn a_reset_is_a_reset_for_old_and_new_connections() {
    let fault_proxy = echo().await;
    let mut old = connect(&fault_proxy).await;
    exchange(&mut old, b"before").await.unwrap();
    fault_proxy.set(NetworkFault::Reset);
    assert_eq!(end(&mut old).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let mut new = connect(&fault_proxy).await;
    assert_eq!(end(&mut new).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_question_whose_answer_is_lost_arrives_and_its_connection_is_deaf_from_then_on() {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let fault_proxy = FaultProxy::start(ANY, listener.local_addr().unwrap()).await.unwrap();
    let (mut deaf, mut other) = (connect(&fault_proxy).await, connect(&fault_proxy).await);
    let asked = async {
        tokio::task::yield_now().await;
        deaf.write_all(b"$5\r\nXREAD\r\n").await.unwrap();
        other.write_all(b"$5\r\nXTRIM\r\n").await.unwrap();
    };
    tokio::join!(fault_proxy.lose(Question::Replies, 1), asked);
    // They outlive the test: a connection that ends is no silence.
    let mut answered = Vec::new();
    for _ in 0..2 {
        let (mut stream, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
        let mut question = [0; 11];
        timeout(SOON, stream.read_exact(&mut question)).await.unwrap().unwrap();
        stream.write_all(b"+OK\r\n").await.unwrap();
        answered.push(stream);
    }
    let mut answer = [0; 5];
    timeout(SOON, other.read_exact(&mut answer)).await.unwrap().unwrap();
    assert!(is_silent(&mut deaf).await);
}

#[tokio::test]
async fn a_server_that_is_away_is_a_reset_and_its_return_is_noticed() {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fault_proxy = FaultProxy::start(ANY, address).await.unwrap();
    let mut stream = connect(&fault_proxy).await;
    assert_eq!(
        end(&mut stream).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
    let listener = TcpListener::bind(address).await.unwrap();
    let _stream = connect(&fault_proxy).await;
    timeout(SOON, listener.accept()).await.unwrap().unwrap();
}
