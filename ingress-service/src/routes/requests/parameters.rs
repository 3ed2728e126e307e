//! What callers may say about the requests they ask for, for the document. The rule: a parameter that may be left out
//! is never null, as null in a URL or a header is a word of four letters.

use utoipa::IntoParams;

use crate::documents::StatusName;

/// Which request.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)] // Only its description is used.
pub(super) struct RequestIdParameter {
    /// The request's id
    #[param(
        pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        min_length = 36,
        max_length = 36,
        example = "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f"
    )]
    id: String,
}

/// How long to wait.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // Only its description is used.
pub(super) struct WaitHeader {
    /// `wait=10`: wait up to 10 seconds (0 to 120) for the end
    #[param(rename = "Prefer", value_type = String, required = false)]
    prefer: Option<String>,
}

/// Where to go on.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // Only its description is used.
pub(super) struct LastEventHeader {
    /// The last event seen; what is no number is refused
    #[param(
        rename = "Last-Event-ID", value_type = i64, required = false,
        minimum = 0, maximum = 9_223_372_036_854_775_807_i64
    )]
    last_event_id: Option<u64>,
}

/// Which requests, beside the size of a page. None may be there twice.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // Only its description is used.
pub(super) struct ListParameters {
    /// Only requests in this state
    #[param(value_type = StatusName, required = false, inline)]
    status: Option<StatusName>,
    /// The `next` of the page before
    #[param(
        value_type = String,
        required = false,
        pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        min_length = 36,
        max_length = 36
    )]
    cursor: Option<String>,
}
