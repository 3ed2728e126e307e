//! Runs a plan: a task for each connection takes starts, asks, verifies and records. Every start that is taken is
//! recorded, as a success or as a failure, unless the run is stopped.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::answer::{self, Weather};
use crate::cities::Place;
use crate::connection::Connection;
use crate::failure::{Failure, FailureKind};
use crate::plan::{Mode, Plan};
use crate::question::Question;
use crate::recorder::Recording;
use crate::report::Report;
use crate::response::Response;
use crate::schedule::{Schedule, Start};

/// Of this many answers one is checked in full, the others by the bytes that name their place.
const FULL_CHECK_EVERY: u64 = 100;

/// How long a closed loop waits after it could not connect: the refusals of a server that is gone come by the
/// ten thousand a second, and are one finding. An open run keeps its rate.
const RECONNECT_DELAY: Duration = Duration::from_millis(50);

/// One request of a sequential run and what came of it.
#[derive(Debug)]
pub struct Row<'a> {
    /// Which request this was, from 1.
    pub number: u64,
    /// What was asked for.
    pub place: &'a Place,
    /// The answer, or why there is none.
    pub outcome: Result<Weather, Failure>,
    /// How long it took.
    pub latency: Duration,
}

/// A load test, ready to run.
#[derive(Debug)]
pub struct LoadTest {
    plan: Arc<Plan>,
    questions: Vec<Question>,
    recording: Recording,
}

impl LoadTest {
    /// A load test as planned.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let places = plan.cities.places().iter().cloned();
        Self {
            questions: places.map(|place| Question::new(&plan.target, place)).collect(),
            recording: Recording::new(),
            plan: Arc::new(plan),
        }
    }

    /// What is recorded, also while the test runs.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.recording.clone()
    }

    /// Makes the connections and then requests until the plan's limits, or until `stop`: requests in flight at
    /// `stop` are given up, those at a limit are awaited. `on_row` gets each request of a sequential run.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and I/O.
    pub async fn run(self, on_row: impl FnMut(&Row<'_>), stop: impl Future<Output = ()>) -> Report {
        let connections = connect(&self.plan).await;
        let started = OffsetDateTime::now_utc();
        let begin = Instant::now();
        self.recording.begin(begin);
        let session = Arc::new(Session {
            schedule: Schedule::new(self.plan.mode, self.plan.limits, begin),
            plan: self.plan.clone(),
            questions: self.questions,
            recording: self.recording.clone(),
        });
        let ended_by_stop = match self.plan.mode {
            Mode::Sequential => run_sequentially(&session, connections, on_row, stop).await,
            Mode::Concurrent { .. } | Mode::Open { .. } => run_concurrently(&session, connections, stop).await,
        };
        let elapsed = begin.elapsed();
        let due = session.schedule.due();
        let mut report = self.recording.report(&self.plan, started, elapsed);
        report.given_up = ended_by_stop.then(|| due.saturating_sub(report.summary.requests));
        report
    }
}

/// Connections are made before the clock starts: a handshake is not what is measured. One that cannot be made
/// yet is left to its first request.
async fn connect(plan: &Plan) -> Vec<Connection> {
    let deadline = Instant::now() + plan.timeout;
    let mut connecting = JoinSet::new();
    for _ in 0..plan.mode.connections() {
        let mut connection = Connection::new(plan.address);
        connecting.spawn(async move {
            let _ = connection.connect(deadline).await;
            connection
        });
    }
    connecting.join_all().await
}

/// Whether `stop` ended it.
async fn run_sequentially(
    session: &Session,
    connections: Vec<Connection>,
    mut on_row: impl FnMut(&Row<'_>),
    stop: impl Future<Output = ()>,
) -> bool {
    let work = async {
        for mut connection in connections {
            while let Some(start) = session.schedule.next().await {
                let (latency, outcome) = session.request(&mut connection, start, in_full).await;
                let row = Row {
                    number: start.number + 1,
                    place: session.question(start).place(),
                    outcome,
                    latency,
                };
                on_row(&row);
                session.pause_after(row.outcome.as_ref().err()).await;
            }
        }
    };
    stopped_before(work, stop).await
}

/// Whether `stop` ended it.
async fn run_concurrently(
    session: &Arc<Session>,
    connections: Vec<Connection>,
    stop: impl Future<Output = ()>,
) -> bool {
    let mut workers = JoinSet::new();
    for mut connection in connections {
        let session = session.clone();
        workers.spawn(async move {
            while let Some(start) = session.schedule.next().await {
                let (_, outcome) = session.request(&mut connection, start, by_sample).await;
                session.pause_after(outcome.as_ref().err()).await;
            }
        });
    }
    let done = async {
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    };
    stopped_before(done, stop).await
}

async fn stopped_before(work: impl Future<Output = ()>, stop: impl Future<Output = ()>) -> bool {
    let (work, stop) = (pin!(work), pin!(stop));
    tokio::select! {
        biased;
        () = work => false,
        () = stop => true,
    }
}

type Check<T> = fn(&Response<'_>, &Question, Start) -> Result<T, Failure>;

fn in_full(response: &Response<'_>, question: &Question, _: Start) -> Result<Weather, Failure> {
    answer::verify_in_full(response, question)
}

fn by_sample(response: &Response<'_>, question: &Question, start: Start) -> Result<(), Failure> {
    if start.number.is_multiple_of(FULL_CHECK_EVERY) {
        return answer::verify_in_full(response, question).map(|_| ());
    }
    answer::verify(response, question)
}

/// What the tasks of a run share.
#[derive(Debug)]
struct Session {
    plan: Arc<Plan>,
    questions: Vec<Question>,
    schedule: Schedule,
    recording: Recording,
}

impl Session {
    /// Makes and records one request: how long it took, and what came of it.
    async fn request<T>(
        &self,
        connection: &mut Connection,
        start: Start,
        check: Check<T>,
    ) -> (Duration, Result<T, Failure>) {
        let question = self.question(start);
        let deadline = start.at + self.plan.timeout;
        let (end, outcome) = if Instant::now() < deadline {
            let answer = connection.ask(question.request(), deadline).await;
            let end = Instant::now();
            (end, answer.and_then(|response| check(&response, question, start)))
        } else {
            // It waited for a connection for all of its time.
            let failure = Failure::new(FailureKind::Timeout, "no free connection in time");
            (Instant::now(), Err(failure))
        };
        let latency = end.saturating_duration_since(start.at);
        self.recording.record(end, latency, outcome.as_ref().err());
        (latency, outcome)
    }

    /// The question of a request: the same for the same number, whichever connection asks it.
    fn question(&self, start: Start) -> &Question {
        let count = self.questions.len();
        let index = match self.plan.seed {
            None => (start.number % count as u64) as usize,
            Some(seed) => fastrand::Rng::with_seed(seed.wrapping_add(start.number)).usize(..count),
        };
        &self.questions[index]
    }

    async fn pause_after(&self, failure: Option<&Failure>) {
        let refused = failure.is_some_and(|failure| failure.kind == FailureKind::Connect);
        if refused && matches!(self.schedule, Schedule::Closed(_)) {
            tokio::time::sleep(RECONNECT_DELAY).await;
        }
    }
}
