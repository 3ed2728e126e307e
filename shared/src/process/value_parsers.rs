//! Configuration values as people write them. Each parser's error says what is accepted.

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

/// A whole number within bounds, as a parser of values.
pub fn whole<N>(accepted: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.trim().parse().ok().filter(|number| accepted.contains(number));
        let (least, most) = (accepted.start(), accepted.end());
        number.ok_or_else(|| format!("a whole number from {least} to {most} is expected"))
    }
}

/// An address to listen on: an IP address, or a name of this machine, and a port.
///
/// # Errors
/// Says what is accepted.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let expected =
        "an address with a port is expected, such as 127.0.0.1:5009, localhost:5009, 0.0.0.0:5009 or [::]:5009";
    let found = text.trim().to_socket_addrs().map_err(|_| expected)?;
    let found: Vec<_> = found.collect();
    // Of a name with both, what most clients try.
    let chosen = found.iter().find(|address| address.is_ipv4()).or(found.first());
    chosen.copied().ok_or_else(|| expected.to_owned())
}

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
    fn an_address_may_be_a_name_and_has_a_port() {
        assert_eq!(address("localhost:5019").unwrap(), "127.0.0.1:5019".parse().unwrap());
        assert_eq!(address("[::1]:80").unwrap(), "[::1]:80".parse().unwrap());
        for text in ["", "5010", "localhost", ":", "1.2.3.4:99999", "no such host:1"] {
            assert!(
                address(text).unwrap_err().contains("such as 127.0.0.1:5009"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn whole_numbers_have_bounds() {
        let parse = whole(1..=64_u32);
        assert_eq!((parse("1"), parse(" 64 ")), (Ok(1), Ok(64)));
        for text in ["0", "65", "-1", "1.5", "lots", ""] {
            assert_eq!(parse(text).unwrap_err(), "a whole number from 1 to 64 is expected");
        }
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
