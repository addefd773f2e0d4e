//! A JSON object that is being edited: its members keep their text.

use std::collections::HashMap;

use crate::model::json::{Kind, Raw, parse, push_string};

/// The members of an object, each with the text of its value. Of repeated names the last counts, in the place of the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Object {
    members: Vec<(String, String)>,
}

impl Object {
    /// The members of `raw`; none when it is no object.
    pub fn of(raw: Raw<'_>) -> Self {
        let mut members: Vec<(String, String)> = Vec::new();
        let mut places = HashMap::new();
        for (key, value) in raw.members() {
            let name = key.name().into_owned();
            let place = *places.entry(name.clone()).or_insert(members.len());
            match members.get_mut(place) {
                Some(member) => value.text().clone_into(&mut member.1),
                None => members.push((name, value.text().to_owned())),
            }
        }
        Self { members }
    }

    /// The text of a member's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sets a member to a value that is JSON.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.members.iter_mut().find(|(key, _)| key == name) {
            Some(member) => member.1 = value.into(),
            None => self.members.push((name.to_owned(), value.into())),
        }
    }

    /// Sets a member to a string.
    pub fn set_string(&mut self, name: &str, text: &str) {
        self.set(name, quoted(text));
    }

    /// Takes a member away.
    pub fn remove(&mut self, name: &str) {
        self.members.retain(|(key, _)| key != name);
    }

    /// The object as JSON.
    pub fn text(&self) -> String {
        let mut out = vec![b'{'];
        for (place, (name, value)) in self.members.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            push_string(&mut out, name);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        String::from_utf8(out).expect("names and values are text")
    }

    /// Puts the members of `under` beneath these: where both have a name, objects are merged and else this one's stays.
    pub fn merge_under(&mut self, under: Raw<'_>) {
        self.merge(under, MERGE_DEPTH_MAX);
    }

    fn merge(&mut self, under: Raw<'_>, depth_left: usize) {
        for (key, below) in under.members() {
            let name = key.name();
            let Some(above) = self.get(&name) else {
                self.set(&name, below.text());
                continue;
            };
            let Ok(above) = parse(above.as_bytes()) else { continue };
            if above.kind() == Kind::Object && below.kind() == Kind::Object && depth_left > 0 {
                let mut merged = Self::of(above);
                merged.merge(below, depth_left - 1);
                let merged = merged.text();
                self.set(&name, merged);
            }
        }
    }
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    String::from_utf8(out).expect("a JSON string is text")
}

/// Objects nested deeper are not merged: the upper one stays as it is.
const MERGE_DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_beneath_and_keeps_the_text_of_values() {
        let over = parse(br#"{"a":1e21,"c":{"x":1},"d":null,"a":9007199254740993}"#).unwrap();
        let under = parse(br#"{"a":0,"b":[1],"c":{"x":0,"y":{"z":2}},"d":{"e":1}}"#).unwrap();
        let mut object = Object::of(over);
        object.merge_under(under);
        object.set_string("q", "\"");
        assert_eq!(object.text(), r#"{"a":9007199254740993,"c":{"x":1,"y":{"z":2}},"d":null,"b":[1],"q":"\""}"#);
        object.remove("c");
        assert_eq!(object.get("c"), None);
    }
}
