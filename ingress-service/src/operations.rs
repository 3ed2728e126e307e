//! The operations that callers can ask for: each brings its routes, and is handed what they need to reach its workers.

use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use roundtrip::http::problem::{FieldError, Problem, ProblemType};
use roundtrip::http::request_id::RequestId;
use roundtrip::observe::health::Health;
use roundtrip::{Operation, OperationName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;

use crate::json_body::{Bodies, JsonBody};
use crate::request_options::RequestOptions;
use crate::requester::{Ask, Requester};
use crate::response;

/// What the routes of an operation need.
#[derive(Debug, Clone)]
pub struct Calls {
    pub(crate) requester: Arc<Requester>,
    pub(crate) bodies: Bodies,
    pub(crate) health: Health,
}

impl Calls {
    /// Reads the body of a call as the operation's input: JSON of at most `limit` bytes, and of MAX_BODY. Refused before it
    /// is read while MAX_IN_FLIGHT requests are in flight.
    ///
    /// # Errors
    /// A [`Problem`] that says what is wrong and where: 400, 408, 413, 415, 422 or 503.
    pub async fn read<T: DeserializeOwned>(&self, id: RequestId, call: Request, limit: usize) -> Result<T, Problem> {
        let body = self.read_body(id, call, limit).await?;
        let reader = &mut serde_json::Deserializer::from_slice(body.bytes());
        serde_path_to_error::deserialize(reader).map_err(|error| refuse(&error))
    }

    /// The same, not parsed yet.
    ///
    /// # Errors
    /// As [`Calls::read`], but for 422.
    pub async fn read_body(&self, id: RequestId, call: Request, limit: usize) -> Result<JsonBody, Problem> {
        self.requester.check_room(id.0)?;
        self.bodies.read(call, limit).await
    }

    /// Has the work done, as its caller wishes, and writes the answer: the result, where it will be, or a problem.
    /// `route`: method and path, within which an idempotency key counts.
    pub async fn answer(
        &self,
        id: RequestId,
        route: &'static str,
        options: &RequestOptions,
        input: &impl Serialize,
    ) -> Response {
        let ask = Ask {
            id: id.0,
            route,
            data: serde_json::to_vec(input).unwrap_or_default().into(),
            call: options,
        };
        let answered = self.requester.request(ask).await;
        response::response(answered, self.requester.operation, options, self.requester.ask_again())
    }
}

/// What is no JSON, or no input of the operation.
fn refuse(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let (path, error) = (error.path().to_string(), error.inner());
    if !error.is_data() {
        return Problem::new(ProblemType::MalformedBody, error.to_string());
    }
    let pointer = match path.as_str() {
        "." => String::new(),
        path => format!("/{}", path.replace(['.', '['], "/").replace(']', "")),
    };
    Problem::validation(vec![FieldError::at(pointer, error.to_string())])
}

type Routes = Arc<dyn Fn(Calls) -> OpenApiRouter + Send + Sync>;

/// One operation, its types erased.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) name: OperationName,
    pub(crate) routes: Routes,
}

/// The operations that an ingress offers.
#[derive(Clone, Default)]
pub struct Operations {
    offers: Vec<Offer>,
    example: Option<&'static str>,
}

impl Operations {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and another one with its routes.
    ///
    /// # Panics
    /// When there is one of this name already, or it is no name.
    #[must_use]
    pub fn with<O: Operation>(mut self, routes: impl Fn(Calls) -> OpenApiRouter + Send + Sync + 'static) -> Self {
        let name = OperationName::of_operation::<O>();
        assert!(self.names().all(|known| known != name), "{name} is offered twice");
        let routes = Arc::new(routes);
        self.offers.push(Offer { name, routes });
        self
    }

    /// These, and what a person can try first: the rest of a `curl` command behind the address.
    #[must_use]
    pub fn showing(self, example: &'static str) -> Self {
        let example = Some(example);
        Self { example, ..self }
    }

    pub(crate) fn example(&self) -> Option<&'static str> {
        self.example
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = OperationName> + '_ {
        self.offers.iter().map(|offer| offer.name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Offer> {
        self.offers.iter()
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
