//! Responses however they are split, framed or broken.
#![allow(clippy::unwrap_used)]

use rstest::rstest;

use super::*;

/// Feeds `bytes` in pieces of `size`; whether the response became complete, and where in the bytes.
fn feed(reader: &mut ResponseReader, bytes: &[u8], size: usize) -> Result<Option<usize>, UnreadableResponse> {
    reader.begin();
    let mut fed = 0;
    for piece in bytes.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() {
            let space = reader.space()?;
            let length = space.len().min(rest.len());
            space[..length].copy_from_slice(&rest[..length]);
            rest = &rest[length..];
            fed += length;
            if reader.advance(length)? {
                return Ok(Some(fed));
            }
        }
    }
    Ok(None)
}

const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n";
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[rstest]
fn a_response_reads_alike_however_it_is_split(
    #[values(LENGTH, CHUNKED, INTERIM)] bytes: &[u8],
    #[values(1, 2, 3, 7, 50, 1000)] size: usize,
) {
    let mut reader = ResponseReader::default();
    // Twice: nothing of the first may be left in the second.
    for _ in 0..2 {
        assert_eq!(feed(&mut reader, bytes, size), Ok(Some(bytes.len())));
        let response = reader.response().unwrap();
        assert_eq!(
            (response.status, response.body, response.keep_alive),
            (200, &b"hello"[..], true)
        );
        assert!(response.head.starts_with(b"HTTP/1.1 200 OK\r\n") && response.head.ends_with(b"\r\n\r\n"));
    }
}

#[test]
fn a_header_is_found_by_its_name_alone() {
    let bytes =
        b"HTTP/1.1 202 Accepted\r\nX-Location: /no\r\nlocation:  /requests/1 \r\nContent-Length: 9\r\n\r\nAllow: no";
    let mut reader = ResponseReader::default();
    assert_eq!(feed(&mut reader, bytes, 7), Ok(Some(bytes.len())));
    let response = reader.response().unwrap();
    assert_eq!(response.header("Location"), Some("/requests/1"));
    assert_eq!(response.header("Allow"), None);
}

#[rstest]
#[case("HTTP/1.1 200 OK\r\n", true)]
#[case("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", true)]
#[case("HTTP/1.1 200 OK\r\nConnection: foo, Close\r\n", false)]
#[case("HTTP/1.0 200 OK\r\n", false)]
#[case("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n", true)]
fn whether_the_connection_stays_is_read_from_the_head(#[case] head: &str, #[case] keep_alive: bool) {
    let mut reader = ResponseReader::default();
    let bytes = format!("{head}Content-Length: 0\r\n\r\n");
    assert_eq!(feed(&mut reader, bytes.as_bytes(), 1000), Ok(Some(bytes.len())));
    assert_eq!(reader.response().unwrap().keep_alive, keep_alive);
}

#[test]
fn without_a_length_the_end_of_the_connection_ends_the_body() {
    let mut reader = ResponseReader::default();
    assert_eq!(feed(&mut reader, b"HTTP/1.1 200 OK\r\n\r\nhel", 4), Ok(None));
    assert!(reader.close());
    let response = reader.response().unwrap();
    assert_eq!((response.body, response.keep_alive), (b"hel" as &[u8], false));
}

#[rstest]
#[case(&LENGTH[..LENGTH.len() - 1])]
#[case(&CHUNKED[..CHUNKED.len() - 1])]
#[case(&LENGTH[..20])]
#[case(b"")]
fn a_response_cut_short_is_never_complete(#[case] bytes: &[u8]) {
    let mut reader = ResponseReader::default();
    assert_eq!(feed(&mut reader, bytes, 1000), Ok(None));
    assert!(!reader.close());
    assert_eq!(reader.has_begun(), !bytes.is_empty());
}

#[test]
fn a_body_not_yet_there_is_not_handed_out() {
    let mut reader = ResponseReader::default();
    assert_eq!(feed(&mut reader, &LENGTH[..LENGTH.len() - 1], 1000), Ok(None));
    assert_eq!(reader.response(), None);
}

#[rstest]
#[case(204)]
#[case(304)]
fn some_statuses_have_no_body(#[case] status: u16) {
    let mut reader = ResponseReader::default();
    let bytes = format!("HTTP/1.1 {status} X\r\n\r\n");
    assert_eq!(feed(&mut reader, bytes.as_bytes(), 1000), Ok(Some(bytes.len())));
}

#[test]
fn bytes_nobody_asked_for_end_the_connection() {
    let mut reader = ResponseReader::default();
    let bytes = [LENGTH, b"HTTP/1.1 408 Timeout\r\n"].concat();
    assert_eq!(feed(&mut reader, &bytes, 1000), Ok(Some(bytes.len())));
    let response = reader.response().unwrap();
    assert_eq!((response.body, response.keep_alive), (b"hello" as &[u8], false));
}

#[rstest]
#[case("SSH-2.0-OpenSSH_9.6\r\n", "not HTTP")]
#[case("\u{0}\u{1}\u{2}\u{3}", "not HTTP")]
#[case("HTTP/1.1 abc OK\r\n\r\n", "not HTTP")]
#[case("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "length")]
#[case("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "length")]
#[case("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n", "length")]
#[case("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "two lengths")]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer encoding")]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunks")]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", "chunks")]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", "1 MiB")]
fn garbage_is_refused_with_a_reason(#[case] text: &str, #[case] reason: &str) {
    let error = feed(&mut ResponseReader::default(), text.as_bytes(), 1000).unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
}

#[rstest]
#[case("HTTP/1.1 200 OK\r\n\r\n")]
#[case("HTTP/1.1 200 OK\r\nX-Long: ")]
fn an_endless_response_is_refused(#[case] start: &str) {
    let bytes = [start.as_bytes(), &vec![b'x'; 2 * MAX_RESPONSE]].concat();
    let error = feed(&mut ResponseReader::default(), &bytes, 64 * 1024).unwrap_err();
    assert!(error.to_string().contains("1 MiB"), "{error}");
}

#[test]
fn a_large_answer_fits() {
    let mut reader = ResponseReader::default();
    let bytes = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" as &[u8],
        &[b'x'; 300_000],
    ]
    .concat();
    assert_eq!(feed(&mut reader, &bytes, 1500), Ok(Some(bytes.len())));
    assert_eq!(reader.response().unwrap().body.len(), 300_000);
}
