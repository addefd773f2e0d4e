//! Values that carry their unit: `25%`, `200/s`, `30s`, `8GiB`.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a text is no value; the message names the units that would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: write {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// A share, in hundredths of a percent: 0 to 10,000, which are also the buckets that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u16);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// A limit in events per second, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RateLimit {
    /// As fast as the other side takes it.
    #[default]
    None,
    /// At most so many events in any second.
    PerSecond(NonZeroU32),
}

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Everything.
    pub const FULL: Self = Self(10_000);

    /// So many hundredths of a percent; None above 10,000.
    #[must_use]
    pub const fn from_hundredths(hundredths: u16) -> Option<Self> {
        if hundredths <= 10_000 { Some(Self(hundredths)) } else { None }
    }

    /// Hundredths of a percent, 0 to 10,000.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// What is left to 100 %.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(10_000 - self.0)
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError { text: text.to_owned(), what: "share", example: "a percentage from 0% to 100%, like 25% or 0.5%" };
        let digits = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        if decimals.len() > 2 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let whole: u16 = whole.parse().map_err(|_| wrong())?;
        let decimals: u16 = if decimals.is_empty() { 0 } else { format!("{decimals:0<2}").parse().map_err(|_| wrong())? };
        whole.checked_mul(100).and_then(|h| h.checked_add(decimals)).and_then(Self::from_hundredths).ok_or_else(wrong)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 100, self.0 % 100);
        match (decimals, decimals % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", decimals / 10),
            _ => write!(f, "{whole}.{decimals:02}%"),
        }
    }
}

/// Size suffixes, longest first so that `KiB` is not read as `B`.
const SIZES: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError { text: text.to_owned(), what: "size", example: "a whole number with a unit, like 512KiB, 64MiB or 8GiB" };
        let trimmed = text.trim();
        let (digits, unit) =
            SIZES.iter().find_map(|(suffix, unit)| trimmed.strip_suffix(suffix).map(|digits| (digits, *unit))).ok_or_else(wrong)?;
        digits.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suffix, unit) =
            SIZES[..4].iter().rev().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)).copied().unwrap_or(("B", 1));
        write!(f, "{}{suffix}", self.0 / unit)
    }
}

/// Time suffixes in milliseconds, `ms` before `s`.
const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong =
            || UnitError { text: text.to_owned(), what: "time", example: "a whole number with a unit, like 500ms, 30s, 5m, 6h or 2d" };
        let trimmed = text.trim();
        let (digits, unit) =
            SPANS.iter().find_map(|(suffix, unit)| trimmed.strip_suffix(suffix).map(|digits| (digits, *unit))).ok_or_else(wrong)?;
        digits.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (suffix, unit) = SPANS.iter().rev().find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit)).copied().unwrap_or(("ms", 1));
        write!(f, "{}{suffix}", ms / unit)
    }
}

impl FromStr for RateLimit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError { text: text.to_owned(), what: "rate", example: "events per second, like 200/s, or none" };
        let trimmed = text.trim();
        if trimmed == "none" {
            return Ok(Self::None);
        }
        trimmed.strip_suffix("/s").and_then(|n| n.trim().parse().ok()).map(Self::PerSecond).ok_or_else(wrong)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::PerSecond(rate) => write!(f, "{rate}/s"),
        }
    }
}

impl TryFrom<String> for Percent {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}
impl TryFrom<String> for ByteSize {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}
impl TryFrom<String> for Span {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}
impl TryFrom<String> for RateLimit {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}
impl From<Percent> for String {
    fn from(value: Percent) -> Self {
        value.to_string()
    }
}
impl From<ByteSize> for String {
    fn from(value: ByteSize) -> Self {
        value.to_string()
    }
}
impl From<Span> for String {
    fn from(value: Span) -> Self {
        value.to_string()
    }
}
impl From<RateLimit> for String {
    fn from(value: RateLimit) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_they_print() {
        for text in ["0%", "25%", "0.5%", "99.95%", "100%"] {
            assert_eq!(text.parse::<Percent>().map(|v| v.to_string()).as_deref(), Ok(text));
        }
        for text in ["1B", "512KiB", "8GiB", "1000B"] {
            assert_eq!(text.parse::<ByteSize>().map(|v| v.to_string()).as_deref(), Ok(text));
        }
        for text in ["500ms", "30s", "6h", "2d"] {
            assert_eq!(text.parse::<Span>().map(|v| v.to_string()).as_deref(), Ok(text));
        }
        for text in ["none", "200/s"] {
            assert_eq!(text.parse::<RateLimit>().map(|v| v.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_bare_number_is_refused_with_the_units() {
        assert!("25".parse::<Percent>().is_err_and(|e| e.to_string().contains("25%")));
        assert!("101%".parse::<Percent>().is_err());
        assert!("8".parse::<ByteSize>().is_err_and(|e| e.to_string().contains("8GiB")));
        assert!("30".parse::<Span>().is_err_and(|e| e.to_string().contains("30s")));
        assert!("0/s".parse::<RateLimit>().is_err());
        assert!("200".parse::<RateLimit>().is_err_and(|e| e.to_string().contains("200/s")));
    }
}
