//! The documents both services publish. A change of the interface shows here, and is then on purpose.

use serde_json::Value;

use crate::client;
use crate::harness::{embedded, proxy};

pub(crate) const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

pub(crate) async fn ingress_document() -> Value {
    let ingress = embedded().start().await;
    client::get(&format!("{}/openapi.json", ingress.url)).await.body
}

async fn proxy_document() -> Value {
    let proxy = proxy("redis://127.0.0.1:1").start().await;
    client::get(&format!("{}/openapi.json", proxy.url)).await.body
}

/// With the admin API.
pub(crate) async fn full_proxy_document() -> Value {
    let plan = proxy("redis://127.0.0.1:1").with("ADMIN_TOKEN", "correct-horse-battery-staple");
    let proxy = plan.start().await;
    client::get(&format!("{}/openapi.json", proxy.url)).await.body
}

/// All operations of a document: method and path, whether the caller passes anything, and the operation.
pub(crate) fn operations(document: &Value) -> impl Iterator<Item = (String, bool, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| {
            let operation = item.get(method)?;
            let takes = |name: &str| item.get(name).or_else(|| operation.get(name)).is_some();
            let takes_input = takes("parameters") || takes("requestBody");
            Some((format!("{method} {path}"), takes_input, operation))
        })
    })
}

#[tokio::test]
async fn the_document_of_the_ingress_changes_only_on_purpose() {
    insta::assert_json_snapshot!("ingress", ingress_document().await, { ".info.version" => "[version]" });
}

#[tokio::test]
async fn the_document_of_the_proxy_changes_only_on_purpose() {
    insta::assert_json_snapshot!("proxy", proxy_document().await, { ".info.version" => "[version]" });
}

#[tokio::test]
async fn the_admin_api_is_in_the_document_exactly_where_it_is_served() {
    let (without, with) = (proxy_document().await, full_proxy_document().await);
    assert!(!without.to_string().contains("/admin"), "{without}");
    let added = |section: &str| {
        let members = with.pointer(section).and_then(Value::as_object).unwrap();
        let known = without.pointer(section).and_then(Value::as_object);
        let is_new = |name: &&String| known.is_none_or(|known| !known.contains_key(*name));
        let names = members.keys().filter(is_new);
        names
            .map(|name| (name.clone(), members[name].clone()))
            .collect::<serde_json::Map<_, _>>()
    };
    let sections = ["/paths", "/components/schemas", "/components/securitySchemes"];
    insta::assert_json_snapshot!("admin", sections.map(added));
    for (name, _, operation) in operations(&with).filter(|(name, ..)| name.contains("/admin")) {
        assert_eq!(operation["security"], serde_json::json!([{"token": []}]), "{name}");
    }
}

#[tokio::test]
async fn whatever_takes_input_says_how_it_is_refused() {
    // The main call, the forecast, five calls about requests and the explanation of a problem; without these, and with four
    // calls about dead letters.
    for (document, count) in [(ingress_document().await, 8), (full_proxy_document().await, 6)] {
        let taking_input = operations(&document).filter(|(_, takes_input, _)| *takes_input);
        let mut checked = 0;
        for (name, _, operation) in taking_input {
            checked += 1;
            let responses = operation["responses"].as_object().unwrap();
            let mut refusals = responses
                .iter()
                .filter(|(status, _)| status.starts_with('4'))
                .peekable();
            assert!(refusals.peek().is_some(), "{name} lists no refusal");
            for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
                let content = response["content"].as_object().unwrap();
                let media_types: Vec<_> = content.keys().collect();
                assert_eq!(media_types, ["application/problem+json"], "{name} {status}");
            }
        }
        assert_eq!(checked, count, "{document}");
    }
}

#[tokio::test]
async fn every_operation_and_every_response_is_described() {
    for document in [ingress_document().await, full_proxy_document().await] {
        for (name, _, operation) in operations(&document) {
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{name}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{name} {status}");
            }
        }
        assert!(operations(&document).count() >= 7, "{document}");
    }
}

#[tokio::test]
async fn every_example_of_a_problem_is_of_its_status_and_of_a_kind_that_the_text_names() {
    for document in [ingress_document().await, full_proxy_document().await] {
        for (name, _, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let content = &response["content"]["application/problem+json"];
                if content.is_null() {
                    continue;
                }
                let named = response["description"].as_str().unwrap().split('`').skip(1).step_by(2);
                let kinds: Vec<_> = named.filter(|word| word.contains('-') || *word == "errors").collect();
                let examples = content["examples"].as_object();
                let examples = examples.unwrap_or_else(|| panic!("{name} {status} has no example"));
                for (kind, example) in examples {
                    let example = &example["value"];
                    assert_eq!(example["status"].to_string(), *status, "{name}: {example}");
                    assert_eq!(example["type"], format!("/problems/{kind}"));
                }
                let unknown = kinds
                    .iter()
                    .find(|kind| **kind != "errors" && !examples.contains_key(**kind));
                assert_eq!(unknown, None, "{name} {status} names a kind that there is not");
            }
        }
    }
}

#[tokio::test]
async fn a_form_in_swagger_is_filled_in_only_where_something_must_be_there() {
    for document in [ingress_document().await, full_proxy_document().await] {
        for (name, _, operation) in operations(&document) {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let is_filled_in = [
                    "/example",
                    "/examples",
                    "/schema/example",
                    "/schema/examples",
                    "/schema/default",
                ]
                .iter()
                .any(|place| parameter.pointer(place).is_some());
                let is_the_city = parameter["name"] == "city";
                assert!(
                    parameter["required"] == true || is_the_city || !is_filled_in,
                    "{name}: {parameter}"
                );
            }
            let headers = operation["responses"].as_object().unwrap().values();
            let mut headers = headers.flat_map(|response| response["headers"].as_object().into_iter().flatten());
            let unreadable = headers.find(|(_, header)| header["schema"]["type"].is_array());
            assert_eq!(unreadable, None, "{name}: Swagger shows two types as one word");
        }
    }
}

#[tokio::test]
async fn swagger_can_neither_be_framed_nor_made_to_run_what_is_not_its_own() {
    let (ingress, proxy) = (embedded(), proxy("redis://127.0.0.1:1"));
    let (ingress, proxy) = tokio::join!(ingress.start(), proxy.start());
    for url in [&ingress.url, &proxy.url] {
        for path in [
            "/swagger",
            "/swagger/",
            "/swagger/index.html",
            "/swagger/swagger-ui-bundle.js",
            "/swagger/nothing",
            "/openapi.json",
        ] {
            let answer = client::get(&format!("{url}{path}")).await;
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}: {answer:?}");
            assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
            let policy = answer.header("content-security-policy");
            for part in [
                "default-src 'none'",
                "script-src 'self';",
                "connect-src 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ] {
                assert!(policy.contains(part), "{path}: {part} is missing in {policy:?}");
            }
        }
        assert_eq!(
            client::get(&format!("{url}/livez"))
                .await
                .header("content-security-policy"),
            ""
        );
    }
}
