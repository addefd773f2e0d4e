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
        parse_usual(text.as_bytes()).or_else(|| Self::parse_any(text))
    }

    fn parse_any(text: &str) -> Option<Self> {
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
        written(&self.rfc3339()).to_owned()
    }

    fn rfc3339(self) -> [u8; 24] {
        let clamped = self.0.clamp(YEAR_ZERO_MS, LAST_DAY_MS);
        let (year, month, day) = civil_from_days(clamped.div_euclid(DAY_MS));
        // Clamped, no part is negative or beyond 32 bits.
        let part = |part: i64| u32::try_from(part).unwrap_or_default();
        let millis = part(clamped.rem_euclid(DAY_MS));
        let [y1, y2, y3, y4] = digits(part(year));
        let ([m1, m2], [d1, d2]) = (digits(part(month)), digits(part(day)));
        let ([h1, h2], [n1, n2], [s1, s2]) = (digits(millis / 3_600_000), digits(millis / 60_000 % 60), digits(millis / 1000 % 60));
        let [t1, t2, t3] = digits(millis % 1000);
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', t1, t2, t3, b'Z']
    }
}

/// 0000-01-01T00:00:00Z.
const YEAR_ZERO_MS: i64 = -62_167_219_200_000;
/// 9999-12-30T00:00:00Z, as far as every offset can still be printed.
const LAST_DAY_MS: i64 = 253_402_128_000_000;

const DAY_MS: i64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01. Counting years from March puts the leap day at a year's end.
const EPOCH_DAYS: i64 = 719_468;
/// Days in the 400 years after which the calendar repeats itself.
const CYCLE_DAYS: i64 = 146_097;

/// Reads `YYYY-MM-DDTHH:MM:SSZ`, with three decimals or none: what nearly all SDKs write, for every event at least twice. None
/// for every other form, and for what is rare enough (leap seconds, the days that only some months have in the years that end
/// a century, the ends of time) to be left to the calendar library.
fn parse_usual(text: &[u8]) -> Option<WallTime> {
    let (whole, decimals) = match text {
        [whole @ .., b'.', a, b, c, b'Z'] => (whole, number(&[*a, *b, *c])?),
        [whole @ .., b'Z'] => (whole, 0),
        _ => return None,
    };
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = whole else { return None };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    let days_max = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && year % 100 != 0 => 29,
        2 => 28,
        _ => 31,
    };
    let is_usual = (1..9999).contains(&year) && (1..=12).contains(&month) && (1..=days_max).contains(&day);
    if !is_usual || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(WallTime(days_from_civil(year, month, day) * DAY_MS + seconds * 1000 + decimals))
}

/// The number that these digits are; None when one is no digit.
fn number(digits: &[u8]) -> Option<i64> {
    let mut sum = 0;
    for digit in digits {
        sum = sum * 10 + i64::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
    }
    Some(sum)
}

/// The days from 1970-01-01 to a day of the years from 1 on; after Howard Hinnant, "chrono-compatible low-level date algorithms".
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - EPOCH_DAYS
}

/// The year, month and day that many days after 1970-01-01; the inverse of [`days_from_civil`], by the same source.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let since_march = days + EPOCH_DAYS;
    let (cycle, day_of_cycle) = (since_march.div_euclid(CYCLE_DAYS), since_march.rem_euclid(CYCLE_DAYS));
    let year = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + turn, month, day)
}

fn written(text: &[u8; 24]) -> &str {
    std::str::from_utf8(text).expect("it is made of digits and signs")
}

/// The last digits of `number`, with leading zeros.
fn digits<const PLACES: usize>(mut number: u32) -> [u8; PLACES] {
    let mut places = [b'0'; PLACES];
    for place in places.iter_mut().rev() {
        *place += (number % 10).to_le_bytes()[0];
        number /= 10;
    }
    places
}

/// As [`WallTime::to_rfc3339`].
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(written(&self.rfc3339()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn every_day_of_the_calendar_is_the_librarys() {
        for days in YEAR_ZERO_MS / DAY_MS..=LAST_DAY_MS / DAY_MS {
            let day = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(days * DAY_MS).unwrap()).date();
            let (year, month, day) = (i64::from(day.year()), i64::from(day.month()), i64::from(day.day()));
            assert_eq!(civil_from_days(days), (year, month, day));
            assert!(year < 1 || days_from_civil(year, month, day) == days, "{year}-{month}-{day}");
        }
    }

    proptest! {
        #[test]
        fn the_usual_form_reads_as_any_other_does(
            text in r"[0-9]{4}-([01][0-9]|[0-9]{2})-([0-3][0-9]|[0-9]{2})[Tt ]([0-2][0-9]|[0-9]{2}):[0-9]{2}:([0-6][0-9])(\.[0-9]{0,4})?(Z|z|\+00:00|)"
        ) {
            if let Some(time) = parse_usual(text.as_bytes()) {
                prop_assert_eq!(Some(time), WallTime::parse_any(&text), "{}", text);
            }
        }

        #[test]
        fn any_moment_is_written_as_the_library_does_and_read_back(millis in YEAR_ZERO_MS..=LAST_DAY_MS) {
            let text = WallTime(millis).to_rfc3339();
            prop_assert_eq!(&text, &format!("{:.3}", Timestamp::from_millisecond(millis).unwrap()));
            prop_assert_eq!(WallTime::parse(&text), Some(WallTime(millis)));
        }

        #[test]
        fn no_text_does_harm(text in r"[0-9TZ:.\-]{0,26}|.*") {
            let _ = WallTime::parse(&text);
        }
    }
}
