//! Reads one HTTP/1.1 response at a time (RFC 9112) from bytes as they arrive, however they are split. Nothing is
//! allocated for a response once the buffers have grown to the size of the answers.

use std::fmt;
use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};

/// A response larger than this is not an answer of the service, in bytes.
const MAX_RESPONSE: usize = 1024 * 1024;
/// Holds a usual answer with its head, in bytes.
const FIRST_BUFFER: usize = 4 * 1024;
/// More header fields than any server sends.
const MAX_HEADERS: usize = 64;

/// A complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The status line and the header fields, as they came.
    pub head: &'a [u8],
    /// The body, without the framing.
    pub body: &'a [u8],
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
}

impl<'a> Response<'a> {
    /// The value of the first header field of this name. Looked for when it is asked for: most answers are not asked.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        let mut fields = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'));
        let (_, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    /// Bytes up to the body.
    length: usize,
    framing: Framing,
    keep_alive: bool,
}

/// Collects the bytes of one response after the other.
#[derive(Debug)]
pub struct ResponseReader {
    buffer: Vec<u8>,
    filled: usize,
    head: Option<Head>,
    /// Where the next chunk's size stands in `buffer`.
    next_chunk: usize,
    /// The body, where it came in chunks.
    decoded: Vec<u8>,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self {
            buffer: vec![0; FIRST_BUFFER],
            filled: 0,
            head: None,
            next_chunk: 0,
            decoded: Vec::new(),
        }
    }
}

impl ResponseReader {
    /// Forgets the last response and is ready for the next.
    pub fn begin(&mut self) {
        self.filled = 0;
        self.head = None;
        self.decoded.clear();
    }

    /// Where the next bytes from the connection go; never empty.
    ///
    /// # Errors
    /// Fails when the response is larger than any answer.
    pub fn space(&mut self) -> Result<&mut [u8], UnreadableResponse> {
        if self.filled == self.buffer.len() {
            if self.filled >= MAX_RESPONSE {
                return Err(UnreadableResponse("it is larger than 1 MiB"));
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        Ok(&mut self.buffer[self.filled..])
    }

    /// Takes note of `read` bytes put into [`space`](Self::space); `true` when the response is complete.
    ///
    /// # Errors
    /// Fails when the bytes are no HTTP response.
    pub fn advance(&mut self, read: usize) -> Result<bool, UnreadableResponse> {
        self.filled += read;
        if self.head.is_none() {
            self.head = self.read_head()?;
        }
        let Some(head) = self.head else { return Ok(false) };
        let end = match head.framing {
            Framing::Length(length) => Some(head.length + length),
            Framing::Chunked => self.read_chunks()?,
            Framing::UntilClose => None,
        };
        let complete = end.is_some_and(|end| end <= self.filled);
        if complete && end != Some(self.filled) {
            // Nobody asked for more, so what follows would be taken for the next answer.
            self.head = Some(Head {
                keep_alive: false,
                ..head
            });
        }
        Ok(complete)
    }

    /// Takes note of the connection's end; `true` when that completes the response.
    #[must_use]
    pub fn close(&self) -> bool {
        self.head.is_some_and(|head| head.framing == Framing::UntilClose)
    }

    /// Whether anything of the response has arrived.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.filled > 0
    }

    /// The complete response; `None` before it is.
    #[must_use]
    pub fn response(&self) -> Option<Response<'_>> {
        let head = self.head?;
        let body = match head.framing {
            Framing::Length(length) => self.buffer[..self.filled].get(head.length..head.length + length)?,
            Framing::Chunked => &self.decoded,
            Framing::UntilClose => &self.buffer[head.length..self.filled],
        };
        Some(Response {
            status: head.status,
            head: &self.buffer[..head.length],
            body,
            keep_alive: head.keep_alive,
        })
    }

    /// The head, once it is complete; interim responses (1xx) before it are dropped.
    fn read_head(&mut self) -> Result<Option<Head>, UnreadableResponse> {
        loop {
            let head = parse_head(&self.buffer[..self.filled])?;
            match head {
                Some(interim) if interim.status < 200 => {
                    self.buffer.copy_within(interim.length..self.filled, 0);
                    self.filled -= interim.length;
                }
                Some(head) => {
                    self.next_chunk = head.length;
                    return Ok(Some(head));
                }
                None => return Ok(None),
            }
        }
    }

    /// Decodes the chunks that are complete; where the response ends, once the last one and its trailers are.
    fn read_chunks(&mut self) -> Result<Option<usize>, UnreadableResponse> {
        const BAD: UnreadableResponse = UnreadableResponse("its chunks are malformed");
        loop {
            let rest = &self.buffer[self.next_chunk..self.filled];
            let Status::Complete((start, size)) = httparse::parse_chunk_size(rest).map_err(|_| BAD)? else {
                return Ok(None);
            };
            if size == 0 {
                let mut trailers = [httparse::EMPTY_HEADER; 16];
                let trailers = httparse::parse_headers(&rest[start..], &mut trailers).map_err(|_| BAD)?;
                return Ok(match trailers {
                    Status::Complete((length, _)) => Some(self.next_chunk + start + length),
                    Status::Partial => None,
                });
            }
            let size = usize::try_from(size).ok().filter(|size| *size <= MAX_RESPONSE);
            let end = start + size.ok_or(UnreadableResponse("it is larger than 1 MiB"))?;
            match rest.get(end..end + 2) {
                None => return Ok(None),
                Some(b"\r\n") => {
                    self.decoded.extend_from_slice(&rest[start..end]);
                    self.next_chunk += end + 2;
                }
                Some(_) => return Err(BAD),
            }
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, UnreadableResponse> {
    // Left uninitialised: zeroing them for each response would cost more than parsing.
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let status = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
        .map_err(|_| UnreadableResponse("it is not HTTP/1.1"))?;
    let Status::Complete(length) = status else {
        return Ok(None);
    };
    let code = response.code.expect("a complete head has a status");
    let mut chunked = false;
    let mut content_length = None;
    let mut keep_alive = response.version == Some(1);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = parse_length(header.value)?;
            if content_length.replace(value).is_some_and(|before| before != value) {
                return Err(UnreadableResponse("it has two lengths"));
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(UnreadableResponse("its transfer encoding is not known"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                match option {
                    _ if option.eq_ignore_ascii_case(b"close") => keep_alive = false,
                    _ if option.eq_ignore_ascii_case(b"keep-alive") => keep_alive = true,
                    _ => {}
                }
            }
        }
    }
    let framing = match (code, chunked, content_length) {
        (100..=199 | 204 | 304, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::UntilClose,
    };
    Ok(Some(Head {
        status: code,
        length,
        framing,
        keep_alive: keep_alive && framing != Framing::UntilClose,
    }))
}

fn parse_length(value: &[u8]) -> Result<usize, UnreadableResponse> {
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length
        .filter(|length| *length <= MAX_RESPONSE)
        .ok_or(UnreadableResponse("its length is not a number up to 1 MiB"))
}

/// Bytes that are no response of the service, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableResponse(&'static str);

impl fmt::Display for UnreadableResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the response cannot be read: {}", self.0)
    }
}

impl std::error::Error for UnreadableResponse {}

#[cfg(test)]
mod tests;
