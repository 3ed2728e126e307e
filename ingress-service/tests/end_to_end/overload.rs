//! More comes than is worked off: what is let in is answered, the rest is refused while it waits, and when the load
//! ends so do the refusals. How much is worked off follows how much comes, so that it is too much on any machine.

use std::time::Duration;

use testbed::{RedisServer, until};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{self, Answer, metric};
use crate::harness::{PATIENCE, Plan, Service, embedded, ingress, proxy};
use crate::upstream::Upstream;

/// Calls, of which one in three is worked off by ten terminals.
struct Flood<'a> {
    upstream: &'a Upstream,
    called: usize,
    calls: JoinSet<Answer>,
}

fn workers(upstream: &Upstream, plan: Plan) -> Plan {
    upstream.behind(plan).with("TERMINALS", "10")
}

/// Time to see that it is too much, and more than that to work it off.
fn impatient(plan: Plan) -> Plan {
    // More than ever wait: what is refused is refused for the queue.
    plan.with("REQUEST_TIMEOUT", "16s").with("MAX_IN_FLIGHT", "5000")
}

impl<'a> Flood<'a> {
    fn new(upstream: &'a Upstream) -> Self {
        Self {
            upstream,
            called: 0,
            calls: JoinSet::new(),
        }
    }

    /// Goes on until so many were answered, which are returned.
    async fn go_on(&mut self, answers: usize, call: impl Fn() -> reqwest::RequestBuilder) -> Vec<Answer> {
        let (mut all, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        while all.len() < answers {
            assert!(
                Instant::now() < deadline,
                "{} are answered, nobody is refused",
                all.len()
            );
            let call = call();
            self.calls.spawn(async move { client::send(call).await.unwrap() });
            self.called += 1;
            if self.called.is_multiple_of(3) {
                self.upstream.end_one();
            }
            while let Some(answer) = self.calls.try_join_next() {
                all.push(answer.unwrap());
            }
            sleep(Duration::from_millis(10)).await;
        }
        all
    }
}

fn assert_refused(answer: &Answer, reason: &str) {
    answer.assert_refused("/problems/overloaded");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 60, "{answer:?}");
    assert!(answer.body["detail"].as_str().unwrap().contains(reason), "{answer:?}");
}

async fn three_times_the_capacity_is_refused_down_to_it(ingress: &Service, worker: &Service, upstream: &Upstream) {
    let client = client::new();
    let mut flood = Flood::new(upstream);
    let mut answers = Vec::new();
    let is_refused = |answer: &&Answer| answer.status != 200;
    while answers.iter().filter(is_refused).count() < 100 {
        let more = flood.go_on(20, || client::city(&client, &ingress.url, "Oslo", "Sentrum"));
        answers.extend(more.await);
    }
    // All of these are refused while others wait: there is always something for the workers to do.
    let (waiting, worked_off) = (flood.calls.len(), flood.called / 3);
    assert!(waiting > 20, "only {waiting} wait, after {worked_off} were worked off");
    upstream.open();
    answers.extend(flood.calls.join_all().await);

    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in &refused {
        assert_refused(answer, "and this request may wait for 12.0 s");
        let wait = answer.body["detail"].as_str().unwrap();
        let wait = wait.trim_start_matches("the predicted wait is ").split(' ').next();
        assert!(
            wait.unwrap().parse::<f64>().unwrap() >= 12.0,
            "refused too early: {answer:?}"
        );
    }
    assert!(served.len() > worked_off, "{} of {}", served.len(), answers.len());
    let counted = metric(&ingress.url, "roundtrip_ingress_refused_total{reason=\"queue_wait\"}").await;
    assert_eq!(counted, refused.len() as f64);
    let executed = metric(&worker.url, "roundtrip_proxy_requests_total{outcome=\"ok\"}").await;
    assert_eq!(executed, served.len() as f64, "none was let in and then let down");

    until("callers are let in again", async || {
        client::call(&ingress.url).await.status == 200
    })
    .await;
    for _ in 0..5 {
        let after = client::call(&ingress.url).await;
        assert_eq!(after.status, 200, "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_on_redis_is_refused_and_ends_with_the_load() {
    let (redis, upstream) = (RedisServer::spawn().await, Upstream::start().await);
    let plans = (
        impatient(ingress(&redis.url())),
        workers(&upstream, proxy(&redis.url())),
    );
    let (ingress, proxy) = tokio::join!(plans.0.start(), plans.1.start());
    if !streams_count_completed(&redis).await {
        println!("skipped: this Redis does not count what is added to a stream, so that no wait is predicted");
        return;
    }
    three_times_the_capacity_is_refused_down_to_it(&ingress, &proxy, &upstream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_day_long_jobs_does_not_shut_those_out_who_wait() {
    let (redis, upstream) = (RedisServer::spawn().await, Upstream::start().await);
    // Those who wait put up with three quarters of their time; jobs may make it half of that.
    let plan = impatient(ingress(&redis.url())).with("MAX_QUEUED_JOBS", "200");
    let plans = (plan, workers(&upstream, proxy(&redis.url())));
    let (ingress, _proxy) = tokio::join!(plans.0.start(), plans.1.start());
    let client = client::new();
    let job = || {
        let job = client::city(&client, &ingress.url, "Oslo", "Sentrum");
        job.header("Prefer", "respond-async").header("Request-Timeout", "86400")
    };
    let mut flood = Flood::new(&upstream);
    let mut refused = 0;
    while refused < 50 {
        for answer in flood.go_on(20, job).await {
            if answer.status != 202 {
                assert_refused(&answer, "only callers are let in who wait");
                refused += 1;
            }
        }
    }
    let mut waiting: JoinSet<_> = (0..10)
        .map(|_| {
            let url = ingress.url.clone();
            async move { client::call(&url).await }
        })
        .collect();
    // The jobs go on coming meanwhile.
    until("those who wait are in flight", async || {
        flood.go_on(20, job).await;
        let told = waiting.try_join_next();
        assert!(told.is_none(), "shut out, or served before its turn: {told:?}");
        metric(&ingress.url, "ingress_pending_requests").await == 10.0
    })
    .await;
    upstream.open();
    for waits in waiting.join_all().await {
        assert_eq!(waits.status, 200, "{waits:?}");
    }
    assert!(metric(&ingress.url, "roundtrip_ingress_refused_total{reason=\"queue_share\"}").await >= 50.0);
}

/// Redis 6.2 does not.
async fn streams_count_completed(redis: &RedisServer) -> bool {
    redis.command(&["XADD", "probe", "*", "field", "value"]).await.unwrap();
    format!("{:?}", redis.command(&["XINFO", "STREAM", "probe"]).await.unwrap()).contains("entries-added")
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_embedded_is_refused_and_ends_with_the_load() {
    let upstream = Upstream::start().await;
    let ingress = workers(&upstream, impatient(embedded())).start().await;
    three_times_the_capacity_is_refused_down_to_it(&ingress, &ingress, &upstream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_worker_callers_are_refused_once_the_oldest_has_waited_for_too_long() {
    let redis = RedisServer::spawn().await;
    let ingress = ingress(&redis.url())
        .with("REQUEST_TIMEOUT", "2s")
        .with("MAX_QUEUE_AGE", "500ms")
        .start()
        .await;
    // Whoever comes before the age is known waits, and is one more who waits in vain.
    until("callers are refused", async || {
        let answer = client::call(&ingress.url).await;
        match answer.status {
            503 => assert_refused(&answer, "oldest"),
            _ => answer.assert_problem(504, "/problems/reply-timeout"),
        }
        answer.status == 503
    })
    .await;
    assert_eq!(
        metric(&ingress.url, "roundtrip_ingress_refused_total{reason=\"queue_age\"}").await,
        1.0
    );
}
