//! Ten refusals in a row for one reason are no longer about the events.

/// How many requests in a row a destination refused for good, for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streak {
    reason: String,
    count: u32,
}

/// What a streak of refusals says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreakState {
    /// Some events are bad.
    Bearable,
    /// Something else is wrong, and quarantine would swallow the whole lane.
    Suspicious,
}

impl Streak {
    /// The refusals in a row for one reason that stop a lane (design: "park").
    pub const REFUSALS_MAX: u32 = 10;

    /// Takes in a refusal.
    pub fn refuse(&mut self, reason: &str) -> StreakState {
        if self.reason == reason {
            self.count += 1;
        } else {
            reason.clone_into(&mut self.reason);
            self.count = 1;
        }
        if self.count >= Self::REFUSALS_MAX { StreakState::Suspicious } else { StreakState::Bearable }
    }

    /// Takes in a delivery: the destination does take events of this lane.
    pub const fn deliver(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_in_a_row_for_one_reason_are_suspicious() {
        let mut streak = Streak::default();
        for _ in 0..9 {
            assert_eq!(streak.refuse("invalid json"), StreakState::Bearable);
        }
        assert_eq!(streak.clone().refuse("another reason"), StreakState::Bearable);
        assert_eq!(streak.refuse("invalid json"), StreakState::Suspicious);
        streak.deliver();
        assert_eq!(streak.refuse("invalid json"), StreakState::Bearable);
    }
}
