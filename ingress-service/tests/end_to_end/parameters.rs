//! Parameters and members that cannot be read, and names that nobody can see, at both services.

use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use testbed::RedisServer;

use crate::client::{self, Answer};
use crate::harness::{Service, embedded, proxy};

/// An ingress with its workers inside, and a proxy: its own forecast asks no broker.
async fn stage() -> [Service; 2] {
    let proxy = proxy("redis://127.0.0.1:1").with("ADMIN_TOKEN", TOKEN);
    let (ingress, proxy) = (embedded(), proxy);
    let (ingress, proxy) = tokio::join!(ingress.start(), proxy.start());
    [ingress, proxy]
}

const TOKEN: &str = "correct-horse-battery-staple";

async fn forecast(service: &Service, query: &str) -> Answer {
    client::get(&format!("{}/WeatherForecast?{query}", service.url)).await
}

#[tokio::test]
async fn parameters_that_cannot_be_read_are_refused_by_name() {
    let cases = [
        ("city=%ff", "city", "UTF-8"),
        ("city=Oslo%C3", "city", "UTF-8"),
        ("city=%ED%A0%80", "city", "UTF-8"),
        ("days=%ff", "days", "UTF-8"),
        ("city=Oslo&city=Rome", "city", "one is expected"),
        ("city=Oslo&days=1&city=Oslo", "city", "one is expected"),
        ("c%69ty=Oslo&city=Rome", "city", "one is expected"),
        ("city=Oslo&city=%ff", "city", "one is expected"),
        ("days=1&days=2&city=Oslo", "days", "one is expected"),
        ("x=1&x=2&city=Oslo", "x", "this route takes city, days"),
        ("City=Oslo", "City", "this route takes city, days"),
    ];
    for service in stage().await {
        for (query, name, expected) in cases {
            let answer = forecast(&service, query).await;
            assert_eq!(answer.status, 400, "{query}: {answer:?}");
            answer.assert_problem(400, "/problems/bad-request");
            assert_eq!(answer.body["errors"][0]["parameter"], name, "{query}: {answer:?}");
            let detail = answer.body["errors"][0]["detail"].as_str().unwrap();
            assert!(detail.contains(expected), "{query}: {detail}");
        }
        for query in ["&&city=Oslo&&", "city=Z%C3%BCrich", ""] {
            let answer = forecast(&service, query).await;
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn parameters_of_lists_are_read_as_strictly() {
    let redis = RedisServer::spawn().await;
    let (ingress, proxy) = (embedded(), proxy(&redis.url()).with("ADMIN_TOKEN", TOKEN));
    let (ingress, proxy) = tokio::join!(ingress.start(), proxy.start());
    for (service, path, name) in [
        (&ingress, "/requests?limit=1&limit=2", "limit"),
        (&ingress, "/requests?status=%ff", "status"),
        (&ingress, "/requests?cursor=%ff", "cursor"),
        (&proxy, "/admin/dead-letters?limit=1&limit=1", "limit"),
        (&proxy, "/admin/dead-letters?before=%ff", "before"),
    ] {
        let request = client::new().get(format!("{}{path}", service.url)).bearer_auth(TOKEN);
        let answer = client::send(request).await.unwrap();
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        answer.assert_problem(400, "/problems/bad-request");
        assert_eq!(answer.body["errors"][0]["parameter"], name, "{path}: {answer:?}");
    }
    for (service, path, status, kind) in [
        (&ingress, "/requests/%ff", 404, "/problems/unknown-request"),
        (&ingress, "/requests/%ff/result", 404, "/problems/unknown-request"),
        (&ingress, "/requests/%ff/events", 404, "/problems/unknown-request"),
        (&ingress, "/problems/%ff", 404, "/problems/not-found"),
        (&proxy, "/problems/%ff", 404, "/problems/not-found"),
        (&proxy, "/admin/dead-letters/%ff", 422, "/problems/validation-failed"),
        // Of the form of an id, and beyond any number: nothing has it.
        (
            &proxy,
            "/admin/dead-letters/99999999999999999999-1",
            404,
            "/problems/not-found",
        ),
        (
            &proxy,
            "/admin/dead-letters/100000000000000000000-1",
            422,
            "/problems/validation-failed",
        ),
    ] {
        let request = client::new().get(format!("{}{path}", service.url)).bearer_auth(TOKEN);
        let answer = client::send(request).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.assert_problem(status, kind);
    }
}

#[tokio::test]
async fn names_that_nobody_can_see_are_refused() {
    // Zero width space, right-to-left override, Hangul and halfwidth fillers, joiners, marks, tags, and others of no
    // width.
    let unseen = [
        "%E2%80%8B",
        "%E2%80%AE",
        "%E3%85%A4",
        "%EF%BE%A0",
        "%E1%85%9F",
        "%E2%80%8D",
        "%E2%80%8E",
        "%E2%81%A0",
        "%EF%BB%BF",
        "%C2%AD",
        "%CD%8F",
        "%EF%B8%8F",
        "%E2%A0%80",
        "%E1%A0%8E",
        "%F3%A0%80%A0",
        "%F3%A0%84%80",
        "+%E2%80%8B%E3%80%80%E3%85%A4+",
    ];
    for service in stage().await {
        for name in unseen {
            let answer = forecast(&service, &format!("city={name}")).await;
            assert_eq!(answer.status, 422, "{name}: {answer:?}");
            answer.assert_problem(422, "/problems/validation-failed");
            assert_eq!(answer.body["errors"][0]["parameter"], "city", "{name}");
        }
        // Written so that it reads as something else, or as two lines.
        for name in ["Os%E2%80%AElo", "Os%E2%81%A6lo", "Os%E2%80%A8lo", "Os%C2%85lo"] {
            let answer = forecast(&service, &format!("city={name}")).await;
            assert_eq!(answer.status, 422, "{name}: {answer:?}");
            let detail = answer.body["errors"][0]["detail"].as_str().unwrap();
            assert!(detail.contains("control"), "{name}: {detail}");
        }
        // Persian and Hindi need joiners within words, and hearts their selector.
        for name in [
            "%D9%86%DB%8C%E2%80%8C%D9%84",
            "%E0%A4%95%E0%A5%8D%E2%80%8D%E0%A4%B7",
            "%E2%9D%A4%EF%B8%8F",
        ] {
            let answer = forecast(&service, &format!("city={name}")).await;
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_member_that_is_there_twice_is_refused_by_name() {
    let ingress = embedded().start().await;
    let post = async |body: &str| {
        let request = client::new().post(format!("{}/WeatherForecast/city", ingress.url));
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
        client::send(request).await.unwrap()
    };
    for (body, name) in [
        (r#"{"city":"Oslo","city":"Rome"}"#, "city"),
        (r#"{"city":"Oslo","city":"Oslo"}"#, "city"),
        (r#"{"city":"Oslo","c\u0069ty":"Rome"}"#, "city"),
        (r#"{"city":"Oslo","location":null,"location":"Sentrum"}"#, "location"),
        (r#"{"city":"Oslo","other":1,"other":2}"#, "other"),
    ] {
        let answer = post(body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        answer.assert_problem(400, "/problems/malformed-body");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{name:?}")), "{body}: {detail}");
    }
    // A name that is hostile itself is not shown whole.
    let long = "x".repeat(3_000);
    let answer = post(&format!(r#"{{"{long}":1,"{long}":2}}"#)).await;
    answer.assert_problem(400, "/problems/malformed-body");
    assert!(answer.body["detail"].as_str().unwrap().len() < 500, "{answer:?}");
    // The same name in two objects is none that is there twice.
    let answer = post(r#"{"city":"Oslo","a":{"city":1},"b":{"city":2}}"#).await;
    assert_eq!(
        (answer.status, &answer.body["city"]),
        (200, &json!("Oslo")),
        "{answer:?}"
    );
    // Nobody can see this one.
    let answer = post(r#"{"city":"\u200b\u3164","location":"\u202e"}"#).await;
    answer.assert_problem(422, "/problems/validation-failed");
    assert_eq!(answer.body["errors"][0]["pointer"], "/city");
    assert_eq!(answer.body["errors"][1]["pointer"], "/location");
}
