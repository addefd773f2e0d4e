//! What may be told of an event: never a write key, and nothing of a person unless that was asked for.

use serde_json::Value;

use super::server::Hub;
use crate::diff::Pattern;

/// What is put in place of what is not told.
const MASK: &str = "***";
/// Keys shorter than this are not looked for.
const KEY_LENGTH_MIN: usize = 8;
/// Deeper values are masked whole.
const DEPTH_MAX: usize = 64;

/// Members that tell of a person, in small letters without `_` and `-`.
const PERSONAL: [&str; 20] = [
    "userid",
    "anonymousid",
    "previousid",
    "ip",
    "email",
    "phone",
    "name",
    "firstname",
    "lastname",
    "username",
    "address",
    "street",
    "birthday",
    "age",
    "gender",
    "avatar",
    "title",
    "advertisingid",
    "latitude",
    "longitude",
];
/// Objects whose name is a product's and nobody's.
const NAMED_THINGS: [&str; 5] = ["app", "library", "os", "campaign", "network"];
/// Members all of whose values tell of a person.
const PERSONAL_WHOLE: [&str; 2] = ["traits", "device"];

impl Hub {
    /// The text with every configured write key replaced.
    pub(super) fn without_keys(&self, text: &str) -> String {
        let sources = self.sources.load();
        let keys = sources.list().iter().flat_map(|source| source.segment_keys.iter().chain(&source.rudderstack_key));
        // Shorter texts would be words.
        let keys = keys.filter(|key| key.expose().len() >= KEY_LENGTH_MIN);
        keys.fold(text.to_owned(), |text, key| key.cut_from(text))
    }

    /// The event with its keys replaced.
    pub(super) fn event_without_keys(&self, event: Value) -> Value {
        match event {
            Value::String(text) => Value::String(self.without_keys(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.event_without_keys(item)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, value)| {
                    let value = if plain(&name) == "writekey" { Value::from(MASK) } else { self.event_without_keys(value) };
                    (self.without_keys(&name), value)
                })
                .collect(),
            other => other,
        }
    }
}

/// The event without what tells of a person.
pub(super) fn masked(event: Value) -> Value {
    mask(event, Within::Anything, "", 0)
}

/// The value as it would be masked where it stands.
pub(super) fn masked_at(path: &str, value: Value) -> Value {
    let split = || path.split(['.', '[']).filter(|name| !name.is_empty() && !name.ends_with(']')).map(str::to_owned).collect();
    let names: Vec<String> = path.parse::<Pattern>().map_or_else(|_| split(), |place| place.names().map(str::to_owned).collect());
    let whole = names.iter().rev().fold(value, |inner, name| serde_json::json!({ name: inner }));
    names.iter().try_fold(&masked(whole), |value, name| value.get(name)).cloned().unwrap_or(Value::Null)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Anything,
    Person,
}

fn mask(value: Value, within: Within, parent: &str, depth: usize) -> Value {
    match value {
        _ if depth > DEPTH_MAX => Value::from(MASK),
        Value::Array(items) => items.into_iter().map(|item| mask(item, within, parent, depth + 1)).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let plain = plain(&name);
                let is_things = plain == "name" && (depth == 0 || NAMED_THINGS.contains(&parent));
                let personal = PERSONAL.contains(&plain.as_str()) && !is_things;
                let inside =
                    if within == Within::Person || PERSONAL_WHOLE.contains(&plain.as_str()) || personal { Within::Person } else { within };
                (name, mask(value, inside, &plain, depth + 1))
            })
            .collect(),
        Value::Null => Value::Null,
        scalar if within == Within::Person => {
            let _ = scalar;
            Value::from(MASK)
        }
        scalar => scalar,
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_tells_of_a_person_is_masked_at_any_depth() {
        let event = json!({
            "type": "track", "event": "Order", "name": "Cart", "userId": "u1", "anonymous_id": null,
            "properties": { "total": 12, "email": "a@b.c", "items": [{ "First-Name": "Ann", "sku": "x" }] },
            "context": { "ip": "203.0.113.9", "traits": { "plan": { "tier": 3 } }, "library": { "name": "js", "version": "1" } },
        });
        let want = json!({
            "type": "track", "event": "Order", "name": "Cart", "userId": "***", "anonymous_id": null,
            "properties": { "total": 12, "email": "***", "items": [{ "First-Name": "***", "sku": "x" }] },
            "context": { "ip": "***", "traits": { "plan": { "tier": "***" } }, "library": { "name": "js", "version": "1" } },
        });
        assert_eq!(masked(event), want);
    }

    #[test]
    fn a_value_is_masked_by_where_it_really_stands() {
        let jane = || serde_json::json!("Jane");
        for path in ["[\"x*\"].name", "app[\"x.y\"].name", "*.name", "properties[\"a.b\"][0].email", "traits[\"home.town\"]"] {
            assert_eq!(masked_at(path, jane()), MASK, "{path}");
        }
        for path in ["name", "app.name", "properties.plan", "properties[\"traits.x\"]"] {
            assert_eq!(masked_at(path, jane()), "Jane", "{path}");
        }
    }
}
