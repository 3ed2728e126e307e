//! A server that is away, hangs, is full, or keeps us out.

use std::net::SocketAddr;

use super::*;

#[tokio::test]
async fn a_server_that_is_down_is_a_definite_failure() {
    let url: BrokerUrl = format!("redis://{}", testbed::free_address()).parse().unwrap();
    let broker = connect(&url, Duration::from_secs(6), Durability::Volatile).broker;
    let error = broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Unavailable);
    assert_eq!(error.to_string(), "could not publish to the request stream");
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_while_it_does_and_the_outcome_is_unknown() {
    let harness = harness().await;
    harness.broker.publish(&[request(&ReplyTo::unique("a"))]).await.unwrap();
    harness.server.signal(testbed::Signal::STOP).unwrap();
    let requests = [request(&ReplyTo::unique("a"))];
    let published = tokio::time::timeout(Duration::from_secs(60), harness.broker.publish(&requests)).await;
    let error = published.expect("nobody waits for it to go on").unwrap_err();
    assert!(error.may_have_applied());
}

#[tokio::test]
async fn a_full_server_refuses_a_batch_whole() {
    let harness = harness().await;
    harness
        .server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    let batch = vec![request(&ReplyTo::unique("a")); 3];
    let error = harness.broker.publish(&batch).await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Full);
    harness
        .server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 0);
    harness.broker.publish(&batch).await.unwrap();
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 3);
}

#[tokio::test]
async fn a_settlement_whose_answer_was_lost_is_repeated_without_a_second_reply() {
    let (harness, me, requester) = (harness().await, Consumer::unique("w"), ReplyTo::unique("r"));
    let (port, mute) = mutable_path_to(harness.server.address).await;
    let url: BrokerUrl = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let broker = connect(&url, Duration::from_secs(60), Durability::Volatile).broker;
    broker.heartbeat(&requester).await.unwrap();
    let sent = request(&requester);
    broker.publish(std::slice::from_ref(&sent)).await.unwrap();
    let mut deliveries = Vec::new();
    while deliveries.is_empty() {
        deliveries = broker.claim(&me, 1).await.unwrap();
    }
    let reply = Reply::new(sent.id, Origin::default(), Ok("{}".into()));
    let settlement = [Settlement::reply(
        deliveries[0].receipt.clone(),
        requester.clone(),
        reply,
    )];
    mute.store(true, Ordering::Relaxed);
    assert!(broker.settle(&settlement).await.unwrap_err().may_have_applied());
    let responses = format!("weather-responses:{requester}");
    until("the first try works", async || {
        harness.server.number(&["XLEN", &responses]).await == 1
    })
    .await;
    mute.store(false, Ordering::Relaxed);
    broker.settle(&settlement).await.unwrap();
    assert_eq!(harness.server.number(&["XLEN", &responses]).await, 1);
    assert_eq!(harness.server.number(&["XLEN", "weather-requests"]).await, 0);
}

/// A port that leads to the server, and a switch that keeps its answers from coming back.
async fn mutable_path_to(server: SocketAddr) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, mute) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
    let muted = mute.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let muted = muted.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    if !muted.load(Ordering::Relaxed) && to_client.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, mute)
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let harness = harness().await;
    harness
        .server
        .command(&["CONFIG", "SET", "requirepass", "right"])
        .await
        .unwrap();
    let url = harness.server.url().replace("redis://", "redis://:wrong-secret@");
    let broker = connect(&url.parse().unwrap(), Duration::from_secs(6), Durability::Volatile).broker;
    let error = broker.ping().await.unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Denied);
    assert!(!format!("{error:?}").contains("wrong-secret"));
}
