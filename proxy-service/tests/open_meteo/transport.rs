//! What can happen to an exchange on the way.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use proxy_service::progress::Reporter;

#[tokio::test]
async fn redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(json_text(CURRENT))
        .expect(0)
        .mount(&elsewhere)
        .await;
    let answer = ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    assert_eq!(
        failure_after(answer).await,
        upstream("the weather service answered with an error")
    );
}

#[tokio::test]
async fn refused_connection_is_an_upstream_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = provider(&format!("http://{address}"))
        .current(&new_york(), &Reporter::none())
        .await
        .unwrap_err();
    assert_eq!(failure, upstream("the geocoding service could not be reached"));
}

/// The first connection to a listener, with a request's start read from it, and its provider's failure.
async fn raw_exchange<F>(serve: impl FnOnce(TcpStream) -> F) -> Failure
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(&format!("http://{}", listener.local_addr().unwrap()));
    let call = tokio::spawn(async move { provider.current(&new_york(), &Reporter::none()).await.unwrap_err() });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    serve(stream).await;
    call.await.unwrap()
}

#[tokio::test]
async fn answer_cut_midway_is_an_upstream_failure() {
    let failure = raw_exchange(|mut stream| async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", GEOCODING.len());
        let half = &GEOCODING[..GEOCODING.len() / 2];
        stream.write_all(format!("{head}{half}").as_bytes()).await.unwrap();
    });
    assert_eq!(failure.await, upstream("the geocoding service broke off its answer"));
}

#[tokio::test]
async fn endless_answer_is_abandoned() {
    let endless = raw_exchange(|mut stream| async move {
        let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        // Ends only when the provider hangs up.
        while written.is_ok() {
            written = stream.write_all(&[b' '; 65536]).await;
        }
    });
    let failure = tokio::time::timeout(Duration::from_secs(30), endless).await.unwrap();
    assert_eq!(failure, upstream("the geocoding service sent too large an answer"));
}

#[tokio::test]
async fn abandoned_call_hangs_up_and_asks_for_nothing_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(&format!("http://{}", listener.local_addr().unwrap()));
    let call = tokio::spawn(async move { provider.current(&new_york(), &Reporter::none()).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);

    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let rest = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 4096])).await;
    assert!(matches!(rest, Ok(Ok(0) | Err(_))), "{rest:?}");
    let next = tokio::time::timeout(Duration::from_millis(100), listener.accept());
    assert!(next.await.is_err());
}
