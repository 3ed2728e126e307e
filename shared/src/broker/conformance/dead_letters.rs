//! Facts about dead letters.

use super::*;
use crate::broker::{LetterId, Position};

/// Publishes `count` requests and gives them up; returns them.
async fn give_up(harness: &impl Harness, requester: &ReplyTo, count: usize) -> Vec<Request> {
    let (broker, me) = (harness.broker(), consumer());
    let sent = requests(requester, count);
    broker.publish(&sent).await.expect("publish");
    for delivery in claim(broker.as_ref(), &me, count).await {
        let letter = Settlement {
            reply: None,
            keep: Keep::No,
            ..given_up(&delivery)
        };
        broker.settle(&[letter]).await.expect("settle");
    }
    sent
}

/// Gives a delivery up, and tells its requester.
pub(super) fn given_up(delivery: &Delivery) -> Settlement {
    let request = content(delivery);
    let fields = request.fields().into_iter().map(|(name, value)| (name.into(), value));
    let letter = DeadLetter {
        reason: "it never worked".to_owned(),
        attempts: 5,
        last_error: "the handler panicked".to_owned(),
        fields: fields.collect(),
    };
    let outcome = Err(Fault::new(FaultCode::DeadLettered, "it was set aside"));
    let reply = (
        request.reply_to.clone(),
        Reply::new(request.id, Origin::default(), outcome),
    );
    Settlement::dead_letter(delivery.receipt.clone(), letter, Some(reply)).keeping(request.keep)
}

/// A page follows from the last id of the one before.
pub async fn letters_are_listed_newest_first_in_pages(harness: &impl Harness) {
    let (requester, letters) = (requester(), harness.dead_letters());
    assert!(letters.letters(None, 10).await.expect("list").is_empty());
    let mut given_up: Vec<_> = Vec::new();
    for request in give_up(harness, &requester, 5).await {
        given_up.insert(0, request.data);
    }
    let mut listed = Vec::new();
    let mut before = None;
    for size in [2, 2, 1, 0] {
        let page = letters.letters(before, 2).await.expect("list");
        assert_eq!(page.len(), size);
        before = page.last().map(|letter| letter.id).or(before);
        listed.extend(page);
    }
    let before_all = letters
        .letters(Some(LetterId::of(Position::default())), 2)
        .await
        .expect("list");
    assert!(before_all.is_empty(), "nothing is older than the first id there can be");
    for (letter, data) in listed.iter().zip(given_up) {
        assert!(letter.replayable, "it holds a request");
        assert_eq!((letter.reason.as_str(), letter.attempts), ("it never worked", 5));
        assert_eq!(letter.last_error, "the handler panicked");
        // Ids of two streams: those of one millisecond are in no order, and a script's clock stands still.
        let accepted = letter.entry.expect("it was an entry");
        assert!(accepted.millis <= letter.id.at.millis + 100, "accepted, then given up");
        assert!(letter.fields.contains(&("data".into(), data)), "{letter:?}");
        assert_eq!(letters.letter(letter.id).await.expect("show").as_ref(), Some(letter));
    }
}

/// The correlation id stays, so that what is written elsewhere about the request stays true.
pub async fn a_replayed_letter_is_a_request_again(harness: &impl Harness) {
    let (broker, letters, me) = (harness.broker(), harness.dead_letters(), consumer());
    let sent = give_up(harness, &requester(), 1).await;
    let id = letters.letters(None, 1).await.expect("list")[0].id;
    sleep(IDLE).await;
    let replayed = Instant::now();
    let Replayed::As(entry) = letters.replay(id).await.expect("replay") else {
        panic!("it is there, and holds a request");
    };
    assert_eq!(
        letters.replay(id).await.expect("replay"),
        Replayed::Unknown,
        "not twice"
    );
    assert_eq!(broker.depth().await.expect("depth").dead_letters, 0);
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    assert_eq!((delivery.receipt.entry, delivery.attempt), (entry, 1));
    assert_eq!(content(&delivery), &sent[0]);
    let before = delivery.waited.saturating_sub(replayed.elapsed());
    assert!(before < IDLE / 2, "its budget starts anew");
}

/// It would only come back.
pub async fn a_letter_that_holds_no_request_is_not_replayed(harness: &impl Harness) {
    let (broker, letters, me) = (harness.broker(), harness.dead_letters(), consumer());
    harness.put_malformed().await;
    let delivery = claim(broker.as_ref(), &me, 1).await.remove(0);
    let malformed = delivery.content.expect_err("it is no request");
    let letter = DeadLetter {
        reason: malformed.reason,
        attempts: 1,
        last_error: String::new(),
        fields: malformed.fields,
    };
    let letter = Settlement::dead_letter(delivery.receipt, letter, None);
    broker.settle(&[letter]).await.expect("settle");
    let kept = letters.letters(None, 1).await.expect("list").remove(0);
    assert_eq!(kept.fields[0].0, "garbage");
    assert!(!kept.replayable);
    assert_eq!(letters.replay(kept.id).await.expect("replay"), Replayed::Malformed);
    assert!(
        letters.letter(kept.id).await.expect("show").is_some(),
        "it is still there"
    );
}

/// And only that one.
pub async fn a_discarded_letter_is_gone(harness: &impl Harness) {
    let letters = harness.dead_letters();
    give_up(harness, &requester(), 2).await;
    let id = letters.letters(None, 1).await.expect("list")[0].id;
    assert!(letters.discard(id).await.expect("discard"));
    assert!(!letters.discard(id).await.expect("discard"), "not twice");
    assert_eq!(letters.letter(id).await.expect("show"), None);
    assert_eq!(letters.letters(None, 10).await.expect("list").len(), 1);
}
