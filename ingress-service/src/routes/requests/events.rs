//! Events of one request, as [Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html). They
//! are read off its record: an event is a version of it, so that whoever comes back, to whichever instance, goes on
//! after the last one seen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use roundtrip::broker::Record;
use roundtrip::http::parameters::NoParameters;
use roundtrip::http::problem::{Asked, Problem, ProblemDocument};
use serde_json::json;

use super::parameters::{LastEventHeader, RequestIdParameter};
use super::{PROBLEM, parse, unknown};
use crate::documents::{RequestEvent, timestamp};
use crate::request_options::Number;
use crate::transport::Transport;
use crate::wait_limits::Place;
use crate::watches::Watch;

/// The last event that a client heard. Clients keep what we sent, so anything else is a mistake.
const LAST_HEARD: Number = Number {
    header: HeaderName::from_static("last-event-id"),
    shown: "Last-Event-ID",
    expected: "the number of an event",
    accepted: 0..=i64::MAX as u64,
};

/// Comments that keep proxies from closing a quiet stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// When a client that lost its stream comes back.
const RECONNECT: Duration = Duration::from_secs(1);

/// What happens to a request, as it happens
///
/// Server-Sent Events: `queued`, `processing`, `progress`, and at last `succeeded`, `failed`, `expired` or `cancelled`, which
/// ends the stream. Each has an id; who comes back with it in `Last-Event-ID` hears what came after it. Values that follow
/// quickly on each other are told as the last of them.
#[utoipa::path(
    get,
    path = "/requests/{id}/events",
    tag = "requests",
    params(RequestIdParameter, LastEventHeader),
    responses(
        (status = 200, description = "Events, each with these fields", body = RequestEvent, content_type = "text/event-stream",
         example = "event: processing\nid: 2\ndata: {\"status\":\"processing\",\"at\":\"2026-11-21T09:30:01.456Z\",\"attempts\":1}\n\n"),
        (status = 204, description = "It has ended, and all was heard: do not come back"),
        (status = 400, description = "Last-Event-ID is no number of an event, or there is a query parameter (`bad-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 404, description = "No request of this id is known (`unknown-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 503, description = "The broker is away (`broker-unavailable`), or MAX_EVENT_STREAMS are open (`overloaded`)", body = ProblemDocument, content_type = PROBLEM),
    ),
)]
pub(super) async fn events(
    State(transport): State<Arc<Transport>>,
    _: NoParameters,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parse(id)?;
    let heard = LAST_HEARD.read(&headers)?;
    let Some(place) = transport.wait_limits.streams.take() else {
        return Err(transport.refuse_events());
    };
    let mut watch = transport.watches.watch(id);
    let record = watch
        .next()
        .await
        .map_err(|error| Problem::of_broker(&error, Asked::ToRead))?
        .ok_or_else(unknown)?;
    let mut telling = Telling {
        watch,
        heard: heard.unwrap_or(0),
        ended: false,
        _place: place,
    };
    let first = telling.events_of(&record);
    if telling.ended && first.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let later = stream::unfold(
        telling,
        |mut telling| async move { Some((telling.next().await?, telling)) },
    );
    let all = stream::iter(first).chain(later.flat_map(stream::iter));
    // A client comes back to another instance when this one drains.
    let until_drained = all.take_until(transport.draining.clone().cancelled_owned());
    let stream = until_drained.map(Ok::<_, Infallible>);
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("still here");
    Ok(Sse::new(stream).keep_alive(heartbeat).into_response())
}

/// One who is told.
struct Telling {
    watch: Watch,
    /// The last version that was told.
    heard: u64,
    ended: bool,
    _place: Place,
}

impl Telling {
    /// The next events; `None` after the last one.
    async fn next(&mut self) -> Option<Vec<Event>> {
        if self.ended {
            return None;
        }
        // The first look was had; what cannot be read now is read again with the next change, or soon anyway.
        let record = self.watch.next().await.ok()??;
        Some(self.events_of(&record))
    }

    /// What a record says that was not told yet.
    fn events_of(&mut self, record: &Record) -> Vec<Event> {
        self.ended = record.status.is_final();
        let mut told: Vec<_> = happened(record)
            .into_iter()
            .filter(|(version, ..)| *version > self.heard)
            .collect();
        told.sort_by_key(|(version, ..)| *version);
        self.heard = told.last().map_or(self.heard, |(version, ..)| *version);
        let event = |(version, name, data): (u64, &str, serde_json::Value)| {
            let event = Event::default().event(name).id(version.to_string()).retry(RECONNECT);
            event.data(data.to_string())
        };
        told.into_iter().map(event).collect()
    }
}

/// Versions of a record, with their names and what they say.
fn happened(record: &Record) -> Vec<(u64, &'static str, serde_json::Value)> {
    let mut all = vec![(
        1,
        "queued",
        json!({ "status": "queued", "at": timestamp(record.created) }),
    )];
    if let Some(started) = record.started {
        let data = json!({ "status": "processing", "at": timestamp(started.at), "attempts": record.attempts });
        all.push((started.version, "processing", data));
    }
    if let Some((progress, version)) = &record.progress {
        let data = json!({ "status": "processing", "progress": progress.percent, "message": progress.message });
        all.push((*version, "progress", data));
    }
    if let Some(finished) = record.finished {
        let (status, result) = (record.status.as_str(), format!("/requests/{}/result", record.id));
        let data = json!({
            "status": status, "at": timestamp(finished.at), "attempts": record.attempts, "result": result,
        });
        all.push((finished.version, status, data));
    }
    all
}
