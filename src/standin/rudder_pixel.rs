//! RudderStack's pixels: a flat query that becomes the body of a track or page call (protocol.md 2.6).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{exchange::Arrived, query};

/// The event a pixel stands for; None for a track pixel whose `event` is empty.
pub(super) fn event(kind: &'static str, arrived: &Arrived) -> Option<Bytes> {
    let now = arrived.at.to_rfc3339();
    let mut event = Map::new();
    event.insert("channel".to_owned(), json!("web"));
    event.insert("integrations".to_owned(), json!({ "All": true }));
    event.insert("originalTimestamp".to_owned(), json!(now));
    event.insert("sentAt".to_owned(), json!(now));
    for (path, value) in query::pairs(arrived.query.as_deref()?) {
        match (kind, path.as_str()) {
            (_, "writeKey") => {}
            (_, "anonymousId") => query::set_path(&mut event, &path, Value::from(unquoted(&value))),
            ("page", "name") if value.is_empty() => query::set_path(&mut event, &path, json!("Unknown Page")),
            ("track", "event") if value.is_empty() => return None,
            _ => query::set_path(&mut event, &path, Value::from(value)),
        }
    }
    Some(Value::Object(event).to_string().into())
}

/// An anonymousId may come in quotes, as cookies hold it.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}
