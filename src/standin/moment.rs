//! Times as clients write them, read as leniently as RudderStack reads them.

use jiff::{Timestamp, fmt::rfc2822, fmt::temporal::Pieces};

use crate::model::WallTime;

/// What RudderStack's parser (`dateparse.ParseAny`, protocol.md 2.5) makes of a text: besides ISO 8601 also epoch seconds,
/// milli-, micro- and nanoseconds, mail dates, and dates with slashes, year first. The rest of what it knows (month names,
/// American order) is not played: None.
pub(super) fn read(text: &str) -> Option<WallTime> {
    let text = text.trim();
    WallTime::parse(text).or_else(|| epoch(text)).or_else(|| mail(text)).or_else(|| slashes(text))
}

/// Prints a moment as the processor does: RFC 3339 with milliseconds, in the offset that its text had, else in UTC.
pub(super) fn print(moment: WallTime, text: Option<&str>) -> String {
    let in_its_offset = || {
        let offset = Pieces::parse(text?.trim()).ok()?.to_numeric_offset()?;
        if offset.is_zero() {
            return None;
        }
        let moment = Timestamp::from_millisecond(moment.as_millis()).ok()?;
        Some(format!("{:.3}", moment.display_with_offset(offset)))
    };
    in_its_offset().unwrap_or_else(|| moment.to_rfc3339())
}

fn epoch(text: &str) -> Option<WallTime> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.parse().ok()?;
    let millis = match text.len() {
        10 => number * 1000,
        13 => number,
        16 => number / 1000,
        19 => number / 1_000_000,
        _ => return None,
    };
    Some(WallTime::from_millis(millis))
}

fn mail(text: &str) -> Option<WallTime> {
    rfc2822::parse(text).ok().map(|moment| WallTime::from_millis(moment.timestamp().as_millisecond()))
}

fn slashes(text: &str) -> Option<WallTime> {
    let year_first = text.as_bytes().get(4) == Some(&b'/');
    if year_first { WallTime::parse(&text.replace('/', "-")) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_more_than_iso_8601() {
        let want = Some(WallTime::from_millis(1_795_470_595_000));
        let table = [
            "2026-11-23T21:49:55Z",
            "2026-11-23T22:49:55+01:00",
            "2026/11/23 21:49:55",
            "1795470595",
            "1795470595000",
            "1795470595000000",
            "1795470595000000000",
            "Mon, 23 Nov 2026 21:49:55 +0000",
        ];
        for text in table {
            assert_eq!(read(text), want, "{text}");
        }
        for (text, want) in [
            ("2026-11-23T22:49:55+01:00", "2026-11-23T22:49:55.000+01:00"),
            ("2026-11-23T21:49:55-00:00", "2026-11-23T21:49:55.000Z"),
            ("2026-11-23 21:49:55", "2026-11-23T21:49:55.000Z"),
            ("1795470595", "2026-11-23T21:49:55.000Z"),
        ] {
            assert_eq!(print(WallTime::from_millis(1_795_470_595_000), Some(text)), want, "{text}");
        }
        for text in ["", "soon", "12", "99999999999999999999"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
