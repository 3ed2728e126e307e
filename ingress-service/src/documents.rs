//! A record as its callers see it.

use std::time::{SystemTime, UNIX_EPOCH};

use roundtrip::broker::{Record, Status};
use roundtrip::http::problem::ProblemDocument;
use roundtrip::{CorrelationId, OperationName};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problems;

/// Where a request is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)] // Only its description is used.
pub(crate) enum StatusName {
    Queued,
    Processing,
    Succeeded,
    Failed,
    Expired,
    Cancelled,
}

/// The fields of one Server-Sent Event.
#[derive(ToSchema)]
#[allow(dead_code)] // Only its description is used.
pub(crate) struct RequestEvent {
    /// What happened: `progress`, or the status the request came to.
    #[schema(
        pattern = "^(queued|processing|progress|succeeded|failed|expired|cancelled)$",
        example = "processing"
    )]
    event: String,
    /// To come back with, as Last-Event-ID.
    #[schema(pattern = "^[1-9][0-9]*$", example = "2")]
    id: String,
    /// When to come back, in milliseconds.
    retry: u64,
    /// A JSON object: `status`, and with it `at`, `attempts`, `progress`, `message` or `result`.
    #[schema(example = "{\"status\":\"processing\",\"at\":\"2026-11-21T09:30:01.456Z\",\"attempts\":1}")]
    data: String,
}

/// How a request is doing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    /// The request.
    #[schema(example = "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f")]
    id: Uuid,
    /// What was asked for.
    #[schema(example = "weather")]
    operation: &'static str,
    /// Where it is: queued, processing, succeeded, failed, expired or cancelled.
    #[schema(value_type = StatusName, example = "processing")]
    status: &'static str,
    /// When it was accepted (RFC 3339, UTC).
    #[schema(format = DateTime, example = "2026-11-21T09:30:00.123Z")]
    created_at: String,
    /// When its last attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, example = "2026-11-21T09:30:01.456Z")]
    started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Until when it can be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Deliveries that began; more than one where a worker died.
    #[schema(example = 1)]
    attempts: u32,
    /// How far the work has come, where it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressDocument>,
    /// Present while it is at work and somebody asked for its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cancel_requested: bool,
    /// The result of one that succeeded: any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    result: Option<Box<RawValue>>,
    /// Why there is none of one that did not: the problem its caller would have got.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemDocument>)]
    problem: Option<Box<RawValue>>,
    /// Where to go on.
    links: Links,
}

/// How far work has come.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgressDocument {
    /// 0 to 100.
    #[schema(example = 75)]
    percent: u8,
    /// What is being done.
    #[schema(example = "looking at the sky")]
    message: String,
}

/// Where to go on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// This document.
    #[serde(rename = "self")]
    #[schema(example = "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f")]
    this: String,
    /// The result alone.
    result: String,
    /// Its events, as they happen.
    events: String,
}

/// A page of requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestList {
    /// The requests, newest first, without results.
    requests: Vec<RequestStatus>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Uuid>,
}

impl RequestStatus {
    /// Of a request that was only just accepted. When, its record will say on the broker's clock; ours serves where it
    /// could not be read.
    pub(crate) fn accepted(id: CorrelationId, operation: OperationName, at: Option<u64>) -> Self {
        let now = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis() as u64
        };
        Self {
            id: id.as_uuid(),
            operation: operation.as_str(),
            status: Status::Queued.as_str(),
            created_at: timestamp(at.unwrap_or_else(now)),
            started_at: None,
            finished_at: None,
            expires_at: None,
            attempts: 0,
            progress: None,
            cancel_requested: false,
            result: None,
            problem: None,
            links: Links::of(id),
        }
    }

    pub(crate) fn of(record: &Record) -> Self {
        let (mut result, mut problem) = (None, None);
        match &record.outcome {
            Some(Ok(json)) => result = raw(json),
            Some(Err(fault)) => problem = raw(&problems::of_fault(record.id, fault.clone(), record.has_key).to_json()),
            None => {}
        }
        Self {
            id: record.id.as_uuid(),
            operation: record.origin.operation.as_str(),
            status: record.status.as_str(),
            created_at: timestamp(record.created),
            started_at: record.started.map(|noted| timestamp(noted.at)),
            finished_at: record.finished.map(|noted| timestamp(noted.at)),
            expires_at: Some(timestamp(record.expires)),
            attempts: record.attempts,
            progress: record.progress.as_ref().map(|(progress, _)| ProgressDocument {
                percent: progress.percent,
                message: progress.message.clone(),
            }),
            cancel_requested: record.cancel_requested && !record.status.is_final(),
            result,
            problem,
            links: Links::of(record.id),
        }
    }
}

impl RequestList {
    pub(crate) fn of(records: &[Record], next: Option<CorrelationId>) -> Self {
        Self {
            requests: records.iter().map(RequestStatus::of).collect(),
            next: next.map(CorrelationId::as_uuid),
        }
    }
}

impl Links {
    fn of(id: CorrelationId) -> Self {
        Self {
            this: format!("/requests/{id}"),
            result: format!("/requests/{id}/result"),
            events: format!("/requests/{id}/events"),
        }
    }
}

/// JSON as it is; `None` where a worker wrote something else.
fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(json.to_vec()).ok()?).ok()
}

/// Milliseconds since the Unix epoch as RFC 3339.
pub(crate) fn timestamp(millis: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    time.ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}
