//! Bounds in number and time: callers beyond them are refused at once instead of waiting for nothing.

use std::time::Duration;

use crate::client::{self, metric};
use crate::harness::{PATIENCE, embedded, until};

#[tokio::test]
async fn a_call_beyond_the_maximum_in_flight_is_refused_at_once() {
    let plan = embedded().with("MAX_IN_FLIGHT", "1").with("SIMULATED_LATENCY", "1s");
    let ingress = plan.start().await;
    let url = ingress.url.clone();
    let first = tokio::spawn(async move { client::call(&url).await });
    until("the first is in flight", PATIENCE, async || {
        metric(&ingress.url, "ingress_pending_requests").await == 1.0
    })
    .await;
    let second = client::call(&ingress.url).await;
    second.assert_refused("/problems/overloaded");
    assert!(second.took < Duration::from_millis(300), "{second:?}");
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(client::call(&ingress.url).await.status, 200);
}

#[tokio::test]
async fn a_call_whose_work_takes_too_long_is_answered_in_time() {
    let plan = embedded()
        .with("REQUEST_TIMEOUT", "300ms")
        .with("SIMULATED_LATENCY", "5s");
    let ingress = plan.start().await;
    let answer = client::call(&ingress.url).await;
    let kinds = ["/problems/reply-timeout", "/problems/expired"];
    let kind = kinds.iter().find(|kind| **kind == answer.problem());
    answer.assert_problem(504, kind.unwrap_or(&kinds[0]));
    assert!(
        // A worker answers shortly before, so that its word is the one that counts.
        answer.took >= Duration::from_millis(250) && answer.took < Duration::from_secs(1),
        "{answer:?}"
    );
    until("its worker gives up as well", Duration::from_secs(3), async || {
        metric(&ingress.url, "proxy_active_terminals").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_frees_its_place() {
    let plan = embedded().with("MAX_IN_FLIGHT", "1").with("SIMULATED_LATENCY", "30s");
    let ingress = plan.start().await;
    let url = ingress.url.clone();
    let caller = tokio::spawn(async move { client::call(&url).await });
    let in_flight = async || metric(&ingress.url, "ingress_pending_requests").await;
    until("the call is in flight", PATIENCE, async || in_flight().await == 1.0).await;
    caller.abort();
    until("its place is free", PATIENCE, async || in_flight().await == 0.0).await;
}
