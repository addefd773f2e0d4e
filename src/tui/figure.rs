//! Figures as people read them: `1,824`, `61.2 M`, `0.6s`, `5.9 GiB`, `12m`.

use std::time::Duration;

/// A count, with commas; from ten million on with a letter.
pub(super) fn count(number: u64) -> String {
    const LETTERS: [(u64, &str); 2] = [(1_000_000_000, "G"), (1_000_000, "M")];
    if number >= 10_000_000
        && let Some((unit, letter)) = LETTERS.iter().find(|(unit, _)| number >= *unit)
    {
        return format!("{}.{} {letter}", number / unit, number % unit * 10 / unit);
    }
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count that is not exact, in three digits or so: `8.7 M`.
pub(super) fn about(number: u64) -> String {
    match number {
        0..10_000 => count(number),
        10_000..1_000_000 => format!("{} k", number / 1_000),
        1_000_000.. => format!("{}.{} M", number / 1_000_000, number % 1_000_000 / 100_000),
    }
}

/// A pace, without `/s`: whole numbers from ten on, a decimal below.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "paces are small and not negative")]
pub(super) fn pace(per_second: f64) -> String {
    if per_second < 0.05 {
        "0".to_owned()
    } else if per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        count(per_second.round() as u64)
    }
}

/// A time that something takes or took: `87ms`, `0.6s`, `12s`, `4m`, `3h`, `2d`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match span.as_millis() {
        0..100 => format!("{}ms", span.as_millis()),
        100..9_950 => format!("{:.1}s", span.as_secs_f64()),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if seconds < 7_200 => format!("{}m", seconds / 60),
        _ if seconds < 172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How far behind a lane is: tenths of a second at first.
pub(super) fn lag(lag: Duration) -> String {
    if lag < Duration::from_millis(9_950) { format!("{:.1}s", lag.as_secs_f64()) } else { span(lag) }
}

/// Milliseconds of an answer.
pub(super) fn millis(millis: f64) -> String {
    if millis < 9_950.0 { format!("{millis:.0}ms") } else { format!("{:.0}s", millis / 1e3) }
}

/// Bytes.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let many = bytes as f64 / *unit as f64;
            if many < 9.95 { format!("{many:.1} {name}") } else { format!("{many:.0} {name}") }
        }
        None => format!("{bytes} B"),
    }
}

/// A share of a whole, in percent with a decimal; `-` of nothing.
#[expect(clippy::cast_precision_loss, reason = "a decimal is shown")]
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}%", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_told_with_their_units() {
        assert_eq!([0, 999, 1_824, 9_999_999, 61_240_000, 2_000_000_000].map(count), ["0", "999", "1,824", "9,999,999", "61.2 M", "2.0 G"]);
        assert_eq!([999, 61_240, 8_743_680].map(about), ["999", "61 k", "8.7 M"]);
        assert_eq!([0.0, 0.31, 9.9, 57.7, 2_157.2].map(pace), ["0", "0.3", "9.9", "58", "2,157"]);
        let spans = [5, 640, 12_000, 240_000, 36_000_000, 400_000_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["5ms", "0.6s", "12s", "4m", "10h", "4d"]);
        assert_eq!([0, 40, 2_000, 90_000].map(|ms| lag(Duration::from_millis(ms))), ["0.0s", "0.0s", "2.0s", "90s"]);
        assert_eq!([12, 2_048, 12 << 20, 6_300_000_000].map(bytes), ["12 B", "2.0 KiB", "12 MiB", "5.9 GiB"]);
        assert_eq!((share(1, 8), share(1, 0)), ("12.5%".to_owned(), "-".to_owned()));
    }
}
