//! An operation of your own, beside the weather: `POST /echo` answers with what it is sent.
//! docs/adding-an-operation.md explains it.

use std::env;
use std::process::ExitCode;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::{Extension, response::Response};
use ingress_service::openapi::{CallHeaders, Promised, ReadErrors, RoundTripErrors};
use ingress_service::{operations::Calls, request_options::RequestOptions};
use proxy_service::operations::{Work, weather::options::WeatherOptions};
use proxy_service::{failure::Failure, handler::Job};
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
    let offer = ingress_service::operations().with::<Echo>(routes);
    let work = |config: &WeatherOptions| proxy_service::operations(config).map(|known| known.with(Echo));
    let mut arguments: Vec<_> = env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == "worker") {
        arguments.remove(1);
        return service::main_from(arguments, |config: proxy_service::config::Config, stop| async move {
            proxy_service::run_with(work(&config.weather)?, config, stop).await
        });
    }
    service::main(|config: ingress_service::config::Config, stop| async move {
        ingress_service::run_with(&offer, &work(&config.weather)?, config, stop).await
    })
}
