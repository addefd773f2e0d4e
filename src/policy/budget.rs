//! Not making an outage worse by asking again.

use std::time::{Duration, Instant};

/// How many requests may be sent again to one destination.
///
/// Each delivery earns a fifth of a retry, and time earns ten a second whatever is delivered. So retries add at most a fifth
/// to the load of a destination that is in trouble but still up (reliability.md U2), and the trickle finds out that one is
/// back which delivers nothing. What is earned and not used is kept up to [`RetryBudget::CREDIT_MAX`]: a short disturbance may
/// be repaired at once, an hour of health does not buy a storm.
#[derive(Debug, Clone, Default)]
pub struct RetryBudget {
    /// In millionths of a retry; below zero when more was spent than there was.
    credit: i64,
    /// Up to when time has been paid; None before the first question.
    paid_to: Option<Instant>,
}

/// One retry.
const RETRY: i64 = 1_000_000;
/// What a delivery earns: a fifth, as Finagle and Envoy have it.
const DELIVERY_EARNS: i64 = RETRY / 5;

impl RetryBudget {
    /// Retries that a second earns, whatever is delivered.
    pub const PER_SECOND: u32 = 10;
    /// The most retries that are kept: five seconds' worth.
    pub const CREDIT_MAX: u32 = 5 * Self::PER_SECOND;

    /// Takes in a delivery.
    pub fn earn(&mut self) {
        self.add(DELIVERY_EARNS);
    }

    /// When a request may be sent again, asked at `now`; None: now. Asking costs nothing.
    pub fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        self.pay(now);
        let missing = u64::try_from(RETRY - self.credit).ok().filter(|missing| *missing > 0)?;
        Some(now + Duration::from_micros(missing.div_ceil(u64::from(Self::PER_SECOND))))
    }

    /// Takes in that a request is sent again at `now`, asked for or not.
    pub fn spend(&mut self, now: Instant) {
        self.pay(now);
        self.credit = self.credit.saturating_sub(RETRY);
    }

    /// Whole retries that may go at `now`.
    pub fn credit(&mut self, now: Instant) -> u32 {
        self.pay(now);
        u32::try_from(self.credit / RETRY).unwrap_or(0)
    }

    fn pay(&mut self, now: Instant) {
        match self.paid_to {
            // It begins with all that it may keep.
            None => self.credit = i64::from(Self::CREDIT_MAX) * RETRY,
            Some(paid_to) => {
                let micros = i64::try_from(now.saturating_duration_since(paid_to).as_micros()).unwrap_or(i64::MAX);
                self.add(micros.saturating_mul(i64::from(Self::PER_SECOND)));
            }
        }
        self.paid_to = self.paid_to.max(Some(now));
    }

    fn add(&mut self, earned: i64) {
        self.credit = self.credit.saturating_add(earned).min(i64::from(Self::CREDIT_MAX) * RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends whatever may be spent at `now`.
    fn spend_all(budget: &mut RetryBudget, now: Instant) -> u32 {
        let mut spent = 0;
        while budget.wait_until(now).is_none() {
            budget.spend(now);
            spent += 1;
        }
        spent
    }

    #[test]
    fn what_is_earned_is_a_fifth_of_the_deliveries_and_ten_a_second() {
        let start = Instant::now();
        let table = [(0, 1, 10), (10, 1, 12), (100, 1, 30), (100, 0, 20), (1_000, 1, 50), (0, 3_600, 50), (4, 0, 0)];
        for (deliveries, seconds, want) in table {
            let mut budget = RetryBudget::default();
            assert_eq!(spend_all(&mut budget, start), RetryBudget::CREDIT_MAX, "it begins with some");
            (0..deliveries).for_each(|_| budget.earn());
            assert_eq!(spend_all(&mut budget, start + Duration::from_secs(seconds)), want, "{deliveries} deliveries in {seconds} s");
        }
    }

    #[test]
    fn who_asks_too_early_hears_when_and_debts_are_paid_first() {
        let now = Instant::now();
        let mut budget = RetryBudget::default();
        spend_all(&mut budget, now);
        assert_eq!(budget.wait_until(now), Some(now + Duration::from_millis(100)));
        budget.spend(now);
        let until = now + Duration::from_millis(200);
        assert_eq!(budget.wait_until(now), Some(until));
        assert_eq!(budget.wait_until(until), None);
        // A clock that seems to go back earns nothing twice.
        budget.spend(until);
        assert!(budget.wait_until(now).is_some());
        assert_eq!(budget.wait_until(until + Duration::from_millis(100)), None);
    }

    #[test]
    fn a_storm_is_answered_with_a_fifth_more_and_no_storm_of_ours() {
        for failing_percent in [0_u32, 5, 15, 50, 100] {
            let (mut budget, start) = (RetryBudget::default(), Instant::now());
            let (mut waiting, mut sent, mut retries, mut delivered) = (0_u32, 0_u32, 0_u32, 0_u32);
            // A thousand first attempts a second for a minute; each millisecond one, and any retries that may go.
            for millisecond in 0..60_000_u32 {
                let now = start + Duration::from_millis(millisecond.into());
                let again = u32::from(waiting > 0 && budget.wait_until(now).is_none());
                for attempt in 0..=again {
                    if attempt == 1 {
                        budget.spend(now);
                        (retries, waiting) = (retries + 1, waiting - 1);
                    }
                    sent += 1;
                    if sent.wrapping_mul(2_654_435_761) % 100 < failing_percent {
                        waiting += 1;
                    } else {
                        delivered += 1;
                        budget.earn();
                    }
                }
            }
            let most = delivered / 5 + 60 * RetryBudget::PER_SECOND + RetryBudget::CREDIT_MAX;
            assert!(retries <= most, "{failing_percent} %: {retries} retries, {most} allowed");
            assert!(failing_percent > 15 || waiting < 10, "{failing_percent} %: what a fifth can repair is repaired, but {waiting} wait");
        }
    }
}
