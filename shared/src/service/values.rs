//! Configuration values as people write them. Each parser's error says what is accepted.

use std::time::Duration;

use bytesize::ByteSize;

/// A duration such as `30s`, `250ms` or `1m 30s`.
///
/// # Errors
/// Says what is accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "a duration such as 30s, 250ms or 2m is expected".to_owned())
}

/// A duration above zero.
///
/// # Errors
/// Says what is accepted.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a duration above zero is expected, such as 30s, 250ms or 2m".to_owned()),
        positive => Ok(positive),
    }
}

/// A size in bytes such as `1MiB`, `64KiB` or `500000`; 1 byte to 64 MiB.
///
/// # Errors
/// Says what is accepted.
pub fn size(text: &str) -> Result<usize, String> {
    size_up_to(ByteSize::mib(64), text)
        .ok_or_else(|| "a size from 1B to 64MiB is expected, such as 1MiB or 64KiB".to_owned())
}

/// An amount of memory such as `64MiB` or `1GiB`; 1 byte to 64 GiB.
///
/// # Errors
/// Says what is accepted.
pub fn memory(text: &str) -> Result<usize, String> {
    size_up_to(ByteSize::gib(64), text)
        .ok_or_else(|| "a size from 1B to 64GiB is expected, such as 64MiB or 1GiB".to_owned())
}

fn size_up_to(most: ByteSize, text: &str) -> Option<usize> {
    let size = text.trim().parse::<ByteSize>().ok()?;
    (1..=most.0).contains(&size.0).then_some(size.0 as usize)
}

/// A size of something that holds many others, such as `64MiB` or `2GiB`; 1 byte to 1 TiB.
///
/// # Errors
/// Says what is accepted.
pub fn volume(text: &str) -> Result<u64, String> {
    const MAX: u64 = 1 << 40;
    match text.trim().parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if (1..=MAX).contains(&bytes) => Ok(bytes),
        _ => Err("a size from 1B to 1TiB is expected, such as 64MiB or 2GiB".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        assert_eq!(duration("1m 30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("0ms").unwrap(), Duration::ZERO);
        assert_eq!(size("1MiB").unwrap(), 1 << 20);
        assert_eq!(size("1500").unwrap(), 1500);
        assert_eq!(memory("64GiB").unwrap(), 64 << 30);
    }

    #[test]
    fn errors_say_what_is_accepted() {
        for text in ["", "30", "-1s", "soon"] {
            assert!(duration(text).unwrap_err().contains("such as 30s"), "{text:?}");
        }
        assert!(positive_duration("0s").unwrap_err().contains("above zero"));
        for text in ["", "0", "-1", "2TiB", "big"] {
            assert!(volume(text).unwrap_err().contains("such as 64MiB"), "{text:?}");
        }
        assert_eq!(volume("1TiB").unwrap(), 1 << 40);
        for text in ["", "0", "-1", "1TiB", "big"] {
            assert!(size(text).unwrap_err().contains("such as 1MiB"), "{text:?}");
            assert!(memory(text).unwrap_err().contains("such as 64MiB"), "{text:?}");
        }
    }
}
