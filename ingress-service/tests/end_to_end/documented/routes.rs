//! Routes: the table of docs/http.md beside both OpenAPI documents, and what all documents say of routes.

use std::collections::BTreeMap;

use super::{assert_published, code, documents};
use crate::openapi::{METHODS, full_proxy_document, ingress_document, operations};

/// What is served beside the operations of the documents.
const PAGES: [(&str, &str); 2] = [
    (
        "/openapi.json",
        "This table for programs, with all that is accepted and answered",
    ),
    ("/swagger", "The same as a page that makes calls"),
];

/// Each route by path and method, with what it does and who serves it.
async fn of_services() -> BTreeMap<(String, String), (String, &'static str)> {
    let mut routes = BTreeMap::new();
    for (document, of) in [
        (ingress_document().await, "ingress"),
        (full_proxy_document().await, "proxy"),
    ] {
        for (name, _, operation) in operations(&document) {
            let (method, path) = name.split_once(' ').unwrap();
            let summary = operation["summary"].as_str().unwrap().to_owned();
            let route = routes.entry((path.to_owned(), method.to_uppercase()));
            route.and_modify(|(_, of)| *of = "both").or_insert((summary, of));
        }
    }
    for (path, does) in PAGES {
        routes.insert((path.to_owned(), "GET".to_owned()), (does.to_owned(), "both"));
    }
    routes
}

/// A route that a document names: with its method where it says one, and without its query.
#[derive(Debug)]
struct Named {
    method: Option<String>,
    path: String,
}

/// The routes that a text names, in `backticks`, in URLs of the services, and in the calls of a file for editors.
fn named(text: &str) -> impl Iterator<Item = Named> {
    let spans = code(text).map(|code| match code.split_once(' ') {
        Some((method, path)) if METHODS.contains(&method.to_lowercase().as_str()) => (Some(method.to_owned()), path),
        _ => (None, code),
    });
    let services = ["localhost:5009", "localhost:5010", "localhost:5011", "{{host}}"];
    let urls = services.into_iter().flat_map(|host| text.split(host).skip(1));
    let all = spans.chain(urls.map(|path| (None, path)));
    // The one path of ours that is no route is the system's.
    let all = all.filter(|(_, path)| path.starts_with('/') && !path.starts_with("/proc/"));
    all.map(|(method, rest)| {
        let path = rest
            .split(|at: char| at.is_whitespace() || "?`\"'),".contains(at))
            .next()
            .unwrap();
        Named {
            method,
            path: path.to_owned(),
        }
    })
}

/// The route that the guide to operations adds.
const OF_THE_EXAMPLE: &str = "/echo";

impl Named {
    /// Whether this is the route; without a method, whether the route is this or begins so.
    fn is_of(&self, method: &str, route: &str) -> bool {
        let mut segments = route.split('/');
        let matches = self.path.trim_end_matches('/').split('/').all(|written| {
            let is_anything = |segment: &str| segment.starts_with('{') && !written.is_empty();
            segments
                .next()
                .is_some_and(|segment| segment == written || is_anything(segment))
        });
        let is_whole = segments.next().is_none();
        matches && self.method.as_ref().is_none_or(|named| is_whole && named == method)
    }
}

#[tokio::test]
async fn every_route_is_documented_and_no_document_names_another() {
    let routes = of_services().await;
    let mut table = "| route | of | does |\n|---|---|---|\n".to_owned();
    for ((path, method), (does, of)) in &routes {
        table += &format!("| `{method} {path}` | {of} | {does} |\n");
    }
    assert_published("docs/http.md", "Routes", &table);
    for (document, text) in documents() {
        for named in named(&text) {
            let mut known = routes.keys().map(|(path, method)| (path.as_str(), method.as_str()));
            let is_there = known.any(|(path, method)| named.is_of(method, path)) || named.path == OF_THE_EXAMPLE;
            assert!(is_there, "{document} names {named:?}, which no service has");
        }
    }
}
