#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const ANSWER: &[u8] =
    b"*2\r\n$3\r\nkey\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$2\r\n\r\n\r\n$1\r\nb\r\n$-1\r\n:7\r\n";

#[test]
fn commands_are_encoded_as_the_protocol_says() {
    let mut commands = Commands::default();
    commands.begin(3).arg("XADD").arg(b"k").number(42);
    commands.begin(1).arg("EXEC");
    assert_eq!(
        commands.bytes(),
        b"*3\r\n$4\r\nXADD\r\n$1\r\nk\r\n$2\r\n42\r\n*1\r\n$4\r\nEXEC\r\n"
    );
    assert_eq!(commands.count(), 2);
}

#[test]
fn an_answer_is_complete_only_with_its_last_byte() {
    for end in 0..ANSWER.len() {
        assert_eq!(Scanner::new(2).scan(&ANSWER[..end]), Ok(None), "{end} bytes");
    }
    let with_more = [ANSWER, b"+next\r\n"].concat();
    assert_eq!(Scanner::new(2).scan(&with_more), Ok(Some(ANSWER.len())));
}

#[test]
fn an_answer_that_arrives_byte_by_byte_is_found_by_one_scanner() {
    let mut scanner = Scanner::new(2);
    let ends = (0..=ANSWER.len()).map(|end| scanner.scan(&ANSWER[..end]).unwrap());
    assert_eq!(ends.flatten().collect::<Vec<_>>(), [ANSWER.len()]);
}

#[test]
fn an_answer_that_is_too_long_is_given_up_before_it_arrives() {
    let head = b"*2\r\n$3\r\nabc\r\n$1000\r\n";
    let limit = head.len() + 1002;
    let mut scanner = Scanner::new(1).within(limit);
    assert_eq!((scanner.scan(head), scanner.wanted()), (Ok(None), limit));
    assert_eq!(Scanner::new(1).within(limit - 1).scan(head), Err(Unreadable::TooLarge));
    let mut cursor = Cursor::new(Bytes::from_static(head));
    assert_eq!((cursor.list(), cursor.text().unwrap()), (Some(2), "abc".into()));
    assert_eq!(cursor.next(), None, "it ends where it was cut off");
}

#[test]
fn a_cursor_reads_what_was_written() {
    let mut cursor = Cursor::new(Bytes::from_static(ANSWER));
    assert_eq!((cursor.list(), cursor.text().unwrap().as_ref()), (Some(2), &b"key"[..]));
    assert_eq!((cursor.list(), cursor.list()), (Some(1), Some(2)));
    assert_eq!((cursor.text().unwrap().as_ref(), cursor.list()), (&b"1-0"[..], Some(4)));
    assert_eq!(cursor.text().unwrap(), "a");
    assert_eq!(cursor.text().unwrap(), "\r\n");
    assert_eq!(cursor.text().unwrap(), "b");
    assert_eq!(
        (cursor.next(), cursor.number(), cursor.next()),
        (Some(Value::Nil), Some(7), None)
    );
}

#[test]
fn the_first_error_is_found_at_any_depth() {
    let answer = b"+OK\r\n*2\r\n:1\r\n-WRONGTYPE not a stream\r\n-EXECABORT\r\n";
    let mut scanner = Scanner::new(3);
    assert_eq!(scanner.scan(answer), Ok(Some(answer.len())));
    assert_eq!(scanner.error(answer).unwrap(), "WRONGTYPE not a stream");
    let refused = b"+OK\r\n-OOM no\r\n-EXECABORT\r\n";
    let mut scanner = Scanner::new(3);
    assert_eq!(scanner.scan(refused), Ok(Some(refused.len())));
    assert_eq!(scanner.error(refused).unwrap(), "OOM no");
}

#[test]
fn what_is_not_resp_is_refused() {
    for bytes in [
        &b"HTTP/1.1 400\r\n"[..],
        b"$abc\r\n",
        b"$-2\r\n",
        b"$99999999999\r\n",
        b"*9999999999\r\n",
    ] {
        assert_eq!(Scanner::new(1).scan(bytes), Err(Unreadable::NotResp), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), answers in 0_usize..4) {
        let mut scanner = Scanner::new(answers);
        if let Ok(Some(end)) = scanner.scan(&bytes) {
            let mut cursor = Cursor::new(Bytes::from(bytes[..end].to_vec()));
            while cursor.next().is_some() {}
        }
    }

    #[test]
    fn any_argument_comes_back_as_it_was_sent(arguments in proptest::collection::vec(any::<Vec<u8>>(), 1..8)) {
        // A command has the form of an answer: a list of strings.
        let mut commands = Commands::default();
        commands.begin(arguments.len());
        for argument in &arguments {
            commands.arg(argument);
        }
        let bytes = Bytes::copy_from_slice(commands.bytes());
        prop_assert_eq!(Scanner::new(1).scan(&bytes), Ok(Some(bytes.len())));
        let mut cursor = Cursor::new(bytes);
        prop_assert_eq!(cursor.list(), Some(arguments.len()));
        for argument in arguments {
            prop_assert_eq!(cursor.text().unwrap(), argument);
        }
    }
}
