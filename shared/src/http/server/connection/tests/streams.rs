//! Answers that go on for long.

use std::convert::Infallible;

use futures_util::stream;

use super::*;

/// How often a stream says that it is alive, and how long it goes on.
const HEARTBEAT: Duration = Duration::from_secs(15);
const HEARTBEATS: usize = 40;

pub(super) fn events() -> impl stream::Stream<Item = Result<&'static str, Infallible>> {
    stream::unfold(0, async |told| {
        sleep(HEARTBEAT).await;
        match told {
            HEARTBEATS => None,
            _ => Some((
                Ok(if told + 1 < HEARTBEATS {
                    ": alive\n\n"
                } else {
                    "data: over\n\n"
                }),
                told + 1,
            )),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_alive_is_neither_idle_nor_slow_and_leaves_its_connection_open() {
    let mut client = client();
    client.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.answer("data: over\n\n\r\n").await;
    assert!(client.started.elapsed() > IDLE * 5);
    client.answer("0\r\n\r\n").await;
    for reason in ["head", "idle", "write"] {
        client.assert_counted(reason, 0);
    }
    sleep(IDLE - SECOND).await;
    client.send(REQUEST).await;
    client.answer("fine").await;
    let (_, took) = client.rest().await;
    assert_between(took, IDLE, IDLE * 5 / 4 + SECOND);
    client.assert_counted("idle", 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_a_stream_is_alive_has_its_time_after_it() {
    let mut client = client();
    client.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.answer(": alive\n\n\r\n").await;
    client.send(&REQUEST[..10]).await;
    client.answer("0\r\n\r\n").await;
    client.assert_counted("head", 0);
    sleep(HEAD - SECOND).await;
    client.send(&REQUEST[10..]).await;
    client.answer("fine").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_takes_ends_with_its_client() {
    let mut client = client_with(100);
    client.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let served = timeout(IN_VAIN, &mut client.served).await;
    assert!(served.expect("the connection never ends").unwrap().is_some());
    client.assert_counted("write", 1);
}
