//! The routes of a connection, with each request noticed. Requests sent before the last answer take turns here.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::HttpBody as _;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::activity::Activity;
use super::body::{Asked, Told};

type App = TowerToHyperService<Router>;

/// The routes, with each request noticed.
#[derive(Debug)]
pub(super) struct TrackedApp {
    app: App,
    activity: Arc<Activity>,
    turns: Arc<Semaphore>,
}

impl TrackedApp {
    /// Whoever does not wait for an answer before asking again is served in `turns`, together with all who do so:
    /// however many there are, everybody else waits behind a few of them.
    pub(super) fn new(app: Router, activity: Arc<Activity>, turns: Arc<Semaphore>) -> Self {
        let app = TowerToHyperService::new(app);
        Self { app, activity, turns }
    }
}

impl hyper::service::Service<Request<Incoming>> for TrackedApp {
    type Response = Response<Told>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.activity.request_begins(!request.body().is_end_stream());
        let pipelined = self.activity.is_pipelined();
        let request = request.map(|body| Asked::new(body, self.activity.clone()));
        Answering {
            turn: pipelined.then(|| Turn::of(&self.turns)),
            answer: self.app.call(request),
            activity: self.activity.clone(),
        }
    }
}

/// What a request waits for that was sent too early: one of few permits, and then for all who are ready by now.
struct Turn {
    turns: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    fn of(turns: &Arc<Semaphore>) -> Self {
        let turns = PollSemaphore::new(turns.clone());
        Self { turns, permit: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.permit.is_none() {
            self.permit = ready!(self.turns.poll_acquire(cx));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// A request under way.
pub(super) struct Answering {
    turn: Option<Turn>,
    answer: <App as hyper::service::Service<Request<Asked>>>::Future,
    activity: Arc<Activity>,
}

impl Future for Answering {
    type Output = Result<Response<Told>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(turn) = &mut self.turn {
            ready!(turn.poll(cx));
        }
        let answer = Pin::new(&mut self.answer).poll(cx);
        // A turn is for what can be done at once: whoever has to wait for something keeps nobody from anything.
        self.turn = None;
        let answer = ready!(answer);
        Poll::Ready(answer.map(|answer| answer.map(|body| Told::new(body, self.activity.clone()))))
    }
}
