//! Pages for whoever opens the address of a service in a browser: what there is, and what the types of problems mean.

use std::fmt::Write as _;

use axum::Router;
use axum::response::Html;
use axum::routing::get;

use crate::http::problem::ProblemType;

/// What can be opened, and what is there.
const PLACES: [(&str, &str); 6] = [
    ("/swagger", "Try the API"),
    ("/openapi.json", "The API's OpenAPI document"),
    ("/problems/", "Types of problems"),
    (
        "/healthz",
        "Condition of this instance and of its connection to the broker",
    ),
    ("/readyz", "Whether new requests are welcome"),
    ("/metrics", "Metrics for Prometheus"),
];

/// The pages of a service with this title.
pub(super) fn router(title: &str) -> Router {
    let (start, problems) = (start(title), problems());
    let show = |page: String| get(move || async move { Html(page) });
    Router::new()
        .route("/", show(start))
        .route("/problems", show(problems.clone()))
        .route("/problems/", show(problems))
}

fn start(title: &str) -> String {
    let places = PLACES.iter().fold(String::new(), |mut list, (path, what)| {
        let _ = write!(list, "<li><a href=\"{path}\">{path}</a> {what}</li>");
        list
    });
    page(title, &format!("<ul>{places}</ul>"))
}

fn problems() -> String {
    let rows = ProblemType::ALL.iter().fold(String::new(), |mut rows, kind| {
        let (name, status, meaning) = (kind.name(), kind.status().as_u16(), escaped(&kind.meaning()));
        let _ = write!(
            rows,
            "<tr id=\"{name}\"><td><a href=\"/problems/{name}\">{name}</a><td>{status}<td>{meaning}"
        );
        rows
    });
    let table = format!("<table><tr><th>type<th>status<th>meaning{rows}</table>");
    page("Types of problems", &table)
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         td,th{{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}}</style>\
         <h1>{title}</h1>{body}</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
