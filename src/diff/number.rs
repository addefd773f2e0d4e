//! Numbers by their value, without a double in between.

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The same number, however it is written: 1, 1.0, 10e-1.
    Same,
    /// Two numbers that become one in a double: 9007199254740993 and 9007199254740992.
    Rounded,
    /// Two numbers.
    Different,
}

/// Compares two JSON numbers. Linear in their texts.
pub(super) fn likeness(one: &str, other: &str) -> Likeness {
    if Decimal::of(one).is_some_and(|decimal| Some(decimal) == Decimal::of(other)) {
        return Likeness::Same;
    }
    let double = |text: &str| text.parse::<f64>().ok().filter(|double| double.is_finite());
    match (double(one), double(other)) {
        // By their bits but for the sign of zero, as 0 and -0 are one number.
        (Some(a), Some(b)) if a.to_bits() == b.to_bits() || (a == 0.0 && b == 0.0) => Likeness::Rounded,
        _ => Likeness::Different,
    }
}

/// Whether a number is what RudderStack's gateway writes of another: the shortest text of its double (protocol.md T31).
pub(super) fn is_double_of(rounded: &str, exact: &str) -> bool {
    let double = exact.parse::<f64>().ok().filter(|double| double.is_finite());
    double.is_some_and(|double| likeness(&double.to_string(), rounded) == Likeness::Same)
}

/// A text that is the same for all ways to write a number.
pub(super) fn canonical(number: &str) -> String {
    let Some(Decimal { is_negative, digits, exponent }) = Decimal::of(number) else { return number.to_owned() };
    let sign = if is_negative { "-" } else { "" };
    let digits: String = digits.iter().map(char::from).collect();
    format!("{sign}{digits}e{exponent}")
}

/// A JSON number in a form that each value has only one of: 0.ddd times a power of ten, the first and last digit not zero.
#[derive(Debug, PartialEq, Eq)]
struct Decimal<'a> {
    is_negative: bool,
    digits: Digits<'a>,
    /// The power of ten; 0 for zero.
    exponent: i128,
}

/// The digits that count, a point among them passed over.
#[derive(Debug, Clone, Copy)]
struct Digits<'a>(&'a str);

impl Digits<'_> {
    fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().filter(|digit| *digit != b'.')
    }
}

impl PartialEq for Digits<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Digits<'_> {}

impl<'a> Decimal<'a> {
    /// None for an exponent so long that no number is meant.
    fn of(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, power) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let digits = mantissa.trim_matches(['0', '.']);
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits: Digits(""), exponent: 0 });
        }
        let whole = mantissa.find('.').unwrap_or(mantissa.len());
        let first = mantissa.find(|digit| digit != '0' && digit != '.')?;
        // Places from the point to the first digit that counts, to the left when it stands in the whole part.
        let places = if first < whole { as_exponent(whole - first)? } else { -as_exponent(first - whole - 1)? };
        Some(Self { is_negative: unsigned.len() < text.len(), digits: Digits(digits), exponent: places.checked_add(power.parse().ok()?)? })
    }
}

fn as_exponent(places: usize) -> Option<i128> {
    i128::try_from(places).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_what_they_are_worth() {
        use Likeness::{Different, Rounded, Same};
        let cases = [
            ("1", "1.0", Same),
            ("1", "1e0", Same),
            ("1", "10E-1", Same),
            ("1", "0.1e+1", Same),
            ("100", "1e2", Same),
            ("0.001", "1e-3", Same),
            ("120.50", "1.205e2", Same),
            ("0", "-0.0e5", Same),
            ("0", "0E99999999999999999999999999999999999999999999999", Same),
            ("9007199254740993", "9007199254740993.0", Same),
            ("9007199254740993", "9007199254740992", Rounded),
            ("-9007199254740993", "-9007199254740992", Rounded),
            ("0.1", "0.1000000000000000055", Rounded),
            ("1e-400", "0", Rounded),
            ("1e-400", "-1e-400", Rounded),
            ("9007199254740993", "-9007199254740993", Different),
            ("1", "2", Different),
            ("1", "-1", Different),
            ("1", "10", Different),
            ("0.1", "0.01", Different),
            ("101", "11", Different),
            ("1e400", "2e400", Different),
            ("1e99999999999999999999999999999999999999999999999", "1", Different),
        ];
        for (one, other, want) in cases {
            assert_eq!(likeness(one, other), want, "{one} and {other}");
            assert_eq!(likeness(other, one), want, "{other} and {one}");
            assert_eq!(canonical(one) == canonical(other), want == Same, "{one} and {other}");
            assert_eq!(likeness(one, one), if one.len() > 40 && !one.starts_with('0') { Different } else { Same }, "{one}");
        }
    }

    #[test]
    fn what_a_double_makes_of_a_number_is_known() {
        for (exact, rounded) in
            [("9007199254740993", "9007199254740992"), ("12345678901234567890", "12345678901234567000"), ("0.1", "1e-1")]
        {
            assert!(is_double_of(rounded, exact), "{exact} {rounded}");
        }
        for (exact, other) in
            [("9007199254740992", "9007199254740993"), ("12345678901234567890", "12345678901234567168"), ("1e400", "1e400")]
        {
            assert!(!is_double_of(other, exact), "{exact} {other}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_compare_as_whole_numbers(one: i128, other: i128, zeros in 0_usize..30) {
            let scaled = |number: i128| format!("{number}.{}e0", "0".repeat(zeros + 1));
            prop_assert_eq!(likeness(&one.to_string(), &scaled(one)), Likeness::Same);
            prop_assert_eq!(likeness(&one.to_string(), &scaled(other)) == Likeness::Same, one == other);
        }

        #[test]
        fn a_shifted_point_is_made_up_for_by_the_exponent(number in 1_u64.., places in 0_usize..40) {
            let (number, zeros) = (number.to_string(), "0".repeat(places));
            prop_assert_eq!(likeness(&number, &format!("{number}{zeros}e-{places}")), Likeness::Same);
            prop_assert_eq!(likeness(&number, &format!("0.{zeros}{number}e{}", places + number.len())), Likeness::Same);
        }
    }
}
