//! Who counts as one who waits, and who does not.

use rstest::rstest;

use super::stage::{Stage, call_with};

#[rstest]
#[case(&[], false)]
#[case(&[("request-timeout", "5")], false)]
#[case(&[("request-timeout", "31")], true)]
#[case(&[("request-timeout", "86400")], true)]
#[case(&[("prefer", "respond-async")], true)]
#[case(&[("prefer", "respond-async"), ("request-timeout", "1")], true)]
#[case(&[("prefer", "wait=5")], true)]
#[case(&[("prefer", "wait=5"), ("request-timeout", "5")], false)]
// However long it waits, it may not fill the queue of those who have less time.
#[case(&[("prefer", "wait=120"), ("request-timeout", "120")], true)]
#[tokio::test(start_paused = true)]
async fn a_job_may_outlast_its_callers_wait(#[case] headers: &[(&str, &str)], #[case] is_job: bool) {
    let requester = Stage::new().requester;
    let call = call_with(headers).await;
    let (budget, patience) = requester.times_of(&call, call.preference.wait());
    assert_eq!(requester.times.is_job(budget, patience), is_job);
}
