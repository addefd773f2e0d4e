//! The members of an object, repeats removed.

use std::{borrow::Cow, collections::HashMap};

use crate::model::json::{Key, Kind, Raw};

/// Up to so many members names are compared one by one, which is faster than a table; above, a hostile body would make
/// that quadratic.
const COMPARED_MEMBERS_MAX: usize = 32;

/// How deep two objects are merged; below, the upper one's value stands as it is. No SDK comes near.
const MERGE_DEPTH_MAX: usize = 32;

/// The members of one object in order: of each name the last, as both vendors' parsers take it (protocol.md T31).
#[derive(Debug)]
pub(super) struct Object<'a> {
    members: Vec<(Key<'a>, Raw<'a>)>,
    index: Index<'a>,
    /// How many members a later one of the same name made void.
    pub(super) repeats: usize,
}

/// How a name is found.
#[derive(Debug)]
enum Index<'a> {
    /// By comparing it with the text of each key: none is spelled with escapes.
    Plain,
    /// By comparing it with what each key spells.
    Spelled,
    /// In a table of where each name stands.
    Places(HashMap<Cow<'a, str>, usize>),
}

impl<'a> Object<'a> {
    /// The members of `raw`; none when it is no object.
    pub(super) fn of(raw: Raw<'a>) -> Self {
        let mut rest = raw.members();
        let Some(first) = rest.next() else {
            return Self { members: Vec::new(), index: Index::Plain, repeats: 0 };
        };
        // Most objects have fewer members than this, so that the list need not grow.
        let mut members = Vec::with_capacity(16);
        members.push(first);
        members.extend(rest);
        let total = members.len();
        if total <= COMPARED_MEMBERS_MAX {
            let index = drop_repeats(&mut members);
            return Self { repeats: total - members.len(), members, index };
        }
        let last: HashMap<Cow<'a, str>, usize> = members.iter().enumerate().map(|(place, (key, _))| (key.name(), place)).collect();
        if last.len() == total {
            return Self { members, index: Index::Places(last), repeats: 0 };
        }
        let members: Vec<_> =
            members.into_iter().enumerate().filter(|(place, (key, _))| last.get(&key.name()) == Some(place)).map(|(_, m)| m).collect();
        let places = members.iter().enumerate().map(|(place, (key, _))| (key.name(), place)).collect();
        Self { repeats: total - members.len(), members, index: Index::Places(places) }
    }

    /// The members, in order.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = (Key<'a>, Raw<'a>)> {
        self.members.iter().copied()
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<Raw<'a>> {
        let found = match &self.index {
            Index::Plain => self.members.iter().find(|(key, _)| inner(*key) == name),
            Index::Spelled => self.members.iter().find(|(key, _)| key.is(name)),
            Index::Places(places) => places.get(name).map(|place| &self.members[*place]),
        };
        found.map(|(_, value)| *value)
    }

    /// Whether it has no members.
    pub(super) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// Keeps the last member of each name. Two names can only be equal when they set the same bit or are spelled with escapes,
/// so that most objects are done after one look at each name. Says how names are found in what is left.
fn drop_repeats(members: &mut Vec<(Key<'_>, Raw<'_>)>) -> Index<'static> {
    let mut seen = 0_u64;
    let (mut is_suspect, mut is_spelled) = (false, false);
    for (key, _) in &*members {
        let bit = 1 << name_hash(*key);
        is_suspect |= seen & bit != 0;
        is_spelled |= key.text().as_bytes().contains(&b'\\');
        seen |= bit;
    }
    let index = if is_spelled { Index::Spelled } else { Index::Plain };
    if !is_suspect && !is_spelled {
        return index;
    }
    let mut place = 0;
    while place < members.len() {
        let name = members[place].0.name();
        if members[place + 1..].iter().any(|(later, _)| later.is(&name)) {
            members.remove(place);
        } else {
            place += 1;
        }
    }
    index
}

/// The text between a key's quotes.
fn inner(key: Key<'_>) -> &str {
    key.text().get(1..key.text().len() - 1).unwrap_or_default()
}

/// 0 to 63, the same for names that are spelled the same.
fn name_hash(key: Key<'_>) -> u32 {
    let inner = inner(key).as_bytes();
    let (first, last) = (inner.first().copied().unwrap_or(0), inner.last().copied().unwrap_or(0));
    let middle = inner.get(inner.len() / 2).copied().unwrap_or(0);
    let mixed = u32::from(first).wrapping_mul(31) ^ u32::from(last).wrapping_mul(7) ^ u32::from(middle).wrapping_mul(131);
    (mixed ^ (mixed >> 6) ^ u32::from(inner.len().to_le_bytes()[0]).wrapping_mul(11)) & 63
}

/// A JSON object that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Begins an object that will take about so many bytes.
    pub(super) fn begin(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out }
    }

    /// Writes a member: the name in its quotes, and the value's text.
    #[inline]
    pub(super) fn member(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.extend_from_slice(value.as_bytes());
    }

    /// Writes a member whose value is `over` merged onto `base`: of what stands in both, `over` wins.
    pub(super) fn merged(&mut self, key: &str, base: Raw<'_>, over: Raw<'_>) {
        self.key(key);
        push_merged(&mut self.out, base, over, 1);
    }

    /// Ends the object.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }

    /// Ends the object, as text.
    pub(super) fn end_text(self) -> String {
        text_of(self.end())
    }

    fn key(&mut self, key: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b':');
    }
}

/// `over` merged onto `base`, as JSON text.
pub(super) fn merged_text(base: Raw<'_>, over: Raw<'_>) -> String {
    let mut out = Vec::with_capacity(base.text().len() + over.text().len());
    push_merged(&mut out, base, over, 1);
    text_of(out)
}

fn text_of(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("it is made of slices of text")
}

fn push_merged(out: &mut Vec<u8>, base: Raw<'_>, over: Raw<'_>, depth: usize) {
    if base.kind() != Kind::Object || over.kind() != Kind::Object || depth >= MERGE_DEPTH_MAX {
        out.extend_from_slice(over.text().as_bytes());
        return;
    }
    let (base, over) = (Object::of(base), Object::of(over));
    let mut comma = b'{';
    for (key, value) in over.members() {
        push_key(out, &mut comma, key);
        match base.get(&key.name()) {
            Some(below) => push_merged(out, below, value, depth + 1),
            None => out.extend_from_slice(value.text().as_bytes()),
        }
    }
    for (key, value) in base.members().filter(|(key, _)| over.get(&key.name()).is_none()) {
        push_key(out, &mut comma, key);
        out.extend_from_slice(value.text().as_bytes());
    }
    if comma == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn push_key(out: &mut Vec<u8>, comma: &mut u8, key: Key<'_>) {
    out.push(std::mem::replace(comma, b','));
    out.extend_from_slice(key.text().as_bytes());
    out.push(b':');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::parse;

    fn names(text: &str) -> Vec<(String, String)> {
        let object = Object::of(parse(text.as_bytes()).unwrap());
        object.members().map(|(key, value)| (key.name().into_owned(), value.text().to_owned())).collect()
    }

    #[test]
    fn of_repeats_the_last_is_kept() {
        let object = names(r#"{"a":1,"b":2,"\u0061":3,"c":4,"b":null}"#);
        assert_eq!(object, [("a".into(), "3".into()), ("c".into(), "4".into()), ("b".into(), "null".into())]);
        assert_eq!(names(r#"{"a":1,"\u0061":3}"#), [("a".into(), "3".into())], "an escape is another spelling");
    }

    #[test]
    fn many_members_are_told_apart_as_few_are() {
        let members: Vec<String> = (0..100).map(|n| format!(r#""k{n}":{n}"#)).collect();
        let text = format!(r#"{{{},"k7":"last"}}"#, members.join(","));
        let object = Object::of(parse(text.as_bytes()).unwrap());
        assert_eq!((object.members().count(), object.repeats), (100, 1));
        assert_eq!(object.get("k7").map(Raw::text), Some(r#""last""#));
        assert_eq!(object.get("k99").map(Raw::text), Some("99"));
        assert!(object.get("k100").is_none());
    }

    #[test]
    fn objects_merge_to_the_bottom_and_the_upper_one_wins() {
        let table = [
            (r#"{"a":{"x":1,"y":2},"b":1}"#, r#"{"a":{"y":3}}"#, r#"{"a":{"y":3,"x":1},"b":1}"#),
            (r#"{"a":{"x":1}}"#, r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":[1]}"#, r#"{"a":[2]}"#, r#"{"a":[2]}"#),
            ("{}", "{}", "{}"),
            ("{}", "7", "7"),
        ];
        for (base, over, want) in table {
            let mut out = Vec::new();
            push_merged(&mut out, parse(base.as_bytes()).unwrap(), parse(over.as_bytes()).unwrap(), 0);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
