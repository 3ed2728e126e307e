//! The hot path in cases: what one request costs beside the sockets. The rule: inputs are fixed, so that a
//! case does the same work, instruction by instruction, each time.

use std::str::FromStr;

use bytes::Bytes;
use ingress_service::bench::PendingTable;
use mimalloc::MiMalloc;
use proxy_service::operations::weather::query::WeatherQuery;
use roundtrip::broker::Settlement;
use roundtrip::broker::redis::bench::Bench;
use roundtrip::{Budget, CorrelationId, Keep, Origin, Reply, ReplyTo, Request};
use uuid::Uuid;

/// The allocator of the services: what it costs is part of what is measured.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A full batch of what the workers hold by default.
const BATCH: u128 = 64;

/// How many requests wait in the table while one more passes through it.
const WAITING: u128 = 512;

/// About 200 bytes, as a caller sends them.
const QUESTION: &[u8] = br#"{"city":"New York","location":"the corner of Broadway and Wall Street, in front of Trinity Church, at the gate of the yard where Alexander Hamilton is buried, Lower Manhattan, north side"}"#;

/// About 200 bytes, as a worker answers.
const ANSWER: &[u8] = br#"{"city":"New York","location":"Downtown","requestId":"018bcfe5-6800-7000-8000-000000000001","forecastTime":"2023-11-14T22:13:20Z","temperature":11.4,"condition":"Partly cloudy","humidity":63,"windSpeed":4.2}"#;

/// Work that can be repeated as often as one likes.
pub struct Case {
    /// How it is called in the baseline.
    pub name: &'static str,
    round: Box<dyn FnMut() -> usize>,
}

impl Case {
    /// Does the work once; returns how much was done, in bytes or in items.
    pub fn run(&mut self) -> usize {
        (self.round)()
    }
}

/// All cases, each with its inputs.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        encode_requests("encode_requests_1", 1),
        encode_requests("encode_requests_64", BATCH),
        decode_claim("decode_claim_1", 1),
        decode_claim("decode_claim_64", BATCH),
        encode_settlement("encode_settlement_1", 1),
        encode_settlement("encode_settlement_64", BATCH),
        decode_replies("decode_replies_64", BATCH),
        pending_round("pending_round"),
        weather_query("weather_query"),
    ]
}

fn encode_requests(name: &'static str, count: u128) -> Case {
    let (bench, requests) = (Bench::new(&reply_to()), requests(count));
    case(name, move || bench.encode_requests(&requests))
}

fn decode_claim(name: &'static str, count: u128) -> Case {
    let bench = Bench::new(&reply_to());
    let answer = bench.claim_answer(&requests(count));
    case(name, move || {
        let deliveries = bench.decode_claim(answer.clone());
        deliveries.iter().filter(|delivery| delivery.content.is_ok()).count()
    })
}

fn encode_settlement(name: &'static str, count: u128) -> Case {
    let bench = Bench::new(&reply_to());
    let deliveries = bench.decode_claim(bench.claim_answer(&requests(count)));
    let settlements: Vec<_> = deliveries
        .into_iter()
        .zip(replies(count))
        .map(|(delivery, reply)| Settlement::reply(delivery.receipt, reply_to(), reply))
        .collect();
    case(name, move || bench.encode_settlement(&settlements))
}

fn decode_replies(name: &'static str, count: u128) -> Case {
    let mut bench = Bench::new(&reply_to());
    let answer = bench.replies_answer(&reply_to(), &replies(count));
    case(name, move || bench.decode_replies(answer.clone()).len())
}

fn pending_round(name: &'static str) -> Case {
    let waiting: Vec<_> = (0..WAITING).map(id).collect();
    let table = PendingTable::with_waiting(&waiting);
    let mut next = (WAITING..2 * WAITING).cycle();
    case(name, move || {
        let passing = id(next.next().unwrap_or(WAITING));
        table
            .round(passing, Bytes::from_static(ANSWER))
            .map_or(0, |reply| reply.len())
    })
}

fn weather_query(name: &'static str) -> Case {
    case(name, || {
        WeatherQuery::for_now(QUESTION).map_or(0, |query| query.to_json().len())
    })
}

fn case(name: &'static str, round: impl FnMut() -> usize + 'static) -> Case {
    Case {
        name,
        round: Box::new(round),
    }
}

fn requests(count: u128) -> Vec<Request> {
    let request = |n| Request {
        id: id(n),
        origin: Origin::default(),
        reply_to: reply_to(),
        budget: Budget::new(std::time::Duration::from_secs(30)),
        traceparent: None,
        keep: Keep::No,
        data: Bytes::from_static(QUESTION),
    };
    (0..count).map(request).collect()
}

fn replies(count: u128) -> Vec<Reply> {
    let reply = |n| Reply::new(id(n), Origin::default(), Ok(Bytes::from_static(ANSWER)));
    (0..count).map(reply).collect()
}

fn reply_to() -> ReplyTo {
    ReplyTo::from_str("ingress-1-0123456789abcdef0123456789abcdef").expect("the name is well formed")
}

/// The nth of a fixed row of ids. The numbers stand where real ids are random: in the last bytes.
fn id(n: u128) -> CorrelationId {
    const FIRST: u128 = 0x018b_cfe5_6800_7000_8000_0000_0000_0000;
    Uuid::from_u128(FIRST + n).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_its_work_each_time() {
        for mut case in cases() {
            let done = match case.name {
                "decode_claim_1" => 1,
                "decode_claim_64" | "decode_replies_64" => 64,
                "pending_round" => ANSWER.len(),
                "weather_query" => QUESTION.len(),
                _ => case.run(),
            };
            assert!(done > 0, "{}", case.name);
            for _ in 0..3 {
                assert_eq!(case.run(), done, "{}", case.name);
            }
        }
    }

    #[test]
    fn a_batch_has_the_bytes_of_all_its_messages() {
        let bytes = |name: &str| cases().iter_mut().find(|case| case.name == name).map(Case::run);
        for name in ["encode_requests", "encode_settlement"] {
            let (one, all) = (bytes(&format!("{name}_1")), bytes(&format!("{name}_64")));
            assert!(
                one.zip(all).is_some_and(|(one, all)| all > 32 * one && one > 200),
                "{name}"
            );
        }
    }
}
