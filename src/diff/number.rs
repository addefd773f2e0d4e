//! Decimal numbers compared by value, exactly.

/// How alike two JSON numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sameness {
    /// They are one number.
    Same,
    /// They are two, which no double tells apart.
    ForDoubles,
    /// They are two.
    Not,
}

/// A number: digits without zeros at either end, and where the point stands.
#[derive(Debug, PartialEq, Eq)]
struct Decimal<'a> {
    is_negative: bool,
    digits: (&'a str, &'a str),
    /// The value is 0.digits times ten to this.
    exponent: i64,
}

pub(super) fn compare(left: &str, right: &str) -> Sameness {
    if left == right || same_decimals(left, right) {
        return Sameness::Same;
    }
    match (left.parse::<f64>(), right.parse::<f64>()) {
        #[expect(clippy::float_cmp, reason = "whether a double tells them apart is the question")]
        (Ok(left), Ok(right)) if left == right => Sameness::ForDoubles,
        _ => Sameness::Not,
    }
}

/// Whether a number is what a double makes of another.
pub(super) fn is_double_of(rounded: &str, exact: &str) -> bool {
    exact.parse::<f64>().is_ok_and(|double| double.is_finite() && same_decimals(&format!("{double}"), rounded))
}

/// A text that is the same for all ways to write a number.
pub(super) fn canonical(text: &str) -> String {
    let decimal = Decimal::of(text);
    if decimal.is_zero() {
        return "0".to_owned();
    }
    let sign = if decimal.is_negative { "-" } else { "" };
    format!("{sign}{}{}e{}", decimal.digits.0, decimal.digits.1, decimal.exponent)
}

fn same_decimals(left: &str, right: &str) -> bool {
    let (left, right) = (Decimal::of(left), Decimal::of(right));
    if left.is_zero() || right.is_zero() {
        return left.is_zero() && right.is_zero();
    }
    left.is_negative == right.is_negative && left.exponent == right.exponent && left.digits().eq(right.digits())
}

impl<'a> Decimal<'a> {
    fn of(text: &'a str) -> Self {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let power: i64 = power.strip_prefix('+').unwrap_or(power).parse().unwrap_or(0);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        if whole.is_empty() {
            let digits = fraction.trim_start_matches('0');
            let exponent = power.saturating_sub(length(fraction) - length(digits));
            return Self { is_negative, digits: ("", digits), exponent };
        }
        let digits = if fraction.is_empty() { (whole.trim_end_matches('0'), "") } else { (whole, fraction) };
        Self { is_negative, digits, exponent: power.saturating_add(length(whole)) }
    }

    const fn is_zero(&self) -> bool {
        self.digits.0.is_empty() && self.digits.1.is_empty()
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.digits.0.bytes().chain(self.digits.1.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value_and_not_as_doubles() {
        let same = [
            ("1", "1.0"),
            ("1", "1e0"),
            ("100", "1e2"),
            ("0.001", "1E-3"),
            ("-0", "0.00"),
            ("12.50", "1.25e+1"),
            ("10", "1.0e1"),
            ("1200", "12e2"),
            ("0.10", "0.1"),
            ("9007199254740993", "9007199254740993.0"),
        ];
        for (left, right) in same {
            assert_eq!(compare(left, right), Sameness::Same, "{left} {right}");
            assert_eq!(canonical(left), canonical(right));
        }
        let doubles = [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.1000000000000000055"),
            ("123456789012345678901", "123456789012345680000"),
        ];
        for (left, right) in doubles {
            assert_eq!(compare(left, right), Sameness::ForDoubles, "{left} {right}");
        }
        for (left, right) in [("1", "2"), ("1", "-1"), ("1", "10"), ("0", "1e-9"), ("19.99", "19.9"), ("101", "11")] {
            assert_eq!(compare(left, right), Sameness::Not, "{left} {right}");
            assert_ne!(canonical(left), canonical(right));
        }
        assert_eq!(compare("1e99999", "1e99998"), Sameness::ForDoubles, "beyond everything");
    }
}
