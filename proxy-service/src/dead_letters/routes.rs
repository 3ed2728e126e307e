//! The routes of the dead letters. The one rule: an action that began is logged and counted, whichever way it
//! ends, even where its caller hung up meanwhile.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use roundtrip::broker::{self, DeadLetters, Replayed, StoredLetter};
use roundtrip::http::page::PageSize;
use roundtrip::http::parameters::{NoParameters, Parameters};
use roundtrip::http::problem::{Asked, MEDIA_TYPE, Problem, ProblemDocument, ProblemType};
use tracing::Instrument as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions::{Action, Actions};
use super::document::{CallErrors, ChangeErrors, Cursors, LetterId};
use super::params::{self, not_found};
use super::responses::{Letter, LetterPage, Replay};

/// Where operators look after the letters.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    /// The letters.
    pub(super) letters: Arc<dyn DeadLetters>,
    /// What was done to them.
    pub(super) actions: Actions,
}

pub(super) fn router(desk: Desk) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, discard))
        .routes(routes!(replay))
        .with_state(desk)
}

/// The dead letters, newest first, a page at a time
#[utoipa::path(
    get,
    path = "/dead-letters",
    tag = "dead letters",
    security(("token" = [])),
    params(Cursors, PageSize),
    responses((status = 200, description = "A page of them", body = LetterPage), CallErrors),
)]
async fn list(State(desk): State<Desk>, parameters: Parameters) -> Result<Json<LetterPage>, Problem> {
    let page = params::page(&parameters)?;
    let found = desk.letters.letters(page.before, page.wanted()).await;
    let mut found = found.map_err(|error| Problem::of_broker(&error, Asked::ToRead))?;
    let next = page.cut(&mut found).map(|letter| letter.id.to_string());
    Ok(Json(LetterPage {
        items: found.iter().map(Into::into).collect(),
        next,
    }))
}

/// One dead letter, with what was given up
#[utoipa::path(
    get,
    path = "/dead-letters/{id}",
    tag = "dead letters",
    security(("token" = [])),
    params(LetterId),
    responses(
        (status = 200, description = "The letter. Values are text, or base64 where they are none; of one longer than 16 KiB \
                                      the beginning is shown, and its true length told", body = Letter),
        (status = 404, description = "There is no letter of this id (`not-found`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        CallErrors,
    ),
)]
async fn show(
    State(desk): State<Desk>,
    _: NoParameters,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Letter>, Problem> {
    let letter = desk.find(params::id(id)?).await?;
    Ok(Json(Letter::from(&letter)))
}

/// Puts the request of a dead letter back into the stream, and removes the letter, in one step
///
/// The request keeps its correlation id and gets a new budget of the same length. Its reply goes to the
/// instance that first asked, where nobody may be waiting any more.
#[utoipa::path(
    post,
    path = "/dead-letters/{id}/replay",
    tag = "dead letters",
    security(("token" = [])),
    params(LetterId),
    responses(
        (status = 202, description = "The request is in the stream again", body = Replay),
        (status = 404, description = "There is no letter of this id (`not-found`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 409, description = "The letter holds no request (`not-replayable`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        CallErrors,
        ChangeErrors,
    ),
)]
async fn replay(
    State(desk): State<Desk>,
    _: NoParameters,
    id: Result<Path<String>, PathRejection>,
) -> Result<(StatusCode, Json<Replay>), Problem> {
    let id = params::id(id)?;
    let replay = to_its_end(async move {
        let ended = desk.replay(id).await;
        desk.actions.count(Action::Replay, &ended);
        ended
    });
    Ok((StatusCode::ACCEPTED, Json(replay.await?)))
}

/// Removes a dead letter for good
#[utoipa::path(
    delete,
    path = "/dead-letters/{id}",
    tag = "dead letters",
    security(("token" = [])),
    params(LetterId),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no letter of this id (`not-found`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        CallErrors,
        ChangeErrors,
    ),
)]
async fn discard(
    State(desk): State<Desk>,
    _: NoParameters,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let id = params::id(id)?;
    let discard = to_its_end(async move {
        let ended = desk.discard(id).await;
        desk.actions.count(Action::Discard, &ended);
        ended
    });
    discard.await.map(|()| StatusCode::NO_CONTENT)
}

/// Does it in a task of its own: a call is dropped where its caller hangs up, but not what the broker was told.
async fn to_its_end<T: Send + 'static>(
    action: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let ended = tokio::spawn(action.in_current_span()).await;
    ended.unwrap_or_else(|stopped| {
        tracing::error!(%stopped, "an operator's action did not end");
        Err(Problem::new(ProblemType::Internal, "the action could not be completed"))
    })
}

impl Desk {
    async fn find(&self, id: broker::LetterId) -> Result<StoredLetter, Problem> {
        let found = self.letters.letter(id).await;
        found
            .map_err(|error| Problem::of_broker(&error, Asked::ToRead))?
            .ok_or_else(not_found)
    }

    async fn replay(&self, id: broker::LetterId) -> Result<Replay, Problem> {
        let letter = self.find(id).await?;
        let request_id = letter.request_id().filter(|_| letter.replayable);
        let request_id = request_id.ok_or_else(not_replayable)?;
        let replayed = self.letters.replay(id).await;
        match replayed.map_err(|error| Problem::of_broker(&error, Asked::ToChange))? {
            Replayed::As(entry) => {
                tracing::info!(letter = %id, %request_id, %entry, "an operator replayed a dead letter");
                Ok(Replay {
                    entry_id: entry.at.to_string(),
                    request_id: request_id.to_string(),
                })
            }
            // Somebody else was quicker.
            Replayed::Unknown => Err(not_found()),
            Replayed::Malformed => Err(not_replayable()),
        }
    }

    async fn discard(&self, id: broker::LetterId) -> Result<(), Problem> {
        // Read first: the log is then all that is left of it.
        let letter = self.find(id).await?;
        let discarded = self.letters.discard(id).await;
        if !discarded.map_err(|error| Problem::of_broker(&error, Asked::ToChange))? {
            return Err(not_found());
        }
        let request_id = letter.request_id().map(tracing::field::display);
        tracing::info!(letter = %id, request_id, reason = letter.reason, "an operator discarded a dead letter");
        Ok(())
    }
}

fn not_replayable() -> Problem {
    let detail = "the dead letter holds no request, so a worker would only give it up again; it can be discarded";
    Problem::new(ProblemType::NotReplayable, detail)
}
