//! The `Retry-After` header.

use std::time::Duration;

use crate::model::WallTime;

/// How long a destination asked to be left alone: as long as it said, but from 1 second to 15 minutes (reliability.md U1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryAfter(Duration);

impl RetryAfter {
    /// The shortest wait.
    pub const MIN: Duration = Duration::from_secs(1);
    /// The longest wait.
    pub const MAX: Duration = Duration::from_mins(15);

    /// Reads the header's value, seconds or a date, that was received at `now`. A date in the past is the shortest wait.
    /// None for anything else, a negative number included: then our own backoff decides.
    #[must_use]
    pub fn parse(header: &str, now: WallTime) -> Option<Self> {
        let text = header.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More digits than a u64 holds are still a number, and a long wait.
            return Some(Self::clamped(Duration::from_secs(text.parse().unwrap_or(u64::MAX))));
        }
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        let wait_ms = WallTime::from_millis(date.as_millisecond()).millis_since(now);
        Some(Self::clamped(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))))
    }

    /// The wait.
    #[must_use]
    pub const fn wait(self) -> Duration {
        self.0
    }

    fn clamped(asked: Duration) -> Self {
        Self(asked.clamp(Self::MIN, Self::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read_and_clamped() {
        let now = WallTime::parse("1994-11-06T08:49:30Z").unwrap();
        let table = [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", Some(1)),
            ("900", Some(900)),
            ("901", Some(900)),
            ("1000000000", Some(900)),
            ("99999999999999999999999999", Some(900)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(1)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(900)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, want_s) in table {
            assert_eq!(RetryAfter::parse(text, now).map(|r| r.wait().as_secs()), want_s, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_within_the_bounds(text in ".{0,40}", now: i64) {
            if let Some(asked) = RetryAfter::parse(&text, WallTime::from_millis(now)) {
                prop_assert!((RetryAfter::MIN..=RetryAfter::MAX).contains(&asked.wait()));
            }
        }
    }
}
