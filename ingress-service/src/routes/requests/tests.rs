//! Bounds of those who ask for requests and wait. On paused time, without HTTP.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use roundtrip::CorrelationId;
use roundtrip::http::problem::ProblemType;
use tokio::time::{Instant, sleep};

use super::*;
use crate::requester::tests::stage::{MAX_FOLLOWERS, Stage};

async fn promised(stage: &Stage) -> CorrelationId {
    match stage.call(&[("prefer", "respond-async")]).await.await.unwrap() {
        Ok(crate::requester::Answer::Promised { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

fn wait(seconds: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("prefer", format!("wait={seconds}").parse().unwrap());
    headers
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_to_wait_is_told_at_once_how_it_is() {
    let stage = Stage::new();
    let id = promised(&stage).await;
    let ask = |headers| {
        let transport = stage.requester.transport.clone();
        tokio::spawn(show(State(transport), NoParameters, Ok(Path(id.to_string())), headers))
    };
    let waiting: Vec<_> = (0..MAX_FOLLOWERS).map(|_| ask(wait("20"))).collect();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(stage.requester.transport.metrics.waits.get(), i64::from(MAX_FOLLOWERS));
    let asked = Instant::now();
    let answer = ask(wait("20")).await.unwrap().unwrap();
    assert_eq!((answer.status(), asked.elapsed()), (StatusCode::OK, Duration::ZERO));
    assert!(answer.headers().contains_key(RETRY_AFTER));
    assert!(!answer.headers().contains_key(PREFERENCE_APPLIED), "it was not used");
    for waiting in waiting {
        let answer = waiting.await.unwrap().unwrap();
        assert_eq!(answer.headers()[PREFERENCE_APPLIED], "wait=20");
    }
    assert_eq!(asked.elapsed().as_secs(), 19);
    assert_eq!(stage.requester.transport.metrics.waits.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_of_events_are_bounded() {
    let stage = Stage::new();
    let id = promised(&stage).await;
    let open = || {
        events::events(
            State(stage.requester.transport.clone()),
            NoParameters,
            Ok(Path(id.to_string())),
            HeaderMap::new(),
        )
    };
    let mut streams = Vec::new();
    for _ in 0..MAX_FOLLOWERS {
        streams.push(open().await.unwrap());
    }
    let problem = open().await.unwrap_err();
    assert_eq!(problem.kind(), ProblemType::Overloaded);
    streams.pop();
    open().await.unwrap();
}
