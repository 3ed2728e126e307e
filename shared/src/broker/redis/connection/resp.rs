//! RESP2 as bytes, for the commands every request passes through. Nothing is copied out of an answer: what
//! it holds is a slice of the buffer it was read into. See docs/adr/0005.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use bytes::Bytes;
use tokio::time::Instant;

/// The longest string a server may announce, in bytes: its own limit.
const MAX_BULK: usize = 512 * 1024 * 1024;

/// The most elements a list may announce: no answer we ask for comes near.
const MAX_ELEMENTS: usize = 1024 * 1024;

/// Why an answer is not read to its end: the connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker::redis) enum Unreadable {
    /// It is not RESP2.
    NotResp,
    /// It is longer than its reader takes.
    TooLarge,
}

/// Commands, encoded one behind the other.
#[derive(Debug, Default)]
pub(in crate::broker::redis) struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    pub(in crate::broker::redis) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            count: 0,
        }
    }

    /// Begins a command of `arguments` arguments, its name included; they must follow.
    pub(in crate::broker::redis) fn begin(&mut self, arguments: usize) -> &mut Self {
        self.count += 1;
        self.length(b'*', arguments)
    }

    pub(in crate::broker::redis) fn arg(&mut self, argument: impl AsRef<[u8]>) -> &mut Self {
        let argument = argument.as_ref();
        self.length(b'$', argument.len());
        self.bytes.extend_from_slice(argument);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    pub(in crate::broker::redis) fn number(&mut self, number: u64) -> &mut Self {
        self.arg(itoa::Buffer::new().format(number))
    }

    pub(in crate::broker::redis) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many answers come back.
    pub(in crate::broker::redis) fn count(&self) -> usize {
        self.count
    }

    fn length(&mut self, kind: u8, length: usize) -> &mut Self {
        self.bytes.push(kind);
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }
}

/// Finds the end of some answers in bytes that are still arriving. Looks at each byte once, however often
/// it is asked, and needs no stack: a list is so many more values to come.
#[derive(Debug)]
pub(in crate::broker::redis) struct Scanner {
    position: usize,
    /// Values that are still to come: a list is one, and then as many as it holds.
    missing: usize,
    /// How far the bytes must reach before there is anything to look at.
    wanted: usize,
    /// The most bytes of all answers together.
    limit: usize,
    /// Where the first error stands.
    error: Option<usize>,
}

impl Scanner {
    pub(in crate::broker::redis) fn new(answers: usize) -> Self {
        Self {
            position: 0,
            missing: answers,
            wanted: 0,
            limit: usize::MAX,
            error: None,
        }
    }

    /// The same, for answers of at most `limit` bytes.
    pub(in crate::broker::redis) fn within(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// How many bytes there must be, at least, before the answers can be complete.
    pub(in crate::broker::redis) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Where the answers end, once they are complete.
    pub(in crate::broker::redis) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Unreadable> {
        // In registers: this looks at each value of each answer.
        let (mut position, mut missing, limit) = (self.position, self.missing, self.limit);
        while missing > 0 {
            let Some((kind, line, next)) = line(bytes, position) else {
                break;
            };
            let mut end = next;
            match kind {
                b'+' | b':' => {}
                b'-' => {
                    self.error.get_or_insert(position);
                }
                b'$' => {
                    if let Some(length) = length(line, MAX_BULK)? {
                        end = next + length + 2;
                        // Known before it arrives: a length comes first.
                        if end > limit {
                            return Err(Unreadable::TooLarge);
                        }
                        if bytes.len() < end {
                            self.wanted = end;
                            break;
                        }
                    }
                }
                b'*' => missing += length(line, MAX_ELEMENTS)?.unwrap_or(0),
                _ => return Err(Unreadable::NotResp),
            }
            position = end;
            missing -= 1;
        }
        (self.position, self.missing) = (position, missing);
        Ok((missing == 0).then_some(position))
    }

    /// The first error among the answers, at any depth: its text without the sign.
    pub(in crate::broker::redis) fn error(&self, bytes: &[u8]) -> Option<String> {
        let (_, text, _) = line(bytes, self.error?)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// One value of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::broker::redis) enum Value {
    /// A string, simple or not.
    Text(Bytes),
    /// An error's text, without the sign.
    Error(Bytes),
    Integer(i64),
    Nil,
    /// A list of so many values, which follow.
    List(usize),
}

/// Walks through answers, to their end or to where they were cut off.
#[derive(Debug)]
pub(in crate::broker::redis) struct Cursor {
    bytes: Bytes,
    position: usize,
    began: Instant,
}

impl Cursor {
    /// For answers that did not come over a socket.
    #[cfg(any(test, feature = "bench"))]
    pub(in crate::broker::redis) fn new(bytes: Bytes) -> Self {
        Self::since(Instant::now(), bytes)
    }

    /// `bytes` began to arrive some time ago, and must have passed a [`Scanner`].
    pub(in crate::broker::redis) fn since(began: Instant, bytes: Bytes) -> Self {
        Self {
            bytes,
            position: 0,
            began,
        }
    }

    /// When the first byte arrived: whatever the server did for it, it had done by then.
    pub(in crate::broker::redis) fn began(&self) -> Instant {
        self.began
    }

    /// How long the answers are, in bytes.
    pub(in crate::broker::redis) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The next value; `None` at the end, and where it was cut off.
    pub(in crate::broker::redis) fn next(&mut self) -> Option<Value> {
        let (kind, text, next) = line(&self.bytes, self.position)?;
        let start = self.position + 1;
        let end = start + text.len();
        match kind {
            b':' => {
                let number = std::str::from_utf8(text).ok()?.parse().ok()?;
                self.position = next;
                Some(Value::Integer(number))
            }
            b'$' | b'*' => {
                let length = length(text, MAX_BULK).ok()?;
                self.position = next;
                match (kind, length) {
                    (_, None) => Some(Value::Nil),
                    (b'*', Some(length)) => Some(Value::List(length)),
                    (_, Some(length)) => {
                        let end = next.checked_add(length).filter(|end| *end <= self.bytes.len())?;
                        self.position = end + 2;
                        Some(Value::Text(self.bytes.slice(next..end)))
                    }
                }
            }
            b'-' => {
                self.position = next;
                Some(Value::Error(self.bytes.slice(start..end)))
            }
            _ => {
                self.position = next;
                Some(Value::Text(self.bytes.slice(start..end)))
            }
        }
    }

    /// The next value, if it is a list: how many values follow.
    pub(in crate::broker::redis) fn list(&mut self) -> Option<usize> {
        match self.next()? {
            Value::List(length) => Some(length),
            _ => None,
        }
    }

    /// The same, where nil stands for an empty list.
    pub(in crate::broker::redis) fn list_or_nil(&mut self) -> Option<usize> {
        match self.next()? {
            Value::List(length) => Some(length),
            Value::Nil => Some(0),
            _ => None,
        }
    }

    /// The next value, if it is a text.
    pub(in crate::broker::redis) fn text(&mut self) -> Option<Bytes> {
        match self.next()? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The next value, if it is a number or a text that holds one.
    pub(in crate::broker::redis) fn number(&mut self) -> Option<u64> {
        match self.next()? {
            Value::Integer(number) => u64::try_from(number).ok(),
            Value::Text(text) => std::str::from_utf8(&text).ok()?.parse().ok(),
            _ => None,
        }
    }
}

/// The line at `position`: its first byte, the rest, and where the next line begins.
fn line(bytes: &[u8], position: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(position..)?;
    let (kind, rest) = rest.split_first()?;
    // Lines are short: a length, a number, an id. A search for one byte is as good as it gets.
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    // A simple string holds no carriage return, so the line feed belongs to it.
    (rest.len() > end + 1).then(|| (*kind, &rest[..end], position + end + 3))
}

/// Reads a length; `None` for -1, which means nil.
fn length(text: &[u8], max: usize) -> Result<Option<usize>, Unreadable> {
    if text == b"-1" {
        return Ok(None);
    }
    // No number that is accepted has more digits than this, so that nothing overflows.
    if text.is_empty() || text.len() > 10 {
        return Err(Unreadable::NotResp);
    }
    let mut length = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Unreadable::NotResp);
        }
        length = length * 10 + usize::from(digit);
    }
    if length <= max {
        Ok(Some(length))
    } else {
        Err(Unreadable::NotResp)
    }
}

#[cfg(test)]
#[path = "resp_tests.rs"]
mod tests;
