//! What a server's refusals mean, and which of them end the connection. See `scripted.rs` for how answers are written.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use super::answers_tests::{TIME, acceptance, consumer, entry, request, settlement};
use super::scripted::Scripted;
use crate::broker::conformance::{FirstQueue as _, FirstRecords as _};
use crate::broker::{Broker, BrokerErrorKind, Durability, ResultStore, Status};

/// Each says that another server is to be asked, or this one later and by a new connection.
const ELSEWHERE: [&str; 6] = [
    "-MOVED~866~127.0.0.1:7001",
    "-ASK~866~127.0.0.1:7001",
    "-CLUSTERDOWN~The~cluster~is~down",
    "-TRYAGAIN~Multiple~keys~request~during~rehashing~of~slot",
    "-READONLY~You~can't~write~against~a~read~only~replica.",
    "-UNBLOCKED~force~unblock~from~blocking~operation,~instance~state~changed~(master~->~replica?)",
];

#[tokio::test]
async fn who_is_sent_elsewhere_connects_again_before_the_next_try() {
    for error in ELSEWHERE {
        let server = Scripted::start().await;
        let broker = server.broker(Durability::Volatile);
        let me = consumer();

        server.answer(&format!(":0 | {error}"));
        let refused = broker.publish(&[request()]).await.unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Unavailable, "publish: {error}");
        server.answer(":0 | $1-0");
        assert_eq!(
            broker.publish(&[request()]).await.unwrap(),
            [entry()],
            "publish: {error}"
        );
        assert_eq!(server.connections(), 2, "publish: {error}");

        server.answer(&format!("{error} | {TIME}"));
        let refused = broker.claim(&me, 1).await.unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Unavailable, "claim: {error}");
        server.answer(&format!("_ | {TIME}"));
        assert_eq!(broker.claim(&me, 1).await.unwrap().len(), 0, "claim: {error}");
        assert_eq!(server.connections(), 4, "claim: {error}");

        server.answer(error);
        let refused = broker.ping().await.unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Unavailable, "ping: {error}");
        server.answer("+PONG");
        broker.ping().await.unwrap();
        assert_eq!(server.connections(), 6, "ping: {error}");
    }
}

#[tokio::test]
async fn a_settlement_that_is_sent_elsewhere_is_tried_again_on_a_new_connection() {
    for error in ELSEWHERE {
        let server = Scripted::start().await;
        let broker = server.broker(Durability::Volatile);
        let settlement = [settlement()];
        server.answer(&format!(
            "+OK | {error} | {error} | {error} | -EXECABORT~Transaction~discarded"
        ));
        let refused = broker.settle(&settlement).await.unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Unavailable, "{error}");
        server.answer("+OK | +QUEUED | +QUEUED | +QUEUED | *3 $1-0 :1 :1");
        broker.settle(&settlement).await.unwrap();
        assert_eq!(server.connections(), 2, "{error}");
    }
}

#[tokio::test]
async fn of_a_transaction_the_first_error_counts() {
    const ABORTED: &str = "-EXECABORT~Transaction~discarded~because~of~previous~errors.";
    for (error, kind) in [
        ("-OOM~command~not~allowed", BrokerErrorKind::Full),
        ("-NOPERM~no~permissions", BrokerErrorKind::Rejected),
        ("-MOVED~866~127.0.0.1:7001", BrokerErrorKind::Unavailable),
        ("-LOADING~in~memory", BrokerErrorKind::Loading),
        // Nothing else says why.
        ("+QUEUED", BrokerErrorKind::Unavailable),
    ] {
        let server = Scripted::start().await;
        let broker = server.broker(Durability::Volatile);
        let another = if error == "+QUEUED" { error } else { "-ERR~another" };
        server.answer(&format!(":0 | +OK | {error} | {another} | {ABORTED}"));
        let refused = broker.publish(&[request(), request()]).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "publish: {error}");
        if another == error {
            // The library drops what EXEC itself says.
            continue;
        }
        server.answer(&format!("+OK | {error} | {ABORTED}"));
        let refused = broker.list_records(Some(Status::Queued), None, 1).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "list: {error}");
    }
}

#[tokio::test]
async fn any_error_of_wait_leaves_the_outcome_open() {
    for error in ELSEWHERE
        .into_iter()
        .chain(["-ERR~unknown~command", "-NOPERM~wait", "-OOM~no"])
    {
        let server = Scripted::start().await;
        let broker = server.broker(Durability::Replicated(NonZeroU32::MIN));
        server.answer(&format!(":0 | $1-0 | {error}"));
        let refused = broker.publish(&[request()]).await.unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Unconfirmed, "publish: {error}");
        server.answer(&format!(":0 | *2 $as $1-0 | {error}"));
        let refused = broker.submit(&[acceptance()]).await.unwrap().remove(0).unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Unconfirmed, "submit: {error}");
    }
}
