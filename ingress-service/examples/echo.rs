//! An operation of your own: `POST /echo` answers with what it is sent. docs/adding-an-operation.md explains it.

use std::env;
use std::process::ExitCode;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::{Extension, response::Response};
use ingress_service::openapi::{CallHeaders, Promised, ReadErrors, RoundTripErrors};
use ingress_service::{operations::Calls, request_options::RequestOptions};
use proxy_service::{failure::Failure, handler::Job, operations::Work};
use roundtrip::http::{parameters::NoParameters, problem::Problem, request_id::RequestId};
use roundtrip::{Operation, service};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(Serialize, Deserialize, ToSchema)]
struct Said {
    /// Anything
    text: String,
}

struct Echo;

impl Operation for Echo {
    const NAME: &'static str = "echo";
    type Input = Said;
    type Output = Said;
}

#[async_trait]
impl Work for Echo {
    async fn work(&self, said: Said, job: &Job) -> Result<Said, Failure> {
        job.progress.report(50, "listening");
        Ok(said)
    }
}

fn routes(calls: Calls) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(echo)).with_state(calls)
}

/// Say something and hear it again
#[utoipa::path(post, path = "/echo", tag = "echo", params(CallHeaders), request_body = Said,
    responses((status = 200, description = "What was said", body = Said), Promised, ReadErrors, RoundTripErrors))]
async fn echo(
    State(calls): State<Calls>,
    Extension(id): Extension<RequestId>,
    _: NoParameters,
    options: RequestOptions,
    call: Request,
) -> Result<Response, Problem> {
    let said: Said = calls.read(id, call, 64 * 1024).await?;
    Ok(calls.answer(id, "POST /echo", &options, &said).await)
}

fn main() -> ExitCode {
    let work = || proxy_service::operations::Operations::new().with(Echo);
    let offer = ingress_service::operations::Operations::new().with::<Echo>(routes);
    let mut arguments: Vec<_> = env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == "worker") {
        arguments.remove(1);
        return service::main_from(arguments, |config, stop| proxy_service::run_with(work(), config, stop));
    }
    service::main(|config, stop| async move { ingress_service::run_with(&offer, &work(), config, stop).await })
}
