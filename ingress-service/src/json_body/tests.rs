//! Bodies that come in any way they like, on a clock that does not.

#![allow(clippy::unwrap_used)]

use std::io;

use axum::body::Body;
use axum::http::Request;
use futures_util::stream;
use roundtrip::OperationName;
use roundtrip::observe::metrics::Metrics;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::metrics::IngressMetrics;

const MEBIBYTE: usize = 1 << 20;

fn bodies(most: usize, memory: usize) -> (Bodies, IngressMetrics) {
    let registry = Metrics::new();
    let metrics = IngressMetrics::new(&registry);
    let memory = BodyMemory::new(memory, metrics.body_bytes.clone());
    let refused = OperationMetrics::new(&registry.of(OperationName::first()));
    (Bodies::new(most, memory, &refused), metrics)
}

/// A body under way: what is sent is what has come.
struct Sender {
    sender: mpsc::UnboundedSender<io::Result<Bytes>>,
    read: JoinHandle<Result<JsonBody, Problem>>,
}

impl Sender {
    fn begin(bodies: &Bodies, announced: Option<usize>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let frames = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let mut request = Request::post("/").header(CONTENT_TYPE, "application/json");
        if let Some(announced) = announced {
            request = request.header(CONTENT_LENGTH, announced);
        }
        let request = request.body(Body::from_stream(frames)).unwrap();
        let bodies = bodies.clone();
        let read = tokio::spawn(async move { bodies.read(request, usize::MAX).await });
        Self { sender, read }
    }

    /// Sends so many bytes, in frames of at most 1000, and lets them be taken.
    async fn send(&self, mut count: usize) {
        while count > 0 {
            let bytes = vec![b' '; count.min(1000)];
            count -= bytes.len();
            let _ = self.sender.send(Ok(bytes.into()));
        }
        sleep(Duration::from_millis(1)).await;
    }

    async fn end(self) -> Result<JsonBody, Problem> {
        drop(self.sender);
        self.read.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_bodies_that_stall_take_no_more_than_the_budget() {
    for announced in [Some(MEBIBYTE), None] {
        let (bodies, metrics) = bodies(MEBIBYTE, 64 * MEBIBYTE);
        let mut senders = Vec::new();
        for _ in 0..1000 {
            senders.push(Sender::begin(&bodies, announced));
        }
        for sender in &senders {
            sender.send(MEBIBYTE - 1).await;
            assert!(metrics.body_bytes.get() <= 64 * MEBIBYTE as i64);
        }
        assert!(metrics.body_bytes.get() > 60 * MEBIBYTE as i64, "{announced:?}");
        let mut kinds = Vec::new();
        for sender in senders {
            // They neither go on nor end.
            kinds.push(sender.read.await.unwrap().unwrap_err().kind());
        }
        let late = kinds
            .iter()
            .filter(|kind| **kind == ProblemType::RequestTimeout)
            .count();
        let refused = kinds.iter().filter(|kind| **kind == ProblemType::Overloaded).count();
        assert_eq!((late, refused), (64, 936), "{announced:?}");
        assert_eq!(bodies.refused.get(), 936);
        assert_eq!(metrics.body_bytes.get(), 0, "{announced:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_gives_its_bytes_back_when_it_is_dropped_and_not_before() {
    let (bodies, metrics) = bodies(1000, 1000);
    let sender = Sender::begin(&bodies, Some(700));
    sender.send(700).await;
    let body = sender.end().await.unwrap();
    assert_eq!((body.bytes().len(), metrics.body_bytes.get()), (700, 700));
    let refused = Sender::begin(&bodies, Some(400)).end().await.unwrap_err();
    assert_eq!(refused.kind(), ProblemType::Overloaded);
    drop(body);
    assert_eq!(metrics.body_bytes.get(), 0);

    let given_up = Sender::begin(&bodies, Some(700));
    given_up.send(1).await;
    assert_eq!(metrics.body_bytes.get(), 700);
    given_up.read.abort();
    assert!(given_up.read.await.unwrap_err().is_cancelled());
    assert_eq!(metrics.body_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_were_not_announced_count_as_they_come_and_are_never_more_than_the_limit() {
    let (bodies, metrics) = bodies(5000, 1 << 20);
    let sender = Sender::begin(&bodies, None);
    for (sent, taken) in [(0, 0), (10, 10), (10, 20), (980, 1000), (1500, 4000), (2500, 5000)] {
        sender.send(sent).await;
        assert_eq!(metrics.body_bytes.get(), taken, "after {sent} more");
    }
    assert_eq!(sender.end().await.unwrap().bytes().len(), 5000);

    let sender = Sender::begin(&bodies, None);
    sender.send(5001).await;
    assert_eq!(sender.end().await.unwrap_err().kind(), ProblemType::BodyTooLarge);
    assert_eq!(metrics.body_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_its_head_says_is_refused_before_anything_is_taken() {
    let (bodies, metrics) = bodies(1000, 10_000);
    let read = async |headers: &[(&'static str, &str)], limit| {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Nothing of it ever comes.
        let body = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let read = bodies.read(request.body(body).unwrap(), limit);
        let refused = timeout(Duration::from_millis(1), read).await;
        refused.expect("it is waited for").unwrap_err().kind()
    };
    let json = ("content-type", "application/json");
    assert_eq!(
        read(&[json, ("content-length", "101")], 100).await,
        ProblemType::BodyTooLarge
    );
    assert_eq!(
        read(&[json, ("content-length", "1001")], 5000).await,
        ProblemType::BodyTooLarge
    );
    assert_eq!(
        read(&[("content-length", "10")], 100).await,
        ProblemType::UnsupportedMediaType
    );
    let encoded = [json, ("content-length", "10"), ("content-encoding", "gzip")];
    assert_eq!(read(&encoded, 100).await, ProblemType::UnsupportedContentEncoding);
    assert_eq!(metrics.body_bytes.get(), 0);
}
