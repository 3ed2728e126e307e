//! When suspects have their turn: a few in a row, then something else; and not again soon where there was no room
//! for one, as all that time the free terminals wait with it.

use std::time::Duration;

use tokio::time::Instant;

/// The most turns in a row that go to suspects while something else may wait.
const IN_A_ROW: u32 = 8;

/// Claims go on for at least as long as a suspect waited for room, and each time for twice as long, up to this many
/// times doubled.
const MAX_DOUBLED: u32 = 3;

/// Whether suspects are known to wait, and how many of them had a turn since anything else had one.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    waiting: bool,
    in_a_row: u32,
    patient_until: Option<Instant>,
    not_before: Option<Instant>,
    postponed: u32,
}

impl Suspects {
    pub(crate) fn are_due(&self) -> bool {
        let may_again = self.not_before.is_none_or(|when| when <= Instant::now());
        self.waiting && self.in_a_row < IN_A_ROW && may_again
    }

    /// A scan has seen some, or none.
    pub(crate) fn seen(&mut self, any: bool) {
        self.waiting |= any;
    }

    /// How much longer the one whose turn it is waits for room, of `patience` in all.
    pub(crate) fn patience(&mut self, patience: Duration) -> Duration {
        let until = self.patient_until.get_or_insert_with(|| Instant::now() + patience);
        until.saturating_duration_since(Instant::now())
    }

    /// A turn for suspects has found one, or there was none any more.
    pub(crate) fn met(&mut self, one: bool) {
        *self = Self {
            waiting: one,
            in_a_row: self.in_a_row + 1,
            ..Self::default()
        };
    }

    /// There was no room in all of `patience`; a later scan will see them again.
    pub(crate) fn postpone(&mut self, patience: Duration) {
        *self = Self {
            not_before: Some(Instant::now() + patience * 2_u32.pow(self.postponed.min(MAX_DOUBLED))),
            postponed: self.postponed + 1,
            ..Self::default()
        };
    }

    pub(crate) fn others_had_a_turn(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(6);

    #[test]
    fn suspects_leave_every_ninth_turn_to_others() {
        let mut suspects = Suspects::default();
        assert!(!suspects.are_due());
        suspects.seen(true);
        for _ in 0..IN_A_ROW {
            assert!(suspects.are_due());
            suspects.met(true);
        }
        assert!(!suspects.are_due());
        suspects.others_had_a_turn();
        assert!(suspects.are_due());
        suspects.met(false);
        assert!(!suspects.are_due());
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_without_room_comes_back_later_and_later() {
        let mut suspects = Suspects::default();
        for doubled in [1, 2, 4, 8, 8, 8] {
            suspects.postpone(PATIENCE);
            suspects.seen(true);
            advance(PATIENCE * doubled - Duration::from_millis(1)).await;
            assert!(!suspects.are_due());
            advance(Duration::from_millis(1)).await;
            assert!(suspects.are_due());
        }
        suspects.met(true);
        suspects.postpone(PATIENCE);
        suspects.seen(true);
        advance(PATIENCE).await;
        assert!(suspects.are_due(), "from the beginning, once there was room");
    }

    #[tokio::test(start_paused = true)]
    async fn the_patience_of_one_turn_lasts_over_what_comes_in_between() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.patience(PATIENCE), PATIENCE);
        advance(PATIENCE / 2).await;
        assert_eq!(suspects.patience(PATIENCE), PATIENCE / 2);
        suspects.met(false);
        assert_eq!(suspects.patience(PATIENCE), PATIENCE);
    }
}
