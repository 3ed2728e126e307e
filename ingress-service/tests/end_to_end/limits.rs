//! Bounds in number and time: callers beyond them are refused at once instead of waiting for nothing.

use std::time::Duration;
use testbed::until;

use crate::client::{self, metric};
use crate::harness::{Plan, embedded};
use crate::upstream::Upstream;

/// A place for one, whose work takes longer than anybody waits for the answer of another.
fn one_place(upstream: &Upstream) -> Plan {
    upstream
        .behind(embedded())
        .with("MAX_IN_FLIGHT", "1")
        .with("REQUEST_TIMEOUT", "1h")
}

#[tokio::test]
async fn a_call_beyond_the_maximum_in_flight_is_refused_at_once() {
    let upstream = Upstream::start().await;
    let ingress = one_place(&upstream).start().await;
    let url = ingress.url.clone();
    let first = tokio::spawn(async move { client::call(&url).await });
    upstream.has_begun(1).await;
    let second = client::call(&ingress.url).await;
    second.assert_refused("/problems/overloaded");
    assert!(!first.is_finished(), "its work never ended");
    upstream.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(client::call(&ingress.url).await.status, 200);
}

#[tokio::test]
async fn a_call_whose_work_takes_too_long_is_answered_in_time() {
    let upstream = Upstream::start().await;
    let plan = upstream.behind(embedded()).with("REQUEST_TIMEOUT", "300ms");
    let ingress = plan.start().await;
    let answer = client::call(&ingress.url).await;
    let kinds = ["/problems/reply-timeout", "/problems/expired"];
    let kind = kinds.iter().find(|kind| **kind == answer.problem());
    answer.assert_problem(504, kind.unwrap_or(&kinds[0]));
    // A worker answers shortly before, so that its word is the one that counts.
    assert!(answer.took >= Duration::from_millis(250), "{answer:?}");
    until("its worker gives up as well", async || {
        metric(&ingress.url, "proxy_active_terminals").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_frees_its_place() {
    let upstream = Upstream::start().await;
    let ingress = one_place(&upstream).start().await;
    let url = ingress.url.clone();
    let caller = tokio::spawn(async move { client::call(&url).await });
    let in_flight = async || metric(&ingress.url, "ingress_pending_requests").await;
    until("the call is in flight", async || in_flight().await == 1.0).await;
    caller.abort();
    until("its place is free", async || in_flight().await == 0.0).await;
}
