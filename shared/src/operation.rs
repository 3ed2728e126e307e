//! Operations: what callers ask for and workers do. Nothing here knows one of them; each has a name, from which the
//! name of its queue is made.

use std::fmt;
use std::sync::{LazyLock, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One kind of work: a name, what it is given, and what it answers.
pub trait Operation: Send + Sync + 'static {
    /// Its name: 1 to 40 characters of `a-z 0-9 -`, the first one a letter. The name of its queue begins with it;
    /// entries, records, metrics and spans carry it.
    const NAME: &'static str;
    /// What it is given, as it travels: a JSON document.
    type Input: Serialize + DeserializeOwned + Send;
    /// What it answers, a JSON document.
    type Output: Serialize;
}

/// The name of an operation. A pointer: made once for each name, and copied for every request.
#[derive(Clone, Copy)]
pub struct OperationName(&'static Names);

#[derive(Debug)]
struct Names {
    name: Box<str>,
    queue: Box<str>,
    is_first: bool,
}

/// All names there are. They live as long as the process: their number is bounded.
static KNOWN: Mutex<Vec<OperationName>> = Mutex::new(Vec::new());

/// The most names of one process. They come from its configuration, and from what is stored; more is no configuration.
const MAX_KNOWN: usize = 4096;

/// The operation that there was when there was no other.
const FIRST: &str = "weather";

/// The longest name, in characters.
const MAX_NAME: usize = 40;

/// A text that is no name of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidOperationName;

impl fmt::Display for InvalidOperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an operation's name has 1 to {MAX_NAME} characters of a-z 0-9 -, the first one a letter"
        )
    }
}

impl std::error::Error for InvalidOperationName {}

impl OperationName {
    /// The operation of entries, records and letters that name none: the first there was.
    #[must_use]
    pub fn first() -> Self {
        static NAME: LazyLock<OperationName> = LazyLock::new(|| OperationName::of(FIRST).expect("it is a name"));
        *NAME
    }

    /// The name of an operation that is known when the program is compiled.
    ///
    /// # Panics
    /// When [`Operation::NAME`] is no name.
    #[must_use]
    pub fn of_operation<O: Operation>() -> Self {
        Self::of(O::NAME).unwrap_or_else(|error| panic!("{:?}: {error}", O::NAME))
    }

    /// The operation of this name.
    ///
    /// # Errors
    /// When the text is no name.
    pub fn of(name: &str) -> Result<Self, InvalidOperationName> {
        let mut known = KNOWN.lock().expect("no code panics while it holds the names");
        if let Some(known) = known.iter().find(|known| known.as_str() == name) {
            return Ok(*known);
        }
        let is_name = (1..=MAX_NAME).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_name || known.len() == MAX_KNOWN {
            return Err(InvalidOperationName);
        }
        let names = Names {
            name: name.into(),
            queue: format!("{name}-requests").into(),
            is_first: name == FIRST,
        };
        let new = Self(Box::leak(Box::new(names)));
        known.push(new);
        Ok(new)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        &self.0.name
    }

    /// The name of its queue, for example `weather-requests`.
    #[must_use]
    pub fn queue(self) -> &'static str {
        &self.0.queue
    }

    /// Whether an entry, a record or a letter of it says nothing of its operation.
    #[must_use]
    pub fn goes_without_saying(self) -> bool {
        self.0.is_first
    }
}

impl PartialEq for OperationName {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for OperationName {}

impl std::hash::Hash for OperationName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::hash(self.0, state);
    }
}

impl PartialOrd for OperationName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OperationName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Debug for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once() {
        assert_eq!(OperationName::of("echo").unwrap(), OperationName::of("echo").unwrap());
        assert_ne!(OperationName::of("echo").unwrap(), OperationName::first());
        assert_eq!(OperationName::of("echo").unwrap().queue(), "echo-requests");
    }

    #[test]
    fn names_that_could_reach_another_key_are_refused() {
        for name in ["", "Echo", "a:b", "a b", "1st", "-a", "{a}", "é", &"x".repeat(41)] {
            assert_eq!(OperationName::of(name), Err(InvalidOperationName), "{name:?}");
        }
    }
}
