//! Facts about settling.

use super::*;

/// Reply and removal are one step.
pub async fn settling_makes_the_reply_readable_and_removes_the_request(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    let sent = requests(&requester, 5);
    broker.publish(&sent).await.expect("publish");
    let settlements: Vec<_> = claim(broker.as_ref(), &me, 5).await.iter().map(echo).collect();
    broker.settle(&settlements).await.expect("settle");
    let received = read(replies.as_mut(), 5).await;
    let expected: Vec<_> = sent
        .iter()
        .map(|request| Reply::new(request.id, Origin::default(), Ok(request.data.clone())))
        .collect();
    assert_eq!(received, expected);
    assert_eq!(depth(broker.as_ref()).await, Depth::default());
}

/// Whoever does not know whether a settlement worked repeats it. The answer may be read twice, the
/// requester knows the request once; the store is as after the first.
pub async fn settling_again_changes_nothing(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    broker.publish(&requests(&requester, 3)).await.expect("publish");
    let deliveries = claim(broker.as_ref(), &me, 3).await;
    broker.settle(&[echo(&deliveries[0])]).await.expect("settle");
    let all: Vec<_> = deliveries.iter().map(echo).collect();
    broker.settle(&all).await.expect("settle again");
    broker.settle(&all).await.expect("and again");
    let ids: HashSet<_> = read(replies.as_mut(), 3).await.iter().map(|reply| reply.id).collect();
    let expected: HashSet<_> = deliveries.iter().map(|delivery| content(delivery).id).collect();
    assert_eq!(ids, expected);
    assert_eq!(depth(broker.as_ref()).await, Depth::default());
}

/// A worker that was frozen for longer than its lease sends no second answer.
pub async fn a_worker_that_lost_its_lease_settles_nothing(harness: &impl Harness) {
    let (broker, frozen, heir, requester) = (harness.broker(), consumer(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    broker.publish(&requests(&requester, 1)).await.expect("publish");
    let late = claim(broker.as_ref(), &frozen, 1).await;
    sleep(IDLE).await;
    let taken = reclaim(broker.as_ref(), &heir, IDLE, 1).await;
    broker
        .settle(&[echo(&late[0])])
        .await
        .expect("a late settlement is no error");
    assert_eq!(
        broker.depth().await.expect("depth").claimed,
        1,
        "the heir still holds it"
    );
    broker.settle(&[echo(&taken[0])]).await.expect("settle");
    // The late one's reply would be before it.
    let mut all = read(replies.as_mut(), 1).await;
    all.extend(replies.next().await.expect("read"));
    assert_eq!(all.len(), 1, "{all:?}");
}

/// A fault is an answer too.
pub async fn a_fault_reaches_its_requester(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    broker.publish(&requests(&requester, 1)).await.expect("publish");
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    let reply = Reply::new(
        content(&delivery).id,
        Origin::default(),
        Err(Fault::new(FaultCode::UpstreamUnavailable, "närby \"quoted\"").retry_after(Duration::from_secs(2))),
    );
    broker
        .settle(&[Settlement::reply(
            delivery.receipt.clone(),
            requester.clone(),
            reply.clone(),
        )])
        .await
        .expect("settle");
    assert_eq!(read(replies.as_mut(), 1).await, [reply]);
}

/// What is given up is kept, and nobody waits for it in vain.
pub async fn a_dead_letter_is_kept_and_its_requester_told(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    broker.publish(&requests(&requester, 1)).await.expect("publish");
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    let reply = Reply::new(
        content(&delivery).id,
        Origin::default(),
        Err(Fault::new(FaultCode::DeadLettered, "given up")),
    );
    let letter = DeadLetter {
        reason: "it never worked".to_owned(),
        attempts: 5,
        last_error: String::new(),
        fields: vec![("data".into(), content(&delivery).data.clone())],
    };
    let told = Some((requester.clone(), reply.clone()));
    broker
        .settle(&[Settlement::dead_letter(delivery.receipt.clone(), letter, told)])
        .await
        .expect("settle");
    let told = read(replies.as_mut(), 1).await.remove(0);
    let kept = harness.dead_letters().letters(None, 10).await.expect("list");
    let fault = Fault {
        dead_letter: Some(kept[0].id.to_string()),
        ..reply.outcome.expect_err("it is a fault")
    };
    assert_eq!((told.id, told.outcome), (reply.id, Err(fault)), "it names the letter");
    let depth = broker.depth().await.expect("depth");
    assert_eq!((depth.dead_letters, depth.waiting, depth.claimed), (1, 0, 0));
}
