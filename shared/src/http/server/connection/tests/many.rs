//! Many connections at once, which share what there is.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

/// Waits behind everybody who is ready.
async fn a_turn() {
    let mut waited = false;
    let wait = |cx: &mut Context<'_>| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    };
    std::future::poll_fn(wait).await;
}

#[tokio::test(start_paused = true)]
async fn those_who_do_not_wait_for_their_answers_take_turns_with_everybody_else() {
    const CONNECTIONS: usize = 20;
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let count = async move || {
        counted.fetch_add(1, Relaxed);
        "fine"
    };
    let (requests, turns) = (REQUEST.repeat(200), Arc::new(Semaphore::new(2)));
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| client_of(Router::new().route("/", get(count.clone())), 1 << 20, &turns))
        .collect();
    for client in &mut clients {
        client.send(&requests).await;
    }
    // Somebody who wants no more than a moment now and then, in a task like everybody.
    let most = tokio::spawn(async move {
        let (mut before, mut most) = (0, 0);
        while before < CONNECTIONS * 200 {
            a_turn().await;
            let now = served.load(Relaxed);
            most = most.max(now - before);
            before = now;
        }
        most
    });
    let most = most.await.unwrap();
    assert!(
        most <= CONNECTIONS + 2,
        "{most} requests are served between two turns of others"
    );
    for client in &clients {
        client.assert_counted("head", 0);
    }
}

#[tokio::test(start_paused = true)]
async fn long_heads_that_never_end_take_no_more_than_their_places() {
    let padding = "x".repeat(12 * 1024);
    let (begin, end) = (format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {padding}"), b"\r\n\r\n");
    let (mut one, mut other, mut third) = (client(), client(), client());
    one.send(begin.as_bytes()).await;
    other.send(begin.as_bytes()).await;
    sleep(SECOND).await;
    third.send(begin.as_bytes()).await;
    let (refused, took) = third.rest().await;
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    for part in ["retry-after: 1\r\n", "connection: close\r\n", "/problems/overloaded"] {
        assert!(refused.contains(part), "{part:?} is missing in {refused}");
    }
    assert!(took < HEAD / 2, "{took:?}");

    // Those of usual length need none.
    let mut short = client();
    short.send(&begin.as_bytes()[..4096]).await;
    sleep(SECOND).await;
    short.send(end).await;
    short.answer("fine").await;
    // A place is free when its head is whole, or its client has gone.
    one.send(end).await;
    one.answer("fine").await;
    drop(other);
    for _ in 0..5 {
        let (mut again, mut and_again) = (client(), client());
        for client in [&mut again, &mut and_again] {
            client.send(begin.as_bytes()).await;
            sleep(SECOND).await;
            client.send(end).await;
            client.answer("fine").await;
        }
    }
}
