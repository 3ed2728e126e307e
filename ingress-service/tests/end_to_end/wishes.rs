//! Headers that are ours, with hostile values: a problem names the header and what is accepted, or it is ignored as its
//! specification asks.

use std::time::Duration;

use crate::client;
use crate::harness::{Service, embedded};
use reqwest::RequestBuilder;

fn call(service: &Service) -> RequestBuilder {
    client::city(&client::new(), &service.url, "Oslo", "Sentrum")
}

#[track_caller]
fn assert_names(answer: &client::Answer, kind: &str, parts: &[&str], what: &str) {
    assert_eq!(answer.status, 400, "{what}: {answer:?}");
    answer.assert_problem(400, kind);
    let detail = answer.body["detail"].as_str().unwrap();
    for part in parts {
        assert!(detail.contains(part), "{what}: {part:?} is missing in {detail:?}");
    }
}

#[tokio::test]
async fn a_time_for_the_work_is_a_whole_number_of_seconds_up_to_a_day() {
    let ingress = embedded().start().await;
    for value in ["1", "86400", "0086400"] {
        let answer = client::send(call(&ingress).header("Request-Timeout", value))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{value}: {answer:?}");
    }
    let refused: [&[u8]; 17] = [
        b"",
        b"0",
        b"-1",
        b"+1",
        b"86401",
        b"999999999",
        b"18446744073709551616",
        b"99999999999999999999999999",
        b"1e99",
        b"1e2",
        b"1.5",
        b"0x10",
        b"30s",
        b"1 2",
        b"1, 2",
        "\u{ff11}".as_bytes(),
        b"NaN",
    ];
    for value in refused {
        let answer = client::send(call(&ingress).header("Request-Timeout", value))
            .await
            .unwrap();
        let what = String::from_utf8_lossy(value);
        assert_names(
            &answer,
            "/problems/bad-request",
            &["Request-Timeout", "from 1 to 86400"],
            &what,
        );
    }
    let twice = call(&ingress)
        .header("Request-Timeout", "5")
        .header("Request-Timeout", "6");
    let answer = client::send(twice).await.unwrap();
    assert_names(
        &answer,
        "/problems/bad-request",
        &["Request-Timeout", "one is expected"],
        "twice",
    );
}

#[tokio::test]
async fn keys_at_their_limits_are_taken_and_others_refused() {
    let ingress = embedded().start().await;
    let (longest, too_long) = (vec![b'k'; 255], vec![b'k'; 256]);
    let quoted = |key: &[u8]| [b"\"", key, b"\""].concat();
    let escaped = [&b"\""[..], &b"\\\"".repeat(255), b"\""].concat();
    for value in [longest.clone(), quoted(&longest), escaped, b"~".to_vec()] {
        let answer = client::send(call(&ingress).header("Idempotency-Key", &value[..]))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}: {answer:?}", String::from_utf8_lossy(&value));
    }
    let parts = ["Idempotency-Key", "1 to 255 characters of visible ASCII"];
    let non_ascii = "sch\u{fc}ssel".as_bytes().to_vec();
    for value in [
        too_long.clone(),
        quoted(&too_long),
        non_ascii.clone(),
        quoted(&non_ascii),
        Vec::new(),
        quoted(b""),
    ] {
        let answer = client::send(call(&ingress).header("Idempotency-Key", &value[..]))
            .await
            .unwrap();
        let what = String::from_utf8_lossy(&value).into_owned();
        assert_names(&answer, "/problems/malformed-idempotency-key", &parts, &what);
    }
    let twice = call(&ingress)
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "a");
    let answer = client::send(twice).await.unwrap();
    let parts = ["Idempotency-Key", "one is expected"];
    assert_names(&answer, "/problems/malformed-idempotency-key", &parts, "twice");
}

#[tokio::test]
async fn preferences_that_cannot_be_read_are_ignored() {
    let ingress = embedded().start().await;
    // RFC 7240, section 2: what is not understood is ignored, never refused.
    let values: [&[u8]; 10] = [
        b"",
        b"wait=-1",
        b"wait=\xff",
        b"wait=\xef\xbc\x91",
        b"wait=1e99",
        b"\"",
        b";;;,,,===",
        b"wait=\"5",
        b"respond-async=yes",
        b"wait=18446744073709551616x",
    ];
    for value in values {
        let answer = client::send(call(&ingress).header("Prefer", value)).await.unwrap();
        let what = String::from_utf8_lossy(value);
        assert_eq!(
            (answer.status, answer.header("preference-applied")),
            (200, ""),
            "{what:?}: {answer:?}"
        );
    }
    let long = ",".repeat(12_000);
    let answer = client::send(call(&ingress).header("Prefer", long)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let huge = client::send(call(&ingress).header("Prefer", "wait=99999999999999999999999"))
        .await
        .unwrap();
    assert_eq!(huge.header("preference-applied"), "wait=120");
}

#[tokio::test]
async fn the_last_event_is_a_number() {
    let ingress = embedded().start().await;
    let kept = call(&ingress).header("Prefer", "respond-async");
    let location = client::send(kept).await.unwrap().header("location").to_owned();
    let url = format!("{}{location}/events", ingress.url);
    let events = |id: &[u8]| {
        client::new()
            .get(&url)
            .header("Last-Event-ID", id)
            .timeout(Duration::from_secs(30))
    };
    let refused: [&[u8]; 9] = [
        b"-1",
        b"",
        b"+1",
        b"1.0",
        b"1e3",
        b"abc",
        "\u{ff11}".as_bytes(),
        b"9223372036854775808",
        b"0x1",
    ];
    for id in refused {
        let answer = client::send(events(id)).await.unwrap();
        let what = String::from_utf8_lossy(id);
        assert_names(&answer, "/problems/bad-request", &["Last-Event-ID", "number"], &what);
    }
    let answer = client::send(events(b"1").header("Last-Event-ID", "2")).await.unwrap();
    assert_names(
        &answer,
        "/problems/bad-request",
        &["Last-Event-ID", "one is expected"],
        "twice",
    );
    assert_eq!(client::send(events(b"0")).await.unwrap().status, 200);
    assert_eq!(client::send(events(b"9223372036854775807")).await.unwrap().status, 204);
}
