//! Facts about reading replies.

use super::*;

/// Two ingress instances share workers, and never see each other's answers.
pub async fn replies_of_two_requesters_never_mix(harness: &impl Harness) {
    let (broker, me, left, right) = (harness.broker(), consumer(), requester(), requester());
    let mut left_replies = replies_of(broker.as_ref(), &left).await;
    let mut right_replies = replies_of(broker.as_ref(), &right).await;
    let mixed: Vec<_> = (0..20)
        .map(|n| request(if n % 2 == 0 { &left } else { &right }, &n.to_string()))
        .collect();
    broker.publish(&mixed).await.expect("publish");
    let settlements: Vec<_> = claim(broker.as_ref(), &me, 20).await.iter().map(echo).collect();
    broker.settle(&settlements).await.expect("settle");
    for (requester, replies) in [(&left, &mut left_replies), (&right, &mut right_replies)] {
        let received: Vec<_> = read(replies.as_mut(), 10).await.iter().map(|reply| reply.id).collect();
        let own = mixed.iter().filter(|request| request.reply_to == *requester);
        assert_eq!(received, own.map(|request| request.id).collect::<Vec<_>>());
    }
}

/// Nobody would read it, or remove it.
pub async fn a_reply_to_a_requester_that_is_gone_goes_nowhere(harness: &impl Harness) {
    let (broker, me, gone, there) = (harness.broker(), consumer(), requester(), requester());
    let mut replies = replies_of(broker.as_ref(), &gone).await;
    let mut others = replies_of(broker.as_ref(), &there).await;
    let batch = [request(&gone, "1"), request(&there, "2")];
    broker.publish(&batch).await.expect("publish");
    replies.close().await.expect("close");
    let settlements: Vec<_> = claim(broker.as_ref(), &me, 2).await.iter().map(echo).collect();
    broker.settle(&settlements).await.expect("settle");
    assert_eq!(read(others.as_mut(), 1).await.len(), 1);
    assert_eq!(depth(broker.as_ref()).await, Depth::default());
    let mut replies = replies_of(broker.as_ref(), &gone).await;
    assert!(replies.next().await.expect("read").is_empty());
}

/// A lost connection loses no reply and brings none twice to a reader that went on.
pub async fn replies_go_on_after_the_connection_broke(harness: &impl Harness) {
    let (broker, me, requester) = (harness.broker(), consumer(), requester());
    let mut replies = replies_of(broker.as_ref(), &requester).await;
    let sent = requests(&requester, 6);
    for half in sent.chunks(3) {
        publish_until_accepted(broker.as_ref(), half).await;
        let (mut deliveries, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        while deliveries.len() < 3 {
            assert!(Instant::now() < deadline, "{} of 3 are delivered", deliveries.len());
            deliveries.extend(broker.claim(&me, 3).await.unwrap_or_default());
        }
        let settlements: Vec<_> = deliveries.iter().map(echo).collect();
        broker.settle(&settlements).await.expect("settle");
        let received: Vec<_> = read(replies.as_mut(), 3).await.iter().map(|reply| reply.id).collect();
        assert_eq!(received, half.iter().map(|request| request.id).collect::<Vec<_>>());
        harness.cut().await;
    }
}

async fn publish_until_accepted(broker: &dyn Broker, requests: &[Request]) {
    while let Err(error) = broker.publish(requests).await {
        assert!(
            !error.may_have_applied(),
            "the connection was idle when it broke: nothing was sent on it"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

/// A reader without replies still notices that it should stop.
pub async fn reading_replies_without_any_ends_in_bounded_time(harness: &impl Harness) {
    let mut replies = harness.broker().replies(&requester());
    let read = timeout(PATIENCE, replies.next()).await;
    assert!(read.expect("it ends").expect("read").is_empty());
    replies.close().await.expect("close");
}
