//! Patterns of places: `$.context.device.*`, `properties.items[*].price`.

use std::{fmt, str::FromStr};

use super::place::is_sign;
use crate::model::json;

/// Places in an event, in the words of `JSONPath` (RFC 9535), of it what is needed to name them:
///
/// - `$` is the event; it may be left out, but for a pattern of the whole event
/// - `.name` is a member, as is `["any name"]` or `['any name']`
/// - `[3]` is an item of an array
/// - `*` as a name is every member, as an index every item
///
/// A pattern names a place; what is below it belongs to it. `context.device` and `context.device.*` cover the same but for the presence of
/// the device itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: String,
    steps: Vec<Step>,
}

/// A step of a pattern, from a place to what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Member(String),
    EveryMember,
    Item(usize),
    EveryItem,
}

/// Why a text is no pattern, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {text:?} cannot be read at character {character}: {reason}")]
pub struct PatternError {
    /// The text.
    pub text: String,
    /// Which of its characters could not be read; 1 is the first. One more than there are when something is missing at the end.
    pub character: usize,
    /// What was wrong there, and what would do.
    pub reason: &'static str,
}

/// No place is told that is deeper (see `place`), and a pattern of more steps would never match.
const STEPS_MAX: usize = 64;

impl Pattern {
    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names on the way from the event, items passed over: `properties`, `items`, `price`. `*` for a member of any name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Member(name) => Some(name.as_str()),
            Step::EveryMember => Some("*"),
            Step::Item(_) | Step::EveryItem => None,
        })
    }

    /// How many steps it takes from the event.
    pub(super) const fn length(&self) -> usize {
        self.steps.len()
    }

    /// Whether its step number `level` (0 is the first) leads to the member of that name.
    pub(super) fn takes_member(&self, level: usize, name: &str) -> bool {
        match self.steps.get(level) {
            Some(Step::Member(own)) => own == name,
            Some(Step::EveryMember) => true,
            Some(Step::Item(_) | Step::EveryItem) | None => false,
        }
    }

    /// Whether its step number `level` leads to the item at that index.
    pub(super) fn takes_item(&self, level: usize, index: usize) -> bool {
        match self.steps.get(level) {
            Some(Step::Item(own)) => *own == index,
            Some(Step::EveryItem) => true,
            Some(Step::Member(_) | Step::EveryMember) | None => false,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let mut reader = Reader { text, at: 0 };
        let steps = reader.steps().map_err(|reason| reader.error(reason))?;
        Ok(Self { text: text.to_owned(), steps })
    }
}

/// As it was written.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads a pattern from front to back. Whatever fails leaves `at` where it failed.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, reason: &'static str) -> PatternError {
        PatternError { text: self.text.to_owned(), character: self.text[..self.at].chars().count() + 1, reason }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn takes(&mut self, sign: char) -> bool {
        let is_next = self.rest().starts_with(sign);
        self.at += if is_next { sign.len_utf8() } else { 0 };
        is_next
    }

    fn steps(&mut self) -> Result<Vec<Step>, &'static str> {
        let mut steps = Vec::new();
        if !self.takes('$') {
            if self.rest().is_empty() {
                return Err("a path is missing; `$` is the whole event");
            }
            if !self.rest().starts_with('[') {
                steps.push(self.name()?);
            }
        }
        while !self.rest().is_empty() {
            if steps.len() >= STEPS_MAX {
                return Err("a path has at most 64 steps");
            }
            if self.takes('.') {
                steps.push(self.name()?);
            } else if self.takes('[') {
                steps.push(self.bracket()?);
            } else {
                return Err("`.` or `[` has to follow here");
            }
        }
        Ok(steps)
    }

    fn name(&mut self) -> Result<Step, &'static str> {
        if self.takes('*') {
            return Ok(Step::EveryMember);
        }
        if self.rest().starts_with('.') {
            return Err("`..` is not understood; name each step, or write `*` for one of any name");
        }
        let name = &self.rest()[..self.rest().find(is_sign).unwrap_or(self.rest().len())];
        if name.is_empty() {
            return Err("a name or `*` has to stand here; one with signs in it is written [\"so\"]");
        }
        if name != name.trim() {
            return Err("a name with spaces around it is written [\" so \"]");
        }
        self.at += name.len();
        Ok(Step::Member(name.to_owned()))
    }

    fn bracket(&mut self) -> Result<Step, &'static str> {
        let step = match self.rest().chars().next() {
            Some('*') => {
                self.at += 1;
                Step::EveryItem
            }
            Some('"') => self.quoted()?,
            Some('\'') => self.single_quoted()?,
            Some('0'..='9') => self.index()?,
            _ => return Err("an index from 0 on, `*` or a name in quotes has to stand in the brackets"),
        };
        if self.takes(']') { Ok(step) } else { Err("`]` is missing") }
    }

    fn index(&mut self) -> Result<Step, &'static str> {
        let digits = &self.rest()[..self.rest().find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest().len())];
        let index = digits.parse().map_err(|_| "no array has so many items")?;
        self.at += digits.len();
        Ok(Step::Item(index))
    }

    /// A name as JSON writes it.
    fn quoted(&mut self) -> Result<Step, &'static str> {
        let mut is_escaped = false;
        let end = self.rest().char_indices().skip(1).find(|(_, character)| {
            let is_end = *character == '"' && !is_escaped;
            is_escaped = *character == '\\' && !is_escaped;
            is_end
        });
        let Some((end, _)) = end else { return Err("the quote that ends the name is missing") };
        let text = &self.rest()[..=end];
        let name = json::parse(text.as_bytes()).ok().and_then(json::Raw::string);
        let name = name.ok_or("the name in quotes is no JSON string")?;
        self.at += text.len();
        Ok(Step::Member(name.into_owned()))
    }

    /// A name as it is.
    fn single_quoted(&mut self) -> Result<Step, &'static str> {
        let Some(end) = self.rest()[1..].find('\'') else { return Err("the quote that ends the name is missing") };
        let name = &self.rest()[1..=end];
        self.at += end + 2;
        Ok(Step::Member(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::place::Place, *};

    fn steps(text: &str) -> Vec<Step> {
        text.parse::<Pattern>().unwrap().steps
    }

    fn member(name: &str) -> Step {
        Step::Member(name.to_owned())
    }

    #[test]
    fn paths_are_read_as_people_write_them() {
        assert_eq!(steps("$"), []);
        assert_eq!(steps("properties.price"), [member("properties"), member("price")]);
        assert_eq!(steps(" $.context.device.* "), [member("context"), member("device"), Step::EveryMember]);
        assert_eq!(steps("$.properties.items[*].price"), [member("properties"), member("items"), Step::EveryItem, member("price")]);
        assert_eq!(steps("a[3][0]"), [member("a"), Step::Item(3), Step::Item(0)]);
        assert_eq!(steps("$['home.town'][\"a \\\"b\\\" \\u0063\"]"), [member("home.town"), member("a \"b\" c")]);
        assert_eq!(steps("integrations.Customer IO"), [member("integrations"), member("Customer IO")]);
        assert_eq!(steps("traits.$set"), [member("traits"), member("$set")]);
        assert_eq!(steps("[\"$set\"].x"), [member("$set"), member("x")]);
        assert_eq!(steps("*.b"), [Step::EveryMember, member("b")]);
    }

    #[test]
    fn the_names_on_the_way_are_told() {
        let names = |text: &str| text.parse::<Pattern>().unwrap().names().collect::<Vec<_>>().join(" ");
        assert_eq!(names("properties.items[*].price"), "properties items price");
        assert_eq!(names("a[3][\"b.c\"].*.d"), "a b.c * d");
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        let cases = [
            ("", 1, "whole event"),
            ("$x", 2, "has to follow"),
            ("$.", 3, "a name or `*`"),
            ("a..b", 3, "`..`"),
            ("a.b]", 4, "has to follow"),
            ("a[b]", 3, "an index"),
            ("a[-1]", 3, "an index"),
            ("a[1", 4, "`]` is missing"),
            ("a[\"b]", 3, "ends the name"),
            ("a['b]", 3, "ends the name"),
            ("a[\"\\x\"]", 3, "no JSON string"),
            ("a[99999999999999999999]", 3, "so many items"),
            ("a.b .c", 3, "spaces"),
            ("\u{e9}t\u{e9}..b", 5, "`..`"),
        ];
        for (text, character, reason) in cases {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.character == character && error.reason.contains(reason), "{text:?}: {error}");
        }
        assert!("a.".repeat(65).parse::<Pattern>().unwrap_err().reason.contains("64 steps"));
        assert_eq!(
            "properties..price".parse::<Pattern>().unwrap_err().to_string(),
            "the path \"properties..price\" cannot be read at character 12: `..` is not understood; name each step, or write `*` for one of any name"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}|[$.*\\[\\]'\"a0\\\\]{0,20}") {
            let _ = text.parse::<Pattern>();
        }

        /// What a walk says of a place is a pattern of exactly that place.
        #[test]
        fn a_told_place_is_a_pattern(names in proptest::collection::vec(proptest::option::of(".{0,12}|[$.*\\[\\]'\"a \\\\]{0,4}"), 1..6)) {
            let mut place = Place::default();
            for name in &names {
                match name {
                    Some(name) => place.enter_member(name),
                    None => place.enter_item(7),
                }
            }
            let path = place.path().parse::<Pattern>().map_err(|error| TestCaseError::fail(error.to_string()))?;
            let group = place.group().parse::<Pattern>().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(path.length(), names.len());
            for (level, name) in names.iter().enumerate() {
                let (own, general) = match name {
                    Some(name) => (path.steps[level] == member(name), group.takes_member(level, name)),
                    None => (path.steps[level] == Step::Item(7), group.takes_item(level, 8)),
                };
                prop_assert!(own && general, "{}: {:?}", place.path(), path);
            }
        }
    }
}
