//! Names: of requests, of those who wait, of those whose they are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use crate::operation::OperationName;

/// Names one request and ties its reply to it. Always made by us, never by a caller, so that nobody can
/// guess or repeat one: a UUID version 7 ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(Uuid);

impl CorrelationId {
    /// A new id, unique and ordered by time.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// A new id that names a part of the store in its last ten bits, so that whoever asks for its request needs no
    /// look-up. 64 bits of it stay chance.
    #[must_use]
    pub fn in_partition(partition: Partition) -> Self {
        let id = Uuid::now_v7().as_u128();
        Self(Uuid::from_u128(
            id & !u128::from(Partition::MAX) | u128::from(partition.0),
        ))
    }

    /// The part of the store that it names, where there are several: to be taken modulo their number. In a store of one
    /// part ids name nothing.
    #[must_use]
    pub fn partition(self) -> Partition {
        Partition((self.0.as_u128() as u16) & Partition::MAX)
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Reads an id from the text of a stream field; `None` unless it is a UUID with hyphens, in lower case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id = Uuid::try_parse_ascii(text).ok()?;
        // One spelling only: a reply carries ours, and its requester compares texts.
        let mut ours = [0; uuid::fmt::Hyphenated::LENGTH];
        (id.as_hyphenated().encode_lower(&mut ours).as_bytes() == text).then_some(Self(id))
    }
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Uuid> for CorrelationId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// A part of a queue and its results, where these are shared out to several servers. As text nothing for the first one,
/// and `-3` for the fourth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Partition(u16);

impl Partition {
    /// The part of a store that has no others.
    pub const ONLY: Self = Self(0);

    /// The highest number of a part.
    pub const MAX: u16 = 1023;

    /// The part of this number; `None` where it is more than [`Partition::MAX`].
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number <= Self::MAX).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Reads what stands behind an id. One spelling only.
    #[must_use]
    pub fn parse_suffix(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::ONLY);
        }
        let number = std::str::from_utf8(text).ok()?.strip_prefix('-')?;
        let part = Self::new(number.parse().ok()?)?;
        (part.to_string().as_bytes() == text).then_some(part)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            number => write!(f, "-{number}"),
        }
    }
}

/// Where a requester reads its replies: the name of its instance, from which each backend derives the
/// place. 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplyTo(Arc<str>);

/// The longest name, in characters.
const MAX_NAME: usize = 64;

impl ReplyTo {
    /// A name no other instance has: the prefix, a dash and a UUID's worth of randomness.
    #[must_use]
    pub fn unique(prefix: &str) -> Self {
        let prefix: String = prefix
            .chars()
            .filter(|c| is_name_character(*c))
            .take(MAX_NAME - 33)
            .collect();
        Self(format!("{prefix}-{}", Uuid::new_v4().simple()).into())
    }

    /// The instance's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no instance name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidReplyTo;

impl fmt::Display for InvalidReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an instance name has 1 to {MAX_NAME} characters of A-Z a-z 0-9 . _ -"
        )
    }
}

impl std::error::Error for InvalidReplyTo {}

impl FromStr for ReplyTo {
    type Err = InvalidReplyTo;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        is_name(name).then(|| Self(name.into())).ok_or(InvalidReplyTo)
    }
}

impl fmt::Display for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_name_character)
}

/// Whose requests these are. What a caller can ask for, list or end is its own tenant's; all callers are one tenant
/// where nothing tells them apart. As text 1 to 64 characters of `A-Z a-z 0-9 . _ -`; the default tenant has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    /// The name; `None` for the default tenant.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// A text that is no tenant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTenant;

impl fmt::Display for InvalidTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tenant's name has 1 to {MAX_NAME} characters of A-Z a-z 0-9 . _ -")
    }
}

impl std::error::Error for InvalidTenant {}

impl FromStr for Tenant {
    type Err = InvalidTenant;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        is_name(name).then(|| Self(Some(name.into()))).ok_or(InvalidTenant)
    }
}

/// What a request is of: an operation, and a tenant. Its entry, its reply, its record and its letter say so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// What was asked for.
    pub operation: OperationName,
    /// Whose it is.
    pub tenant: Tenant,
}

impl Origin {
    /// An operation's, of the default tenant.
    #[must_use]
    pub fn of(operation: OperationName) -> Self {
        let tenant = Tenant::default();
        Self { operation, tenant }
    }
}

impl Default for Origin {
    /// Of what says nothing: the first operation's, and the default tenant's.
    fn default() -> Self {
        Self::of(OperationName::first())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_name_is_a_valid_name_whatever_the_host_is_called() {
        for host in ["web-1", "", "höst name/with:odd*bytes", &"x".repeat(300)] {
            let name = ReplyTo::unique(host);
            assert_eq!(name.as_str().parse::<ReplyTo>().unwrap(), name);
        }
    }

    #[test]
    fn names_that_could_reach_another_key_are_refused() {
        for name in ["", "a:b", "a b", "a\n", "{a}", &"x".repeat(65)] {
            assert_eq!(name.parse::<ReplyTo>(), Err(InvalidReplyTo), "{name:?}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = CorrelationId::new();
        let text = id.to_string();
        assert_eq!(CorrelationId::parse(text.as_bytes()), Some(id));
        for other in [
            text.to_uppercase(),
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("urn:uuid:{text}"),
        ] {
            assert_eq!(CorrelationId::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_id_carries_its_partition_and_stays_in_order() {
        for number in [0, 1, 700, Partition::MAX] {
            let partition = Partition::new(number).unwrap();
            let ids: Vec<_> = (0..100).map(|_| CorrelationId::in_partition(partition)).collect();
            assert!(ids.iter().all(|id| id.partition() == partition), "{number}");
            assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
            assert_eq!(ids[0].as_uuid().get_version_num(), 7);
        }
        assert_eq!(Partition::new(Partition::MAX + 1), None);
    }
}
