//! `segue journal export`: one record as one line of JSON. Keys of ours are nowhere in the journal; the clients' are masked unless they
//! are asked for.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json, value::RawValue};

use super::journal_flags::Keys;
use crate::{
    journal::{Archived, ArchivedRecord, LaneId, Quarantined, Waits},
    model::{Destination, Encoding, Envelope, Secret, Selection},
    protocol::{InflateLimits, inflate},
};

/// How large a body may become when it is inflated; larger ones are written as base64, and only with `--reveal`.
const INFLATED_BYTES_MAX: usize = 64 << 20;
/// The names under which clients put their key.
const KEY_NAMES: [&str; 2] = ["writeKey", "write_key"];

/// Writes one line.
pub fn line(archived: &Archived<'_>, keys: Keys, out: &mut impl Write) -> io::Result<()> {
    let value = match archived {
        Archived::Record(record) => record_json(record, keys),
        Archived::Quarantined(lane, item) => quarantined_json(lane, item, keys),
    };
    serde_json::to_writer(&mut *out, &value)?;
    out.write_all(b"\n")
}

/// A line's fields in their order, the body as it stands.
#[derive(serde::Serialize)]
struct Line {
    #[serde(flatten)]
    facts: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
}

fn record_json(record: &ArchivedRecord<'_>, keys: Keys) -> Line {
    let labels = |chosen: &dyn Fn(Destination) -> bool| -> Vec<&str> {
        Destination::ALL.into_iter().filter(|to| chosen(*to)).map(Destination::label).collect()
    };
    let mut facts = json!({
        "schema": "segue.journal-record/v1",
        "position": record.position.to_string(),
        "source": record.source.as_str(),
        "received_at": record.received_at.to_rfc3339(),
        "revision": record.revision.0,
        "planned": { "segment": record.planned.segment, "rudderstack": record.planned.rudderstack },
        "pending": labels(&|to| *record.waits.of(to) == Waits::Yes),
    });
    let payload = bytes::Bytes::copy_from_slice(record.payload);
    let Ok(envelope) = Envelope::decode(&payload) else {
        facts["unreadable"] = true.into();
        if keys == Keys::Shown {
            facts["payload_base64"] = STANDARD.encode(record.payload).into();
        }
        return Line { facts, body: None };
    };
    facts["revision"] = envelope.plan.revision.0.into();
    facts["envelope"] = envelope_json(&envelope, keys);
    let body = body_of(&envelope, keys);
    if keys == Keys::Shown {
        facts["body_base64"] = STANDARD.encode(&envelope.body).into();
    }
    Line { facts, body }
}

fn envelope_json(envelope: &Envelope, keys: Keys) -> Value {
    let selection = |selection: &Selection| match selection {
        Selection::All => json!("all"),
        Selection::None => json!("none"),
        Selection::Some(events) => json!(events),
    };
    json!({
        "id": envelope.id.to_string(),
        "path": if keys == Keys::Shown { Cow::Borrowed(envelope.path.as_str()) } else { masked_query(&envelope.path) },
        "client_ip": envelope.client_ip.map(|ip| ip.to_string()),
        "content_type": envelope.content_type,
        "user_agent": envelope.user_agent,
        "retry_count": envelope.retry_count,
        "encoding": if envelope.encoding == Encoding::Gzip { "gzip" } else { "identity" },
        "events": envelope.events,
        "plan": { "segment": selection(&envelope.plan.events.segment), "rudderstack": selection(&envelope.plan.events.rudderstack) },
    })
}

/// The body as JSON, inflated; None when it is none. Without its keys when they are to be masked.
fn body_of(envelope: &Envelope, keys: Keys) -> Option<Box<RawValue>> {
    let limits = InflateLimits { bytes_max: INFLATED_BYTES_MAX, ratio_max: usize::MAX };
    let plain = match envelope.encoding {
        Encoding::Identity => Cow::Borrowed(&envelope.body[..]),
        Encoding::Gzip => Cow::Owned(inflate(&envelope.body, limits).ok()?),
    };
    shown_json(std::str::from_utf8(&plain).ok()?, keys)
}

fn shown_json(text: &str, keys: Keys) -> Option<Box<RawValue>> {
    // A line is a line: newlines between the parts of a body go.
    let is_one_line = !text.contains(['\n', '\r']);
    match keys {
        Keys::Shown if is_one_line => RawValue::from_string(text.trim().to_owned()).ok(),
        Keys::Shown => serde_json::value::to_raw_value(&serde_json::from_str::<Value>(text).ok()?).ok(),
        Keys::Masked => {
            let mut value: Value = serde_json::from_str(text).ok()?;
            let found = mask(&mut value);
            // As it stands where nothing had to be masked: numbers and order stay the client's.
            if found == 0 && is_one_line {
                RawValue::from_string(text.trim().to_owned()).ok()
            } else {
                serde_json::value::to_raw_value(&value).ok()
            }
        }
    }
}

/// Masks every key in it; returns how many there were.
fn mask(value: &mut Value) -> usize {
    match value {
        Value::Object(members) => members
            .iter_mut()
            .map(|(name, member)| match member {
                Value::String(key) if KEY_NAMES.contains(&name.as_str()) => {
                    *key = Secret::new(std::mem::take(key)).hint();
                    1
                }
                member => mask(member),
            })
            .sum(),
        Value::Array(items) => items.iter_mut().map(mask).sum(),
        _ => 0,
    }
}

/// A path whose query shows no key; a pixel's `data` carries a whole event, so that it goes too.
fn masked_query(path: &str) -> Cow<'_, str> {
    let Some((path, query)) = path.split_once('?') else { return Cow::Borrowed(path) };
    let mut masked = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_secret = KEY_NAMES.contains(&name.as_ref()) || name == "data";
        masked.append_pair(&name, if is_secret { "..." } else { &value });
    }
    Cow::Owned(format!("{path}?{}", masked.finish()))
}

fn quarantined_json(lane: &LaneId, item: &Quarantined, keys: Keys) -> Line {
    let facts = json!({
        "schema": "segue.journal-quarantined/v1",
        "position": item.position.to_string(),
        "index": item.index,
        "source": lane.source.as_str(),
        "destination": lane.destination.label(),
        "at": item.at.to_rfc3339(),
        "reason": item.reason,
        "status": item.status,
        "answer": item.answer,
    });
    Line { facts, body: std::str::from_utf8(&item.event).ok().and_then(|text| shown_json(text, keys)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked_wherever_they_stand_and_nothing_else_changes() {
        let table = [
            (r#"{"a":12345678901234567890123,"b":1.10}"#, r#"{"a":12345678901234567890123,"b":1.10}"#),
            (r#"{"writeKey":"wk_test_segment_9f2c"}"#, r#"{"writeKey":"...9f2c"}"#),
            (r#"{"write\u004bey":"wk_test_segment_9f2c"}"#, r#"{"writeKey":"...9f2c"}"#),
            (r#"{"batch":[{"write_key":"wk_test_segment_9f2c"}]}"#, r#"{"batch":[{"write_key":"...9f2c"}]}"#),
            ("{\n\"a\": 1\n}", r#"{"a":1}"#),
        ];
        for (text, want) in table {
            assert_eq!(shown_json(text, Keys::Masked).unwrap().get(), want, "{text}");
        }
        assert!(shown_json("no json", Keys::Masked).is_none());
        assert_eq!(masked_query("/v1/pixel/track?writeKey=wk_test_segment_9f2c&x=1"), "/v1/pixel/track?writeKey=...&x=1");
        assert_eq!(masked_query("/v1/pixel/track?data=eyJ9&x=1"), "/v1/pixel/track?data=...&x=1");
        assert_eq!(masked_query("/v1/track"), "/v1/track");
    }
}
