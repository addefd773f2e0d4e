//! The query of an address, as pixels use it.

use serde_json::{Map, Value};

/// Its pairs, decoded: `+` is a space, `%xx` a byte; bytes that are no UTF-8 are replaced, broken escapes stay.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// Sets a member by its dotted path: `properties.subject` is `subject` within `properties`. Whatever stands in the way and is
/// no object gives way to one. A path of more than 32 names is taken as one name.
pub(super) fn set_path(event: &mut Map<String, Value>, path: &str, value: Value) {
    let nested = path.split_once('.').filter(|_| path.matches('.').count() < PATH_NAMES_MAX);
    let Some((first, rest)) = nested else {
        event.insert(path.to_owned(), value);
        return;
    };
    let inner = event.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        set_path(inner, rest, value);
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (bytes[at], escaped) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (plain, _) => {
                out.push(plain);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Deeper paths are one name.
const PATH_NAMES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_broken_escapes_stay() {
        let read: Vec<_> = pairs("a=1&b=x+y%20z&c&&d=%zz%4&e=%C3%A9").collect();
        let want = [("a", "1"), ("b", "x y z"), ("c", ""), ("d", "%zz%4"), ("e", "\u{e9}")];
        assert_eq!(read, want.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn dotted_names_nest() {
        let mut event = Map::new();
        for (path, value) in [("a", "1"), ("p.x", "2"), ("p.y.z", "3"), ("a.b", "4")] {
            set_path(&mut event, path, value.into());
        }
        assert_eq!(Value::Object(event).to_string(), r#"{"a":{"b":"4"},"p":{"x":"2","y":{"z":"3"}}}"#);
    }
}
