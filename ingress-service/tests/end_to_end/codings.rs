//! Transfer codings (RFC 9112, section 7): chunked is read and sent, and nothing else.

use tokio::io::AsyncWriteExt as _;

use crate::client;
use crate::harness::{Service, embedded};
use crate::raw;

/// Sends a head and reads all of the answer.
async fn answer(service: &Service, head: &str) -> String {
    let mut socket = raw::connect(service).await;
    socket.write_all(head.as_bytes()).await.unwrap();
    raw::read_all(socket).await
}

#[tokio::test]
async fn no_coding_but_chunked_is_sent_or_taken() {
    let ingress = embedded().start().await;
    let post = |lines: &str, body: &str| {
        format!(
            "POST /WeatherForecast/city HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n{lines}\r\n\r\n{body}"
        )
    };
    let chunked = "f\r\n{\"city\":\"Oslo\"}\r\n0\r\n\r\n";
    for lines in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: Chunked",
        "transfer-encoding:  chunked  ",
    ] {
        let answer = answer(&ingress, &post(lines, chunked)).await;
        assert_eq!(raw::status(&answer), Some(200), "{lines}: {answer}");
    }
    // With a trailer, which is read and has no effect.
    let trailer = chunked.replace("0\r\n\r\n", "0\r\nPrefer: respond-async\r\nHost: evil\r\n\r\n");
    let answered = answer(&ingress, &post("Transfer-Encoding: chunked", &trailer)).await;
    assert_eq!(raw::status(&answered), Some(200), "{answered}");
    // RFC 9112, section 6.1.
    for lines in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: x-evil;q=1, chunked",
    ] {
        let answer = answer(&ingress, &post(lines, chunked)).await;
        raw::assert_problem(&answer, 501, "/problems/transfer-coding-unknown");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    // Where the end of the body cannot be known: section 6.3.
    for lines in [
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
    ] {
        let answer = answer(&ingress, &post(lines, chunked)).await;
        assert_eq!(raw::status(&answer), Some(400), "{lines}: {answer}");
    }
}

#[tokio::test]
async fn whatever_codings_a_client_takes_it_gets_no_trailers() {
    let ingress = embedded().start().await;
    let kept = client::city(&client::new(), &ingress.url, "Oslo", "Sentrum").header("Prefer", "respond-async");
    let location = client::send(kept).await.unwrap().header("location").to_owned();
    for te in [
        "",
        "TE: trailers\r\n",
        "TE: gzip;q=1.0, deflate\r\n",
        "TE: chunked;q=0\r\n",
        "TE: ;;,\r\nTE: trailers\r\n",
    ] {
        for path in [format!("{location}/events"), "/metrics".to_owned()] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close, TE\r\n{te}\r\n");
            let answer = answer(&ingress, &head).await;
            assert_eq!(raw::status(&answer), Some(200), "{te}{path}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_lowercase();
            assert!(!head.contains("\r\ntrailer:"), "{te}{path}: {head}");
            let codings = head.lines().find_map(|line| line.strip_prefix("transfer-encoding: "));
            match codings {
                Some(codings) => {
                    assert_eq!(codings, "chunked", "{te}{path}");
                    assert!(body.ends_with("\r\n0\r\n\r\n"), "{te}{path}: {body}");
                }
                None => assert!(head.contains("content-length"), "{te}{path}: {head}"),
            }
        }
    }
}
