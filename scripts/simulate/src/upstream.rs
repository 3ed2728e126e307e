//! The work: a handler around the real one that does what the seed says of each request, and of the upstream at large.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proxy_service::failure::Failure;
use proxy_service::handler::{BoxHandler, Handler, Job};
use roundtrip::process::task::{Condition, Instance};
use tokio::time::sleep;

use crate::entropy;
use crate::log::{Log, Work, work_in};

/// What becomes of one piece of work, each time that it is attempted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// It is done after this time.
    Takes(Duration),
    /// The upstream fails so often, and then does it.
    FailsFirst(usize, Duration),
    Fails,
    Hangs,
    Panics,
    /// Its worker dies of it.
    Kills,
    NotFound,
    /// The upstream wants to be left alone for so long, once.
    Throttled(Duration),
}

/// What the upstream does to everybody for a while.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mood {
    pub(crate) time: Range<Duration>,
    pub(crate) deed: Deed,
}

/// The upstream of a history.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) moods: Vec<Mood>,
    pub(crate) log: Arc<Log>,
}

impl Upstream {
    /// What is done to a piece of work now.
    fn deed(&self, work: Work) -> Deed {
        let now = entropy::elapsed();
        let mood = self.moods.iter().find(|mood| mood.time.contains(&now));
        let own = || self.deeds.get(work as usize).cloned();
        mood.map(|mood| mood.deed.clone())
            .or_else(own)
            .unwrap_or(Deed::Takes(Duration::ZERO))
    }
}

/// One worker's handler.
pub(crate) struct Worker {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) weather: BoxHandler,
    /// Attempts under way.
    pub(crate) active: Arc<AtomicUsize>,
}

#[async_trait]
impl Handler for Worker {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let Some(work) = work_in(&job.request.data) else {
            return self.weather.handle(job).await;
        };
        let deed = self.upstream.deed(work);
        let log = self.upstream.log.clone();
        let place = log.began(work, job.request.id, job.delivery, self.instance.name());
        let tries = log.runs_of(work);
        let mut run = Attempt {
            log,
            work,
            place,
            active: self.active.clone(),
            how: "dropped",
        };
        run.active.fetch_add(1, Ordering::Relaxed);
        let outcome = match deed {
            Deed::Takes(time) => after(time, self.weather.handle(job)).await,
            Deed::FailsFirst(times, time) if tries > times => after(time, self.weather.handle(job)).await,
            Deed::FailsFirst(_, time) => after(time, failed()).await,
            Deed::Fails => after(Duration::from_millis(20), failed()).await,
            Deed::Hangs => std::future::pending().await,
            Deed::Panics => {
                run.how = "panics";
                panic!("a poisonous request, by the seed")
            }
            Deed::Kills => {
                run.how = "its worker dies";
                self.instance.set(Condition::Dead);
                std::future::pending().await
            }
            Deed::NotFound => Err(Failure::NotFound {
                detail: "no such city".to_owned(),
            }),
            Deed::Throttled(pause) if tries <= 1 => Err(Failure::Throttled {
                retry_after: Some(pause),
            }),
            Deed::Throttled(_) => self.weather.handle(job).await,
        };
        run.how = match &outcome {
            Ok(_) => "done",
            Err(failure) => failure.label(),
        };
        outcome
    }
}

async fn after<T>(time: Duration, work: impl Future<Output = T>) -> T {
    if !time.is_zero() {
        sleep(time).await;
    }
    work.await
}

async fn failed() -> Result<Bytes, Failure> {
    Err(Failure::Upstream {
        detail: "the upstream failed, by the seed".to_owned(),
    })
}

/// Notes the end of an attempt, however it ends.
struct Attempt {
    log: Arc<Log>,
    work: Work,
    place: usize,
    active: Arc<AtomicUsize>,
    how: &'static str,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.log.run_ended(self.work, self.place, self.how);
    }
}
