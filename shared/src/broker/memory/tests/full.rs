//! What finds no room is refused, and changes nothing.

use super::*;

/// Its record is to hold a result again, which takes more than the fault it holds.
#[tokio::test(start_paused = true)]
async fn a_letter_is_replayed_only_where_its_record_has_room_for_a_result() {
    let (broker, me, gone) = (broker(MIB), Consumer::unique("test"), ReplyTo::unique("gone"));
    for _ in 0..2 {
        let (id, _) = accept(&broker, None).await.unwrap();
        let receipt = broker
            .store
            .lock()
            .line(OperationName::first())
            .claim(&me, 1)
            .remove(0)
            .receipt;
        let outcome = Err(Fault::new(FaultCode::DeadLettered, ""));
        let reply = (gone.clone(), Reply::new(id, Origin::default(), outcome));
        let settlement = Settlement::dead_letter(receipt, letter(10), Some(reply)).keeping(Keep::Only);
        broker.settle(&[settlement]).await.unwrap();
    }
    let mut others = Vec::new();
    while let Ok((id, _)) = accept(&broker, None).await {
        others.push(id);
    }
    let letters = broker.letters(None, 10).await.unwrap();
    let error = broker.replay(letters[0].id).await.expect_err("there is no room");
    assert_eq!(error.kind(), BrokerErrorKind::Full);
    assert_eq!(broker.letters(None, 10).await.unwrap(), letters, "nothing was changed");
    end(&broker, others[0], 10).await;
    assert!(matches!(broker.replay(letters[0].id).await.unwrap(), Replayed::As(_)));
}

/// Whoever stores a result tells others where it is.
#[tokio::test(start_paused = true)]
async fn a_result_that_finds_no_room_is_not_said_to_be_stored() {
    let broker = broker(MIB);
    let reply = |id| Reply::new(id, Origin::default(), Err(Fault::new(FaultCode::Expired, "late")));
    let (known, _) = accept(&broker, None).await.unwrap();
    while accept(&broker, None).await.is_ok() {}
    let unknown = CorrelationId::new();
    let error = broker.store(&[reply(unknown), reply(known)]).await.expect_err("full");
    assert_eq!(
        (error.kind(), find(&broker, unknown).await),
        (BrokerErrorKind::Full, None)
    );
    assert_eq!(
        find(&broker, known).await.unwrap().status,
        Status::Expired,
        "each for itself"
    );
    broker.store(&[reply(known)]).await.unwrap();
}
