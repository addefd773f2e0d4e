//! Versions of apps and libraries, read leniently, and ranges of them.

use std::{cmp::Ordering, fmt, str::FromStr};

/// A version: up to six numbers, and whether it comes before the release of that name (`-beta`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; NUMBERS_MAX],
    stage: Stage,
}

/// Numbers beyond these are not looked at.
const NUMBERS_MAX: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// `4.12-beta`, `4.12rc1`: before `4.12`.
    Before,
    Release,
}

impl Version {
    /// Reads what apps call a version: `4.12`, `v2024.11.3-beta`, `4.12.0 (345)`, `7.1+build9`. What follows the numbers makes it an
    /// earlier stage when it is a word, and is passed over when it is a build's name. None when there is no number to begin with.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut rest = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let mut numbers = [0; NUMBERS_MAX];
        for place in 0.. {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                if place == 0 {
                    return None;
                }
                break;
            }
            let number = rest[..digits].parse().ok()?;
            if let Some(slot) = numbers.get_mut(place) {
                *slot = number;
            }
            rest = &rest[digits..];
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None => break,
            }
        }
        let word = rest.trim_start_matches(['-', '.', '_', '~']);
        let stage = if word.starts_with(|c: char| c.is_ascii_alphabetic()) { Stage::Before } else { Stage::Release };
        Some(Self { numbers, stage })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then(self.stage.cmp(&other.stage))
    }
}

/// Bounds that a version must keep, all of them: `< 4.12`, `>= 4, < 5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    bounds: Vec<(Bound, Version)>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Below,
    AtMost,
    Above,
    AtLeast,
    Exactly,
}

/// Not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range of versions: write `< 4.12`, `>= 2.0` or `>= 4, < 5`")]
pub struct RangeError(pub String);

impl VersionRange {
    /// Whether a version keeps all bounds.
    #[must_use]
    pub fn has(&self, version: &Version) -> bool {
        self.bounds.iter().all(|(bound, than)| match bound {
            Bound::Below => version < than,
            Bound::AtMost => version <= than,
            Bound::Above => version > than,
            Bound::AtLeast => version >= than,
            Bound::Exactly => version == than,
        })
    }
}

impl FromStr for VersionRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let bound = |part: &str| {
            let part = part.trim();
            let signs = [("<=", Bound::AtMost), (">=", Bound::AtLeast), ("<", Bound::Below), (">", Bound::Above), ("=", Bound::Exactly)];
            let (bound, version) = signs.into_iter().find_map(|(sign, bound)| Some((bound, part.strip_prefix(sign)?)))?;
            Some((bound, Version::parse(version)?))
        };
        let bounds = text.split(',').map(bound).collect::<Option<Vec<_>>>().ok_or_else(|| RangeError(text.trim().to_owned()))?;
        Ok(Self { bounds, text: text.trim().to_owned() })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_however_they_are_written() {
        let ascending =
            ["0.9", "1", "4.2.1", "4.11.9", "v4.12.0-beta.2", "4.12", "4.12.1 (345)", "5.0rc1", "5.0.0", "2024.11.3-beta", "2024.11.3"];
        for pair in ascending.windows(2) {
            assert!(Version::parse(pair[0]) < Version::parse(pair[1]), "{pair:?}");
        }
        for (same, as_well) in [("4.12", "4.12.0"), ("V4.12", " 4.12 "), ("7.1+build9", "7.1"), ("4.12 (9)", "4.12"), ("4.12.", "4.12")] {
            assert_eq!(Version::parse(same), Version::parse(as_well), "{same}");
        }
        for none in ["", "beta", "(unknown)", "-1", "99999999999999999999999", "\u{661}.2"] {
            assert_eq!(Version::parse(none), None, "{none}");
        }
    }

    #[test]
    fn ranges_are_bounds_that_all_hold() {
        let has = |range: &str, version: &str| range.parse::<VersionRange>().unwrap().has(&Version::parse(version).unwrap());
        assert!(has("< 4.12", "4.11.9") && has("<4.12.0", "4.12-beta") && !has("< 4.12", "4.12"));
        assert!(has(">= 4, < 5", "4.0") && has(">=4,<5", "4.99") && !has(">= 4, < 5", "5.0.0") && !has(">= 4, < 5", "3.9"));
        assert!(has("= 4.12", "4.12.0") && has("<= 4.12", "4.12") && has("> 4.12", "4.12.1"));
        for wrong in ["4.12", "<", "< x", ">= 4,", "!= 4", ""] {
            assert!(wrong.parse::<VersionRange>().is_err(), "{wrong}");
        }
    }
}
