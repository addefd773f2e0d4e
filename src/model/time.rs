//! Wall time, as events carry it.

use std::fmt;

use jiff::{Timestamp, civil, tz::TimeZone};

/// A moment of wall time, in milliseconds since 1970 (UTC): the precision that both vendors keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WallTime(i64);

impl WallTime {
    /// The moment so many milliseconds after (before, when negative) 1970.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How many milliseconds `self` is after `earlier`; negative when it is before.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `millis` later (earlier, when negative).
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Reads the timestamps that SDKs write: RFC 3339 with any offset and any number of decimals, a space or `T` in the
    /// middle, no offset at all (read as UTC), a bare date. None for everything else: numbers and free text stay what
    /// they are, as guessing at them would move an event in time.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Some(Self(moment.as_millisecond()));
        }
        let local = text.parse::<civil::DateTime>().or_else(|_| text.parse::<civil::Date>().map(|day| day.at(0, 0, 0, 0)));
        TimeZone::UTC.to_timestamp(local.ok()?).ok().map(|moment| Self(moment.as_millisecond()))
    }

    /// RFC 3339 in UTC with three decimals, `2026-11-23T21:49:55.870Z`: the one form that Segment's and RudderStack's
    /// warehouses both type as a time (protocol.md 6). A moment outside the years 0 to 9999 is clamped to them.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let clamped = self.0.clamp(YEAR_ZERO_MS, LAST_DAY_MS);
        let moment = Timestamp::from_millisecond(clamped).unwrap_or_default();
        format!("{moment:.3}")
    }
}

/// 0000-01-01T00:00:00Z.
const YEAR_ZERO_MS: i64 = -62_167_219_200_000;
/// 9999-12-30T00:00:00Z, as far as every offset can still be printed.
const LAST_DAY_MS: i64 = 253_402_128_000_000;

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_sdks_write() {
        let table = [
            ("2026-11-23T21:49:55.870Z", Some(1_795_470_595_870)),
            ("2026-11-23T21:49:55.870+00:00", Some(1_795_470_595_870)),
            ("2026-11-23T22:49:55.870+01:00", Some(1_795_470_595_870)),
            ("2026-11-23T21:49:55.870123456Z", Some(1_795_470_595_870)),
            ("2026-11-23 21:49:55.870", Some(1_795_470_595_870)),
            ("2026-11-23T21:49:55", Some(1_795_470_595_000)),
            ("2026-11-23", Some(1_795_392_000_000)),
            ("1795470595870", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(WallTime::parse(text).map(WallTime::as_millis), want, "{text}");
        }
    }

    #[test]
    fn writes_three_decimals_in_utc() {
        assert_eq!(WallTime::from_millis(1_795_470_595_870).to_rfc3339(), "2026-11-23T21:49:55.870Z");
        assert_eq!(WallTime::from_millis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
        assert!(WallTime::from_millis(i64::MAX).to_rfc3339().starts_with("9999-"));
    }
}
