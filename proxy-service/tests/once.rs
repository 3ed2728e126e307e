//! Work that must not run: a second time beside itself, or after somebody ended it.
#![allow(clippy::unwrap_used)]

mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proxy_service::failure::Failure;
use proxy_service::handler::Job;
use roundtrip::broker::{Acceptance, CancelOutcome, ResultStore};
use roundtrip::{FaultCode, Keep, Request};
use tokio::time::sleep;

use setup::faulty::{Fault, Faulty};
use setup::{LONG, Setup, echo};

const FLAGS: [&str; 4] = ["--lease", "1s", "--attempt-timeout", "20s"];

type Working = std::pin::Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>>;

/// Work of several leases, and how often it was begun.
fn work() -> (
    Arc<AtomicUsize>,
    impl Fn(Job) -> Working + Clone + Send + Sync + 'static,
) {
    let started = Arc::new(AtomicUsize::new(0));
    let counted = started.clone();
    let slow = move |job: Job| -> Working {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            sleep(Duration::from_secs(9)).await;
            echo(job).await
        })
    };
    (started, slow)
}

#[tokio::test(start_paused = true)]
async fn work_whose_lease_could_not_be_renewed_does_not_run_a_second_time_beside_itself() {
    let (mut setup, (started, slow)) = (Setup::new(), work());
    // For three leases.
    let faulty = Faulty::new(&setup.broker, [("renew", &[Fault::Nothing; 10][..])]);
    let (_workers, running) = setup.start_on(faulty.clone(), &FLAGS, slow);
    setup.publish(1, LONG).await;
    setup.read(1).await;
    assert!(faulty.is_done());
    assert_eq!(started.load(Ordering::SeqCst), 1);
    running.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_cancelled_between_two_deliveries_is_not_begun() {
    let (mut setup, (started, slow)) = (Setup::new(), work());
    let request = Request {
        keep: Keep::WithReply,
        ..setup.request(1, LONG)
    };
    let id = request.id;
    setup.broker.submit(&[Acceptance { request, key: None }]).await.unwrap();
    setup.crash_on_all(1).await;
    assert_eq!(setup.broker.cancel(id, None).await.unwrap(), CancelOutcome::Requested);
    let running = setup.start(&FLAGS, slow);
    let reply = setup.read(1).await.remove(0);
    assert_eq!((reply.id, reply.outcome.unwrap_err().code), (id, FaultCode::Cancelled));
    assert_eq!(started.load(Ordering::SeqCst), 0);
    running.drain(LONG).await;
}
