//! Load on a cluster, and what it cost between two moments while it went on: neither connecting nor ending counts.

use std::num::NonZero;
use std::time::Duration;

use load_test::cities::Cities;
use load_test::engine::LoadTest;
use load_test::plan::{Limits, Mode, Plan};
use load_test::recorder::Recording;
use load_test::report::Report;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, target};

/// How long a request may take. The longest that is simulated is 5 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A share of failures up to which figures still mean something.
const MAX_FAILED: f64 = 0.001;

/// Requests that ended so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
}

/// What went on between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    requests: u64,
    elapsed: Duration,
    services: Duration,
    redis: Duration,
}

impl Window {
    /// CPU of services and Redis per request, in µs.
    pub(crate) fn cpu(&self) -> f64 {
        per(self.services + self.redis, self.requests)
    }

    /// CPU of Redis per request, in µs.
    pub(crate) fn redis_cpu(&self) -> f64 {
        per(self.redis, self.requests)
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// Microseconds for each of `count`.
pub(crate) fn per(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// Watches a cluster for `length`, while `counts` counts what its load does.
pub(crate) async fn watch(cluster: &Cluster, length: Duration, counts: impl Fn() -> Counts) -> Result<Window, String> {
    let sample = || Ok::<_, String>((counts(), Instant::now(), cluster.services_cpu()?, cluster.redis.cpu()?));
    let (counts_before, begin, services_before, redis_before) = sample()?;
    sleep(length).await;
    let (counts_after, end, services_after, redis_after) = sample()?;
    let requests = counts_after.requests - counts_before.requests;
    let failed = counts_after.failed - counts_before.failed;
    if requests == 0 {
        return Err("no request ended while it was watched".to_owned());
    }
    if failed as f64 > requests as f64 * MAX_FAILED {
        return Err(format!("{failed} of {requests} requests failed"));
    }
    Ok(Window {
        requests,
        elapsed: end - begin,
        services: services_after - services_before,
        redis: redis_after - redis_before,
    })
}

/// The load test's engine on each ingress at the same time.
#[derive(Debug)]
pub(crate) struct Load(Vec<Run>);

#[derive(Debug)]
struct Run {
    recording: Recording,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Report>,
}

impl Load {
    /// A closed loop of as many connections, spread over the ingresses.
    pub(crate) fn closed(cluster: &Cluster, connections: usize) -> Self {
        let share = NonZero::new(connections / cluster.ingresses.len()).unwrap_or(NonZero::<usize>::MIN);
        Self::start(cluster, Mode::Concurrent { connections: share })
    }

    /// As many requests a second on each ingress.
    pub(crate) fn open(cluster: &Cluster, connections: usize, rate: f64) -> Self {
        let connections = NonZero::new(connections).unwrap_or(NonZero::<usize>::MIN);
        Self::start(cluster, Mode::Open { connections, rate })
    }

    fn start(cluster: &Cluster, mode: Mode) -> Self {
        let run = |ingress| {
            let test = LoadTest::new(Plan {
                target: target(ingress),
                address: ingress.address,
                mode,
                limits: Limits::default(),
                timeout: TIMEOUT,
                cities: Cities::world(),
                seed: None,
            });
            let recording = test.recording();
            let (stop, stopped) = oneshot::channel();
            let task = tokio::spawn(test.run(|_| {}, async {
                let _ = stopped.await;
            }));
            Run { recording, stop, task }
        };
        Self(cluster.ingresses.iter().map(run).collect())
    }

    /// Requests that ended so far.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for live in self.0.iter().map(|run| run.recording.live()) {
            counts.requests += live.requests;
            counts.failed += live.failed;
        }
        counts
    }

    /// Waits until every engine has requests under way, then for `warm_up`.
    pub(crate) async fn settle(&self, warm_up: Duration) {
        while self
            .0
            .iter()
            .any(|run| run.recording.live().requests == 0 && !run.task.is_finished())
        {
            sleep(Duration::from_millis(20)).await;
        }
        sleep(warm_up).await;
    }

    /// Watches the cluster, ends the load, and names what failed in it.
    pub(crate) async fn watch(self, cluster: &Cluster, length: Duration) -> Result<Window, String> {
        let watched = watch(cluster, length, || self.counts()).await;
        let mut examples = String::new();
        for run in self.0 {
            let _ = run.stop.send(());
            let report = run.task.await.map_err(|error| format!("the load broke: {error}"))?;
            report
                .examples
                .values()
                .for_each(|example| examples = format!("; {example}"));
        }
        watched.map_err(|error| error + &examples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_microseconds_for_each_request() {
        let window = Window {
            requests: 1000,
            elapsed: Duration::from_millis(500),
            services: Duration::from_millis(20),
            redis: Duration::from_millis(10),
        };
        assert_eq!((window.cpu(), window.redis_cpu(), window.rate()), (30.0, 10.0, 2000.0));
    }
}
