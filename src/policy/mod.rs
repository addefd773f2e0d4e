//! How delivery behaves toward a destination: how long to wait, when to stop asking, what an answer means, how fast to go.
//!
//! Pure: time and randomness are arguments, so every rule has a table test. It never sends, sleeps or logs.

mod backoff;
mod breaker;
mod budget;
mod pacer;
mod ramp;
mod retry_after;
mod streak;
mod verdict;

pub use backoff::Backoff;
pub use breaker::{Admission, Breaker, BreakerState, Sign, Turn};
pub use budget::RetryBudget;
pub use pacer::Pacer;
pub use ramp::Ramp;
pub use retry_after::RetryAfter;
pub use streak::{Streak, StreakState};
pub use verdict::{Outcome, Verdict, judge};
