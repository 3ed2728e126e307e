//! Callers who hang up where that ends their work.

use std::time::Duration;

use tokio::time::sleep;

use super::stage::Stage;

#[tokio::test(start_paused = true)]
async fn who_hangs_up_is_told_of_and_whoever_may_ask_again_is_not() {
    for (headers, is_told) in [
        (&[][..], true),
        (&[("prefer", "wait=20")], true),
        // Another call may follow it.
        (&[("idempotency-key", "order-1")], false),
    ] {
        let (stage, mut hung_up) = Stage::told_of_hangups();
        let call = stage.call(headers).await;
        let delivery = stage.claim().await;
        call.abort();
        sleep(Duration::from_millis(100)).await;
        let told = hung_up.try_recv().ok().map(|(id, entry)| (Some(id), entry));
        let entry = delivery.receipt.entry;
        let expected = is_told.then(|| (delivery.content.ok().map(|request| request.id), Some(entry)));
        assert_eq!(told, expected, "{headers:?}");
    }
}
