//! What Segment makes of one event: why it drops it, when it thinks it happened, and what it hands on (protocol.md 1.6, 1.10).

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use crate::model::{
    WallTime,
    json::{Kind, Raw, parse},
};

use super::{
    DropCode, Times, Verdict,
    book::Judged,
    exchange::{Arrived, Detail},
    identity,
    object::{Object, quoted},
    segment::EVENT_BYTES_MAX,
};

/// Whose endpoint it came by: Segment fills `context.ip` for clients only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What all events of a request share.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// The type that the path says; None in a batch.
    kind: Option<&'static str>,
    /// The batch's own, which lie beneath those of its events.
    context: Option<Raw<'a>>,
    integrations: Option<Raw<'a>>,
    /// The batch's own, for events without.
    sent_at: Option<WallTime>,
    side: Side,
    peer: IpAddr,
    received_at: WallTime,
    source: Arc<str>,
    detail: Detail,
    /// Why all of them are dropped, if they are.
    pub all: Option<DropCode>,
}

impl<'a> Frame<'a> {
    pub fn single(kind: &'static str, side: Side, arrived: &Arrived, all: Option<DropCode>, source: &str) -> Self {
        Self {
            kind: Some(kind),
            context: None,
            integrations: None,
            sent_at: None,
            side,
            peer: arrived.peer,
            received_at: arrived.at,
            source: source.into(),
            detail: Detail::Whole,
            all,
        }
    }

    pub fn batch(batch: Raw<'a>, side: Side, arrived: &Arrived, all: Option<DropCode>, source: &str) -> Self {
        let object = |name: &str| batch.get(name).filter(|own| own.kind() == Kind::Object);
        let (context, integrations) = (object("context"), object("integrations"));
        Self { kind: None, context, integrations, sent_at: moment(batch, "sentAt"), ..Self::single("", side, arrived, all, source) }
    }

    /// The same, of which so much is made.
    pub fn detailed(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }
}

/// The six types, by their names.
pub(super) fn kind(name: &str) -> Option<&'static str> {
    ["track", "identify", "page", "screen", "group", "alias"].into_iter().find(|kind| *kind == name)
}

/// Judges one event.
pub(super) fn judge(event: Raw<'_>, frame: &Frame<'_>) -> Judged {
    let text = |name: &str| event.get(name).and_then(Raw::string).map(Cow::into_owned).filter(|text| !text.is_empty());
    let message_id = text("messageId").unwrap_or_else(identity::fresh);
    let times = times(event, frame);
    let drop = frame.all.or_else(|| refuse(event, frame));
    let whole = frame.detail == Detail::Whole;
    let handed_on = (whole && drop.is_none()).then(|| hand_on(event, frame, &message_id, &times));
    Judged {
        message_id,
        kind: frame.kind.map(str::to_owned).or_else(|| text("type")).unwrap_or_default(),
        name: text("event"),
        source: Arc::clone(&frame.source),
        user_id: text("userId"),
        anonymous_id: text("anonymousId"),
        verdict: drop.map_or(Verdict::Accepted, Verdict::Dropped),
        times,
        json: if whole { event.text().to_owned() } else { String::new() },
        handed_on,
    }
}

/// Why Segment drops the event after its 200, by the codes of protocol.md 1.6; the order among several faults is not known.
fn refuse(event: Raw<'_>, frame: &Frame<'_>) -> Option<DropCode> {
    if event.kind() != Kind::Object {
        return Some(DropCode::EventNotObject);
    }
    if event.text().len() > EVENT_BYTES_MAX {
        return Some(DropCode::EventTooLarge);
    }
    let kind = match (frame.kind, event.get("type").filter(|kind| !kind.is_null())) {
        (Some(kind), _) => kind,
        (None, None) => return Some(DropCode::MissingType),
        (None, Some(named)) => match named.string().and_then(|name| kind(&name)) {
            Some(kind) => kind,
            None => return Some(DropCode::InvalidType),
        },
    };
    refuse_ids(event).or_else(|| refuse_fields(event, kind))
}

fn refuse_ids(event: Raw<'_>) -> Option<DropCode> {
    let mut ids = ["userId", "anonymousId"].into_iter().filter_map(|name| event.get(name)).filter(|id| !id.is_null()).peekable();
    if ids.peek().is_none() {
        return Some(DropCode::NoUserAnonId);
    }
    ids.any(|id| id.string().is_none_or(|text| text.is_empty())).then_some(DropCode::IdNotString)
}

fn refuse_fields(event: Raw<'_>, kind: &str) -> Option<DropCode> {
    let set = |name: &str| event.get(name).filter(|value| !value.is_null());
    let not_object = |name: &str| set(name).is_some_and(|value| value.kind() != Kind::Object);
    let not_string = |name: &str| set(name).is_some_and(|value| value.string().is_none_or(|text| text.is_empty()));
    match kind {
        "track" => match set("event") {
            None => Some(DropCode::EventNotDefined),
            Some(name) if name.kind() != Kind::String => Some(DropCode::EventNotString),
            Some(name) if name.text() == "\"\"" => Some(DropCode::EventNotDefined),
            Some(_) => not_object("properties").then_some(DropCode::PropertiesNotObject),
        },
        "page" | "screen" if not_string("name") => Some(DropCode::NameNotString),
        "page" | "screen" if not_string("category") => Some(DropCode::CategoryNotString),
        "page" | "screen" => not_object("properties").then_some(DropCode::PropertiesNotObject),
        "identify" | "group" => not_object("traits").then_some(DropCode::TraitsNotObject),
        _ => None,
    }
}

/// `timestamp = receivedAt - (sentAt - originalTimestamp)`. Without the client's timestamp it is the server's time; without
/// `sentAt` there is nothing to correct by and the client's timestamp stands.
fn times(event: Raw<'_>, frame: &Frame<'_>) -> Times {
    let sent_at = moment(event, "sentAt").or(frame.sent_at);
    let received_at = frame.received_at;
    let Some(original_timestamp) = moment(event, "timestamp") else {
        return Times { timestamp: received_at, original_timestamp: received_at, received_at, sent_at };
    };
    let timestamp = match sent_at {
        Some(sent_at) => received_at.plus_millis(original_timestamp.millis_since(sent_at)),
        None => original_timestamp,
    };
    Times { timestamp, original_timestamp, received_at, sent_at }
}

fn moment(of: Raw<'_>, name: &str) -> Option<WallTime> {
    of.get(name)?.string().and_then(|text| WallTime::parse(&text))
}

fn hand_on(event: Raw<'_>, frame: &Frame<'_>, message_id: &str, times: &Times) -> String {
    let mut out = Object::of(event);
    out.remove("writeKey");
    if let Some(kind) = frame.kind {
        out.set_string("type", kind);
    }
    for (name, under) in [("context", frame.context), ("integrations", frame.integrations)] {
        let Some(under) = under else { continue };
        let mut merged = out.get(name).and_then(|own| parse(own.as_bytes()).ok()).map_or_else(Object::default, Object::of);
        merged.merge_under(under);
        let merged = merged.text();
        out.set(name, merged);
    }
    fill_ip(&mut out, frame);
    out.set_string("messageId", message_id);
    out.set_string("timestamp", &times.timestamp.to_rfc3339());
    out.set_string("originalTimestamp", &times.original_timestamp.to_rfc3339());
    out.set_string("receivedAt", &times.received_at.to_rfc3339());
    if let Some(sent_at) = times.sent_at {
        out.set_string("sentAt", &sent_at.to_rfc3339());
    }
    let channel = match frame.side {
        Side::Client => "client",
        Side::Server => "server",
    };
    out.set_string("channel", channel);
    out.text()
}

/// Sets `context.ip` from the connection: for clients' endpoints, or when the event says `context.direct`. IPv6 is not
/// collected. Whether the real one looks at X-Forwarded-For is not known; this one does not.
fn fill_ip(out: &mut Object, frame: &Frame<'_>) {
    let mut context = out.get("context").and_then(|own| parse(own.as_bytes()).ok()).map_or_else(Object::default, Object::of);
    let direct = context.get("direct") == Some("true");
    if (frame.side == Side::Server && !direct) || context.get("ip").is_some_and(|ip| ip != "null") {
        return;
    }
    if let IpAddr::V4(peer) = frame.peer.to_canonical() {
        context.set("ip", quoted(&peer.to_string()));
        out.set("context", context.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(all: Option<DropCode>) -> Frame<'static> {
        Frame {
            kind: None,
            context: None,
            integrations: None,
            sent_at: None,
            side: Side::Server,
            peer: IpAddr::from([203, 0, 113, 9]),
            received_at: WallTime::parse("2026-11-23T12:00:10.000Z").unwrap(),
            source: "wk_test_a".into(),
            detail: Detail::Whole,
            all,
        }
    }

    #[test]
    fn each_drop_code_has_its_reason() {
        let big = format!(r#"{{"type":"track","event":"E","userId":"u","properties":{{"p":"{}"}}}}"#, "x".repeat(EVENT_BYTES_MAX));
        let table = [
            (r#"{"type":"track","event":"E","userId":"u"}"#, None),
            (r#"{"type":"track","event":"E","userId":null,"anonymousId":"a","properties":null}"#, None),
            (r#"{"type":"alias","userId":"u"}"#, None),
            (r#"{"type":"track","event":"E"}"#, Some(DropCode::NoUserAnonId)),
            (r#"{"type":"track","event":"E","userId":null}"#, Some(DropCode::NoUserAnonId)),
            (r#"{"type":"track","event":"E","userId":""}"#, Some(DropCode::IdNotString)),
            (r#"{"type":"track","event":"E","userId":"u","anonymousId":7}"#, Some(DropCode::IdNotString)),
            (r#"{"type":"track","userId":"u"}"#, Some(DropCode::EventNotDefined)),
            (r#"{"type":"track","userId":"u","event":""}"#, Some(DropCode::EventNotDefined)),
            (r#"{"type":"track","userId":"u","event":1}"#, Some(DropCode::EventNotString)),
            (r#"{"type":"track","userId":"u","event":"E","properties":[]}"#, Some(DropCode::PropertiesNotObject)),
            (r#"{"type":"identify","userId":"u","traits":"t"}"#, Some(DropCode::TraitsNotObject)),
            (r#"{"type":"group","userId":"u","traits":1}"#, Some(DropCode::TraitsNotObject)),
            (r#"{"type":"page","userId":"u","name":1}"#, Some(DropCode::NameNotString)),
            (r#"{"type":"screen","userId":"u","category":{}}"#, Some(DropCode::CategoryNotString)),
            (r#"{"type":"page","userId":"u","properties":1}"#, Some(DropCode::PropertiesNotObject)),
            (r#"{"userId":"u"}"#, Some(DropCode::MissingType)),
            (r#"{"type":"Track","userId":"u","event":"E"}"#, Some(DropCode::InvalidType)),
            ("[]", Some(DropCode::EventNotObject)),
            (big.as_str(), Some(DropCode::EventTooLarge)),
        ];
        for (text, want) in table {
            let judged = judge(parse(text.as_bytes()).unwrap(), &frame(None));
            assert_eq!(judged.verdict, want.map_or(Verdict::Accepted, Verdict::Dropped), "{}", &text[..text.len().min(80)]);
            assert_eq!(judged.handed_on.is_some(), want.is_none());
        }
    }

    #[test]
    fn times_follow_the_formula() {
        let table = [
            (r#"{"timestamp":"2026-11-23T11:00:00Z","sentAt":"2026-11-23T11:00:03Z"}"#, "2026-11-23T12:00:07.000Z"),
            (r#"{"timestamp":"2026-11-23T11:00:00Z"}"#, "2026-11-23T11:00:00.000Z"),
            (r#"{"sentAt":"2026-11-23T11:00:03Z"}"#, "2026-11-23T12:00:10.000Z"),
            (r#"{"timestamp":1795470595870,"sentAt":"2026-11-23T11:00:03Z"}"#, "2026-11-23T12:00:10.000Z"),
            ("{}", "2026-11-23T12:00:10.000Z"),
        ];
        for (text, want) in table {
            assert_eq!(times(parse(text.as_bytes()).unwrap(), &frame(None)).timestamp.to_rfc3339(), want, "{text}");
        }
    }
}
