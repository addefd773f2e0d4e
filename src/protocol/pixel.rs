//! Pixels: an event in the query of a picture (protocol.md 1.2, T18).

use std::collections::BTreeMap;

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::model::{
    EventKind,
    json::{self, Kind},
};

/// The event that a pixel's query spells, as JSON: from `data`, base64 of JSON, or else from flat names with dots
/// (`properties.subject=x`). None when it spells none.
#[must_use]
pub fn pixel_event(query: &str) -> Option<Vec<u8>> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if let Some((_, data)) = pairs.iter().find(|(name, _)| name == "data") {
        return decoded(data);
    }
    let mut root = BTreeMap::new();
    for (name, value) in &pairs {
        insert(&mut root, name, value, DEPTH_MAX);
    }
    (!root.is_empty()).then(|| {
        let mut out = Vec::new();
        write(&mut out, &root);
        out
    })
}

/// The path and query that carry an event as a pixel: how an edited pixel goes to Segment.
#[must_use]
pub fn pixel_path(kind: EventKind, event: &[u8]) -> String {
    format!("/v1/pixel/{kind}?data={}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(event))
}

/// A query's `+` arrives as a space, and mail programs cut padding: both alphabets are read, padding or not.
fn decoded(data: &str) -> Option<Vec<u8>> {
    let standard = data.trim().replace([' ', '-'], "+").replace('_', "/");
    let event = ANY_PADDING.decode(standard).ok()?;
    (json::parse(&event).ok()?.kind() == Kind::Object).then_some(event)
}

const ANY_PADDING: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A flat query unfolded.
enum Node {
    Text(String),
    Object(BTreeMap<String, Node>),
}

/// How deep a flat name unfolds; the dots beyond stay in the last name, so that a long query cannot spend our stack.
const DEPTH_MAX: usize = 32;

fn insert(object: &mut BTreeMap<String, Node>, name: &str, value: &str, depth_left: usize) {
    let Some((first, rest)) = name.split_once('.').filter(|_| depth_left > 0) else {
        object.insert(name.to_owned(), Node::Text(value.to_owned()));
        return;
    };
    let child = object.entry(first.to_owned()).or_insert_with(|| Node::Object(BTreeMap::new()));
    // A name that is both a value and a parent (`a=1&a.b=2`): the later one stands.
    if let Node::Text(_) = child {
        *child = Node::Object(BTreeMap::new());
    }
    if let Node::Object(inner) = child {
        insert(inner, rest, value, depth_left - 1);
    }
}

fn write(out: &mut Vec<u8>, object: &BTreeMap<String, Node>) {
    out.push(b'{');
    for (index, (name, node)) in object.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::push_string(out, name);
        out.push(b':');
        match node {
            Node::Text(text) => json::push_string(out, text),
            Node::Object(inner) => write(out, inner),
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_spell_an_event() {
        let data = "eyJ3cml0ZUtleSI6IldSSVRFX0tFWV9CRU5DSCIsInVzZXJJZCI6InUifQ";
        let want = br#"{"writeKey":"WRITE_KEY_BENCH","userId":"u"}"#.to_vec();
        assert_eq!(pixel_event(&format!("data={data}")), Some(want.clone()));
        assert_eq!(pixel_event(&format!("data={data}%3D%3D")), Some(want.clone()));
        let flat = pixel_event("writeKey=k&userId=u&event=Email+Opened&properties.subject=a%20b&properties.n=1").unwrap();
        assert_eq!(flat, br#"{"event":"Email Opened","properties":{"n":"1","subject":"a b"},"userId":"u","writeKey":"k"}"#);
        let path = pixel_path(EventKind::Track, &want);
        assert_eq!(pixel_event(path.split_once('?').unwrap().1), Some(want));
    }

    #[test]
    fn what_spells_nothing_is_none() {
        for query in ["", "data=", "data=%%%", "data=bm90IGpzb24", "data=W10"] {
            assert_eq!(pixel_event(query), None, "{query}");
        }
    }

    #[test]
    fn a_name_of_ten_thousand_dots_is_not_ten_thousand_objects() {
        let deep = pixel_event(&format!("{}=1", "a.".repeat(10_000))).unwrap();
        assert_eq!(String::from_utf8(deep).unwrap().matches('{').count(), DEPTH_MAX + 1);
    }

    proptest! {
        #[test]
        fn any_query_is_json_or_nothing(query in "[a-z.=&%+ 0-9]{0,40}") {
            if let Some(event) = pixel_event(&query) {
                prop_assert!(json::parse(&event).is_ok());
            }
        }
    }
}
