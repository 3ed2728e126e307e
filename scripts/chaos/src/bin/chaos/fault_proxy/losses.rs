//! Answers that get lost. A question is known by its bytes on their way to Redis, before the server has them: so it is
//! done, and whoever asked does not hear of it.

use serde::Serialize;
use tokio::sync::watch;

/// A kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Question {
    /// A worker settles what it has done, and some of it was asked by the requester of ours.
    Settlement,
    /// A requester reads its replies.
    Replies,
}

impl Question {
    /// What every question of the kind has in it, and no other. One that two chunks share is overlooked.
    fn marks(self) -> &'static [&'static [u8]] {
        match self {
            // A second reply is seen for sure where no ingress reads it.
            Self::Settlement => &[b"XACK", b"weather-responses:chaos-"],
            // Without XREADGROUP.
            Self::Replies => &[b"$5\r\nXREAD\r\n"],
        }
    }
}

/// Which answers are to get lost.
#[derive(Debug)]
pub(super) struct Losses(watch::Sender<Option<(Question, u32)>>);

impl Default for Losses {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Losses {
    /// Has the answers to so many questions lost; returns when they were asked.
    pub(super) async fn lose(&self, question: Question, times: u32) {
        self.0.send_replace((times > 0).then_some((question, times)));
        let mut left = self.0.subscribe();
        let _ = left.wait_for(Option::is_none).await;
    }

    /// Whether the answer to this chunk is one of them.
    pub(super) fn strike(&self, chunk: &[u8]) -> bool {
        let struck = |left: &mut Option<(Question, u32)>| {
            let Some((question, times)) = left else { return false };
            let has = |mark: &&[u8]| chunk.windows(mark.len()).any(|window| window == *mark);
            if !question.marks().iter().all(has) {
                return false;
            }
            *left = (*times > 1).then_some((*question, *times - 1));
            true
        };
        // Mostly there are none, and looking costs next to nothing.
        self.0.borrow().is_some() && self.0.send_if_modified(struck)
    }
}

#[cfg(test)]
mod tests {
    use roundtrip::ReplyTo;

    use super::*;
    use crate::wire;

    const READ: &[u8] = b"*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n";
    const CLAIM: &[u8] = b"*8\r\n$10\r\nXREADGROUP\r\n";

    #[tokio::test]
    async fn as_many_are_lost_as_were_asked_for_and_of_that_kind_alone() {
        let losses = Losses::default();
        let settlement = |requester: ReplyTo| {
            let reply = format!("$4\r\nXADD\r\n$9\r\nweather-responses:{}\r\n", requester.as_str());
            format!("*1\r\n$5\r\nMULTI\r\n*10\r\n{reply}*4\r\n$4\r\nXACK\r\n").into_bytes()
        };
        let (ours, theirs) = (
            settlement(ReplyTo::unique(wire::NAME)),
            settlement(ReplyTo::unique("host")),
        );
        assert!(!losses.strike(&ours));
        let strikes = async |chunks: [&[u8]; 6]| {
            tokio::task::yield_now().await;
            chunks.map(|chunk| losses.strike(chunk))
        };
        let chunks: [&[u8]; 6] = [CLAIM, &ours, READ, CLAIM, READ, READ];
        let ((), struck) = tokio::join!(losses.lose(Question::Replies, 2), strikes(chunks));
        assert_eq!(struck, [false, false, true, false, true, false]);
        let chunks: [&[u8]; 6] = [CLAIM, &theirs, READ, &ours, &ours, READ];
        let ((), struck) = tokio::join!(losses.lose(Question::Settlement, 1), strikes(chunks));
        assert_eq!(struck, [false, false, false, true, false, false]);
    }
}
