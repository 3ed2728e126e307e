//! What is accepted, and how the rest is refused.

use roundtrip::process::command_line;
use rstest::rstest;

use super::*;

#[test]
fn memory_promises_no_durability() {
    for (tier, accepted) in [("volatile", true), ("aof", false), ("replicated", false)] {
        let config = Config::parse_from(["ingress-service", "--durability", tier]);
        assert_eq!(config.check().is_ok(), accepted, "{tier}");
    }
}

#[test]
fn the_largest_body_fits_into_the_memory_for_bodies() {
    for (each, all, accepted) in [("1MiB", "1MiB", true), ("64MiB", "1GiB", true), ("2MiB", "1MiB", false)] {
        let config = Config::parse_from(["ingress-service", "--max-body", each, "--max-body-memory", all]);
        let checked = config.check();
        assert_eq!(checked.is_ok(), accepted, "{checked:?}");
        assert!(accepted || checked.unwrap_err().contains("MAX_BODY_MEMORY"));
    }
}

#[rstest]
#[case("--broker-url", "http://localhost", "accepted are memory://, redis://")]
#[case("--broker-url", "redis://", "accepted are memory://, redis://")]
#[case("--request-timeout", "0s", "above zero")]
#[case("--request-timeout", "48h", "at most a day")]
#[case("--max-in-flight", "0", "a whole number from 1 to 1000000")]
#[case("--max-followers", "0", "a whole number from 1 to 1000000")]
#[case("--max-event-streams", "1000001", "a whole number from 1 to 1000000")]
#[case("--durability", "forever", "volatile, aof, replicated is expected")]
#[case("--durability-replicas", "0", "from 1 to 16")]
#[case("--max-queue-age", "0s", "above zero")]
#[case("--max-body", "none", "such as 1MiB")]
#[case("--max-memory-share", "1.5", "at most 1")]
#[case("--job-share", "0", "at most 1")]
#[case("--job-share", "1.01", "at most 1")]
#[case("--job-share", "NaN", "at most 1")]
#[case("--job-share", "half", "such as 0.5")]
#[case("--max-queued-jobs", "0", "a whole number from 1 to 1000000")]
#[case("--max-queued-job-bytes", "0", "from 1B to 1TiB")]
#[case("--max-body-memory", "0", "from 1B to 64GiB")]
#[case("--max-body-memory", "1TiB", "from 1B to 64GiB")]
#[case("--result-ttl", "0s", "above zero")]
#[case("--result-ttl", "10ms", "from 1s to a year")]
#[case("--idempotency-ttl", "0s", "above zero")]
#[case("--max-result", "0", "from 1B to 64MiB")]
#[case("--memory-limit", "64KiB", "from 1MiB to 1TiB")]
#[case("--memory-limit", "2TiB", "from 1MiB to 1TiB")]
#[case("--memory-limit", "lots", "from 1MiB to 1TiB")]
#[case("--job-timeout", "25h", "at most a day")]
#[case("--on-disconnect", "hope", "finish, cancel is expected")]
#[case("--drain-timeout", "25", "such as 30s")]
#[case("--idle-timeout", "0s", "from 1s to 24h")]
#[case("--idle-timeout", "25h", "from 1s to 24h")]
#[case("--max-connections", "0", "a whole number from 1 to 1000000")]
fn a_bad_value_is_refused_by_name(#[case] flag: &str, #[case] value: &str, #[case] accepted: &str) {
    let arguments = ["ingress-service", flag, value].map(Into::into);
    let error = command_line::parse::<Config>(&arguments).unwrap_err().to_string();
    for part in [flag, value, accepted] {
        assert!(error.contains(part), "{part:?} is missing in:\n{error}");
    }
}
