//! What is not even proper HTTP, written to the socket by hand. The server answers or hangs up, and lives on.

use tokio::io::AsyncWriteExt;

use crate::client;
use crate::harness::{Service, embedded};
use crate::raw::{assert_problem, connect, read_all, status};

/// Writes `bytes` and reads until the server hangs up.
async fn exchange(ingress: &Service, bytes: &[u8]) -> String {
    let mut socket = connect(ingress).await;
    // The server may hang up in the middle of it.
    let _ = socket.write_all(bytes).await;
    read_all(socket).await
}

/// Writes `bytes`, says that nothing more will come, and reads until the server hangs up.
async fn break_off(ingress: &Service, bytes: &[u8]) -> String {
    let mut socket = connect(ingress).await;
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    read_all(socket).await
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /WeatherForecast/city HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET /WeatherForecast HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

async fn assert_alive(ingress: &Service) {
    let answer = client::call(&ingress.url).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let health = client::get(&format!("{}/healthz", ingress.url)).await;
    assert_eq!(health.body["status"], "Healthy", "{health:?}");
}

#[tokio::test]
async fn what_is_not_http_is_answered_with_400_or_hung_up_on() {
    let ingress = embedded().start().await;
    let garbage: [&[u8]; 9] = [
        b"",
        b"\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 1000],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /WeatherForecast/city HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frame at all, and not the last",
    ];
    for bytes in garbage {
        let answer = break_off(&ingress, bytes).await;
        let hung_up = !answer.starts_with("HTTP/1");
        assert!(
            hung_up || status(&answer) == Some(400),
            "{:?}: {answer}",
            bytes.escape_ascii().to_string()
        );
    }
    assert_alive(&ingress).await;
}

#[tokio::test]
async fn the_old_protocol_still_gets_its_answer() {
    let ingress = embedded().start().await;
    let answer = exchange(&ingress, b"GET /WeatherForecast HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    let ingress = embedded().with("MAX_BODY", "1KiB").start().await;
    let fits = format!("{{\"city\":\"Oslo\"{}}}", " ".repeat(1009));
    assert_eq!(fits.len(), 1024);
    let sized = |body: &str| post(&format!("Content-Length: {}\r\n", body.len()), body);
    let chunked = |body: &str| {
        let (one, other) = body.split_at(500);
        let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n", one.len(), other.len());
        post("Transfer-Encoding: chunked\r\n", &chunks)
    };
    let too_large = format!("{fits} ");
    for send in [&sized as &dyn Fn(&str) -> Vec<u8>, &chunked] {
        assert_eq!(status(&exchange(&ingress, &send(&fits)).await), Some(200));
        let answer = exchange(&ingress, &send(&too_large)).await;
        assert_problem(&answer, 413, "/problems/body-too-large");
    }
    assert_alive(&ingress).await;
}

#[tokio::test]
async fn the_weather_takes_8_kib_even_where_other_bodies_may_have_a_mebibyte() {
    let ingress = embedded().start().await;
    let client = client::new();
    let url = format!("{}/WeatherForecast/city", ingress.url);
    let body = |size: usize| format!("{{\"city\":\"Oslo\"{}}}", " ".repeat(size - 15));
    let send = async |size| {
        let request = client.post(&url).header("Content-Type", "application/json");
        client::send(request.body(body(size))).await.unwrap()
    };
    assert_eq!(send(8 << 10).await.status, 200);
    for size in [(8 << 10) + 1, 1 << 20] {
        send(size).await.assert_problem(413, "/problems/body-too-large");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_reaches_no_worker() {
    let ingress = embedded().start().await;
    for request in [
        post("Content-Length: 100\r\n", "{\"city\":\"Oslo\"}"),
        post("Transfer-Encoding: chunked\r\n", "f\r\n{\"city\":\"Oslo\"}\r\n"),
        post(
            "Transfer-Encoding: chunked\r\n",
            "zz\r\n{\"city\":\"Oslo\"}\r\n0\r\n\r\n",
        ),
    ] {
        let answer = break_off(&ingress, &request).await;
        assert!(answer.is_empty() || status(&answer) == Some(400), "{answer}");
    }
    assert_eq!(
        client::metric(&ingress.url, "roundtrip_proxy_requests_total{outcome=\"ok\"}").await,
        0.0
    );
    assert_alive(&ingress).await;
}

#[tokio::test]
async fn a_header_block_may_have_16_kib() {
    let ingress = embedded().start().await;
    let of_size = |size: usize| get(&format!("X-Padding: {}\r\n", "x".repeat(size)));
    assert_eq!(status(&exchange(&ingress, &of_size(15 * 1024)).await), Some(200));
    let answer = exchange(&ingress, &of_size(17 * 1024)).await;
    assert_problem(&answer, 431, "/problems/headers-too-large");
    let long_path = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "x".repeat(17 * 1024)
    );
    let answer = exchange(&ingress, long_path.as_bytes()).await;
    assert_problem(&answer, 431, "/problems/headers-too-large");
    // What is larger than any honest mistake is not even read to its end.
    let answer = exchange(&ingress, &of_size(10 * 1024 * 1024)).await;
    assert!(answer.is_empty() || status(&answer) == Some(431), "{answer}");
    assert_alive(&ingress).await;
}

#[tokio::test]
async fn more_than_100_headers_are_refused() {
    let ingress = embedded().start().await;
    let headers = |count: usize| -> String { (0..count).map(|number| format!("X-{number}: y\r\n")).collect() };
    assert_eq!(status(&exchange(&ingress, &get(&headers(90))).await), Some(200));
    let answer = exchange(&ingress, &get(&headers(120))).await;
    assert_eq!(status(&answer), Some(431), "{answer}");
    assert_alive(&ingress).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_answered_with_408() {
    let ingress = embedded().start().await;
    let answer = exchange(&ingress, &post("Content-Length: 100\r\n", "{\"city\":")).await;
    assert_problem(&answer, 408, "/problems/request-timeout");
}

#[tokio::test]
async fn a_request_names_its_host_exactly_once() {
    let ingress = embedded().start().await;
    let ask = async |version: &str, hosts: &[&[u8]]| {
        let mut request = format!("GET /problems/overloaded HTTP/{version}\r\nConnection: close\r\n").into_bytes();
        for host in hosts {
            request.extend_from_slice(&[b"Host: ", *host, b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        exchange(&ingress, &request).await
    };
    let refused: [&[&[u8]]; 14] = [
        &[],
        &[b"localhost", b"localhost"],
        &[b"localhost", b"elsewhere"],
        &[b"two words"],
        &[b"user@localhost"],
        &[b"local/host"],
        &[b"localhost:port"],
        &[b"localhost:80:80"],
        &[b"local\"host"],
        &[b"[::1"],
        &[b"[::1]x"],
        &[b"[not an address]"],
        &[b"l\xc3\xb6calhost"],
        &[b"local%host"],
    ];
    for hosts in refused {
        let answer = ask("1.1", hosts).await;
        let named: Vec<_> = hosts.iter().map(|host| host.escape_ascii().to_string()).collect();
        assert_eq!(status(&answer), Some(400), "{named:?}: {answer}");
        assert_problem(&answer, 400, "/problems/bad-request");
        assert!(answer.contains("Host"), "{named:?}: {answer}");
    }
    let accepted: [&[u8]; 9] = [
        b"localhost",
        b"localhost:5009",
        b"LOCALHOST.",
        b"a_b-c.example",
        b"127.0.0.1:80",
        b"[::1]:5009",
        b"[2001:db8::7]",
        b"l%C3%B6cal",
        b"",
    ];
    for host in accepted {
        let answer = ask("1.1", &[host]).await;
        assert_eq!(status(&answer), Some(200), "{}: {answer}", host.escape_ascii());
    }
    assert_eq!(status(&ask("1.0", &[]).await), Some(200));
    assert_eq!(status(&ask("1.0", &[b"one", b"other"]).await), Some(400));
    assert_alive(&ingress).await;
}
