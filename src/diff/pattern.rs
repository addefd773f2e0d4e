//! Patterns of places in an event: `$.context.device.*`, `properties.items[*].price`.

use std::{fmt, str::FromStr};

/// A place, or several: what it names counts, and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// The member of that name.
    Member(String),
    /// Any member.
    AnyMember,
    /// Any item of an array.
    AnyItem,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place in an event: {what} at character {at}")]
pub struct PatternError {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub what: &'static str,
    /// Where, counted from 1.
    pub at: usize,
}

/// Longer patterns are refused.
const STEPS_MAX: usize = 64;

impl Pattern {
    /// Whether a place is one of these, or below one. Items of arrays are written `[*]` in it.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut steps = steps_of(path);
        self.steps.iter().all(|wanted| match (wanted, steps.next()) {
            (Step::Member(name), Some(Step::Member(found))) => *name == found,
            (Step::AnyMember, Some(Step::Member(_))) | (Step::AnyItem, Some(Step::AnyItem)) => true,
            _ => false,
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn steps_of(path: &str) -> impl Iterator<Item = Step> {
    path.split('.').flat_map(|part| {
        let items = part.matches("[*]").count();
        let name = part.trim_end_matches("[*]");
        let name = (!name.is_empty()).then(|| Step::Member(name.to_owned()));
        name.into_iter().chain(std::iter::repeat_n(Step::AnyItem, items))
    })
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let fault = |what, at: usize| PatternError { text: text.to_owned(), what, at: at + 1 };
        let body = text.strip_prefix("$.").unwrap_or(text);
        let offset = text.len() - body.len();
        if body.is_empty() || body == "$" {
            return Err(fault("it names nothing", offset));
        }
        let (mut steps, mut at) = (Vec::new(), offset);
        for part in body.split('.') {
            let (name, items) = part.find('[').map_or((part, ""), |open| part.split_at(open));
            match name {
                "" => return Err(fault("a name is missing", at)),
                "*" => steps.push(Step::AnyMember),
                name => steps.push(Step::Member(name.to_owned())),
            }
            let mut rest = items;
            while !rest.is_empty() {
                let place = at + part.len() - rest.len();
                rest = rest.strip_prefix("[*]").ok_or_else(|| fault("an array is written [*], for all its items,", place))?;
                steps.push(Step::AnyItem);
            }
            at += part.len() + 1;
        }
        if steps.len() > STEPS_MAX {
            return Err(fault("it is deeper than 64", offset));
        }
        Ok(Self { text: text.to_owned(), steps })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_place_and_what_is_below() {
        let cases = [
            ("$.context.device", "context.device", true),
            ("context.device", "context.device.id", true),
            ("context.device", "context.devices", false),
            ("context.device.id", "context.device", false),
            ("$.context.*", "context.ip", true),
            ("$.context.*", "context", false),
            ("properties.items[*].price", "properties.items[*].price", true),
            ("properties.items", "properties.items[*].price", true),
            ("properties.items.price", "properties.items[*].price", false),
            ("a[*][*]", "a[*][*].b", true),
        ];
        for (pattern, path, want) in cases {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_place() {
        for (text, at) in [("", 1), ("$", 1), ("$.", 3), ("a..b", 3), ("a[0]", 2), ("a.b[*", 4), (".a", 1)] {
            let error = text.parse::<Pattern>().unwrap_err();
            assert_eq!(error.at, at, "{error}");
        }
    }
}
