//! What callers are told of a request that has no result.

use roundtrip::http::problem::Problem;
use roundtrip::{CorrelationId, Fault};

/// Why a request has no result. Where an idempotency key stands for it, another call with the key will not change it.
pub(crate) fn of_fault(id: CorrelationId, fault: Fault, has_key: bool) -> Problem {
    let problem = Problem::from(fault).of(id);
    if has_key { problem.for_good() } else { problem }
}
