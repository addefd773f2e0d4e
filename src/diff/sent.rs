//! What segue sent to each side: every place where two texts differ.

use std::collections::HashMap;

use crate::model::json::{Kind, Raw};

/// One place where the two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'a> {
    /// The place: `context.ip`, `properties.items[0].price`. A name with dots in it is told as it is.
    pub path: String,
    /// What the difference is.
    pub kind: DifferenceKind,
    /// What the left one has there; None: nothing.
    pub left: Option<Raw<'a>>,
    /// What the right one has there; None: nothing.
    pub right: Option<Raw<'a>>,
}

/// What a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// Only the left one has something there.
    OnlyLeft,
    /// Only the right one has.
    OnlyRight,
    /// Both have, and of different types.
    Type,
    /// Both have the same type, and another value.
    Value,
}

/// Differences below a place this deep are told as one of that place.
const DEPTH_MAX: usize = 64;
/// More differences than this are not told: whoever makes them up does not fill the memory.
const DIFFERENCES_MAX: usize = 1_000;

/// All places where the two differ, sorted by path. Linear in the texts.
#[must_use]
pub fn compare<'a>(left: Raw<'a>, right: Raw<'a>) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    walk(String::new(), left, right, 0, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk<'a>(path: String, left: Raw<'a>, right: Raw<'a>, depth: usize, found: &mut Vec<Difference<'a>>) {
    if left.text() == right.text() || found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (left.kind(), right.kind()) {
        (Kind::Object, Kind::Object) if depth < DEPTH_MAX => objects(&path, left, right, depth, found),
        (Kind::Array, Kind::Array) if depth < DEPTH_MAX => arrays(&path, left, right, depth, found),
        // The same text in other escapes.
        (Kind::String, Kind::String) if left.string() == right.string() => {}
        (a, b) => {
            let kind = if a == b { DifferenceKind::Value } else { DifferenceKind::Type };
            found.push(Difference { path, kind, left: Some(left), right: Some(right) });
        }
    }
}

fn objects<'a>(path: &str, left: Raw<'a>, right: Raw<'a>, depth: usize, found: &mut Vec<Difference<'a>>) {
    let members = |raw: Raw<'a>| raw.members().map(|(key, value)| (key.name(), value)).collect::<HashMap<_, _>>();
    let (left, mut right) = (members(left), members(right));
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, value) in left {
        match right.remove(&name) {
            Some(other) => walk(inside(&name), value, other, depth + 1, found),
            None => found.push(alone(inside(&name), Some(value), None)),
        }
    }
    found.extend(right.into_iter().map(|(name, value)| alone(inside(&name), None, Some(value))));
}

fn arrays<'a>(path: &str, left: Raw<'a>, right: Raw<'a>, depth: usize, found: &mut Vec<Difference<'a>>) {
    let (mut left, mut right) = (left.items(), right.items());
    for index in 0.. {
        let at = format!("{path}[{index}]");
        match (left.next(), right.next()) {
            (Some(left), Some(right)) => walk(at, left, right, depth + 1, found),
            (None, None) => return,
            (left, right) => found.push(alone(at, left, right)),
        }
    }
}

fn alone<'a>(path: String, left: Option<Raw<'a>>, right: Option<Raw<'a>>) -> Difference<'a> {
    let kind = if left.is_some() { DifferenceKind::OnlyLeft } else { DifferenceKind::OnlyRight };
    Difference { path, kind, left, right }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::parse;

    fn found(left: &str, right: &str) -> Vec<String> {
        let (left, right) = (parse(left.as_bytes()).unwrap(), parse(right.as_bytes()).unwrap());
        let told = |difference: &Difference<'_>| {
            let side = |raw: Option<Raw<'_>>| raw.map_or("-", |raw| raw.text()).to_owned();
            format!("{} {:?} {} {}", difference.path, difference.kind, side(difference.left), side(difference.right))
        };
        compare(left, right).iter().map(told).collect()
    }

    #[test]
    fn every_place_is_told_with_what_both_have_there() {
        let left = r#"{"a":1,"b":{"c":[1,{"d":"x"}],"e":null},"f":"1","g":[1,2]}"#;
        let right = r#"{"g":[1],"b":{"c":[1,{"d":"y"}]},"a":1,"f":1,"h":{}}"#;
        let want = ["b.c[1].d Value \"x\" \"y\"", "b.e OnlyLeft null -", "f Type \"1\" 1", "g[1] OnlyLeft 2 -", "h OnlyRight - {}"];
        assert_eq!(found(left, right), want);
    }

    #[test]
    fn what_means_the_same_is_the_same_and_what_only_a_double_confuses_is_not() {
        assert!(found(r#"{"a":1,"b":2}"#, r#"{ "b": 2, "a": 1 }"#).is_empty(), "order and white space");
        assert!(found(r#"["\u0061"]"#, r#"["a"]"#).is_empty(), "escapes");
        assert!(found(r#"{"a":1,"a":2}"#, r#"{"a":2}"#).is_empty(), "of repeats the last");
        assert_eq!(found("9007199254740993", "9007199254740992").len(), 1, "a double has neither");
        assert_eq!(found("1.0", "1").len(), 1, "as it is written");
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = |value: &str| "[".repeat(10_000) + value + &"]".repeat(10_000);
        assert_eq!(found(&deep("1"), &deep("2")).len(), 1);
        let many = |value: &str| format!("[{}]", vec![value; 5_000].join(","));
        assert_eq!(found(&many("1"), &many("2")).len(), DIFFERENCES_MAX);
    }
}
