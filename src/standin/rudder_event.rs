//! What RudderStack makes of events: the gateway's checks and additions (protocol.md 2.4), then the processor's times (2.5).

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use crate::model::{
    WallTime,
    json::{Kind, Raw, parse},
};

use super::{Times, Verdict, book::Judged, exchange::Detail, identity, moment, object::Object, rudder_answer::Refusal};

/// What all events of a request share.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    pub source: Arc<str>,
    /// Where the request came from.
    pub request_ip: String,
    pub received_at: WallTime,
    pub detail: Detail,
}

/// A call of one event: its `type` is what the path says, and it is a batch of one.
pub(super) fn single(body: &[u8], kind: &str, intake: &Intake) -> Result<Vec<Judged>, Refusal> {
    let event = parse(body).map_err(|_| Refusal::InvalidJson)?;
    if event.kind() == Kind::Array {
        return Err(Refusal::NotRudderEvent);
    }
    // A scalar is replaced by an object that has nothing but the type.
    let mut typed = Object::of(event);
    typed.set_string("type", kind);
    let typed = typed.text();
    let wrapped_bytes = typed.len() + "{\"batch\":[]}".len();
    let item = parse(typed.as_bytes()).map_err(|_| Refusal::InvalidJson)?;
    let mut taken = take(&[item], wrapped_bytes, intake)?;
    if intake.detail == Detail::Whole {
        for one in &mut taken {
            event.text().clone_into(&mut one.json);
        }
    }
    Ok(taken)
}

/// A batch: only the member `batch` counts. Something else than an array there is an array of that one thing.
pub(super) fn batch(body: &[u8], intake: &Intake) -> Result<Vec<Judged>, Refusal> {
    let whole = parse(body).map_err(|_| Refusal::InvalidJson)?;
    take(&items(whole), body.len(), intake)
}

/// What a webhook source's transformer that changes nothing hands back: one event or an array of them.
pub(super) fn webhook(body: &[u8], intake: &Intake) -> Result<Vec<Judged>, Refusal> {
    let whole = parse(body).map_err(|_| Refusal::InvalidJson)?;
    let items: Vec<Raw<'_>> = if whole.kind() == Kind::Array { whole.items().collect() } else { vec![whole] };
    take(&items, body.len(), intake)
}

/// The batches that an import falls into, one for each pair of ids, in order of first sight.
pub(super) fn users(body: &[u8]) -> Result<Vec<String>, Refusal> {
    let whole = parse(body).map_err(|_| Refusal::InvalidJson)?;
    let mut groups: Vec<Vec<&str>> = Vec::new();
    let mut places = HashMap::new();
    for item in items(whole) {
        let id = |name: &str| item.get(name).map(plain).unwrap_or_default();
        let place = *places.entry((id("userId"), id("anonymousId"))).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(item.text()),
            None => groups.push(vec![item.text()]),
        }
    }
    Ok(groups.into_iter().map(|group| format!("{{\"batch\":[{}]}}", group.join(","))).collect())
}

fn items(whole: Raw<'_>) -> Vec<Raw<'_>> {
    match whole.get("batch") {
        None => Vec::new(),
        Some(batch) if batch.is_null() => Vec::new(),
        Some(batch) if batch.kind() == Kind::Array => batch.items().collect(),
        Some(other) => vec![other],
    }
}

/// All or nothing, checked in the gateway's order: each event, then the size, then whether there was any.
fn take(items: &[Raw<'_>], body_bytes: usize, intake: &Intake) -> Result<Vec<Judged>, Refusal> {
    let mut request_ip = intake.request_ip.clone();
    let mut taken = Vec::with_capacity(items.len());
    let mut audience_list = false;
    for item in items {
        if item.kind() != Kind::Object {
            return Err(Refusal::NotRudderEvent);
        }
        let kind = item.get("type").and_then(Raw::string).unwrap_or_default();
        audience_list |= kind == "audiencelist";
        if let Some(own) = item.get("request_ip") {
            // The quirk: an event's own address is from here on the request's. One that is no string empties it.
            request_ip = own.string().unwrap_or_default().into_owned();
        }
        taken.push(judge(*item, &kind, intake)?);
    }
    if body_bytes > REQUEST_BYTES_MAX && !audience_list {
        return Err(Refusal::TooLarge);
    }
    if taken.is_empty() {
        return Err(Refusal::EmptyBatch);
    }
    if intake.detail == Detail::Whole {
        for (event, item) in taken.iter_mut().zip(items) {
            item.text().clone_into(&mut event.json);
            event.handed_on = Some(hand_on(*item, event, &request_ip));
        }
    }
    Ok(taken)
}

/// The event as the processor has it: it puts the request's address, which is the last one seen, onto every event.
fn hand_on(item: Raw<'_>, event: &Judged, request_ip: &str) -> String {
    let Times { timestamp, original_timestamp, received_at, sent_at } = event.times;
    let (user_id, anonymous_id) = (event.user_id.as_deref().unwrap_or_default(), event.anonymous_id.as_deref().unwrap_or_default());
    let mut out = Object::of(item);
    out.set_string("rudderId", &identity::rudder_id(user_id, anonymous_id));
    out.set_string("messageId", &event.message_id);
    let own = |name: &str| item.get(name).and_then(Raw::string);
    let times = [("timestamp", timestamp), ("originalTimestamp", original_timestamp), ("sentAt", sent_at.unwrap_or(received_at))];
    for (name, moment) in times {
        out.set_string(name, &moment::print(moment, own(name).as_deref()));
    }
    out.set_string("receivedAt", &received_at.to_rfc3339());
    out.set_string("request_ip", request_ip);
    numbers_as_go(&out.text())
}

/// The same JSON with each number as Go prints it: the gateway reads events into maps of float64 and writes them anew, so whole
/// numbers above 2^53 lose their last digits (protocol.md T31).
fn numbers_as_go(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|one: char| one == '"' || one == '-' || one.is_ascii_digit()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end =
            if rest.starts_with('"') { string_end(rest) } else { rest.find(|one: char| ",]} \n\r\t".contains(one)).unwrap_or(rest.len()) };
        match rest[..end].parse::<f64>() {
            Ok(number) if number.is_finite() && !rest.starts_with('"') => out.push_str(&printed_as_go(number)),
            _ => out.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Where the valid JSON string that `text` begins with ends.
fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

fn judge(event: Raw<'_>, kind: &str, intake: &Intake) -> Result<Judged, Refusal> {
    let id = |name: &str| event.get(name).map(|id| sanitized(&stringified(id))).unwrap_or_default();
    let (user_id, anonymous_id) = (id("userId"), id("anonymousId"));
    let identifiable = !user_id.is_empty() || !anonymous_id.is_empty() || kind == "extract" || kind == "rETL";
    if !identifiable {
        return Err(Refusal::NonIdentifiable);
    }
    // A messageId that is no string counts as none.
    let given = event.get("messageId").and_then(Raw::string).map(|id| sanitized(&id)).unwrap_or_default();
    let message_id = if given.is_empty() { identity::fresh() } else { given };
    Ok(Judged {
        message_id,
        kind: kind.to_owned(),
        name: event.get("event").and_then(Raw::string).map(Cow::into_owned),
        source: Arc::clone(&intake.source),
        user_id: Some(user_id).filter(|id| !id.is_empty()),
        anonymous_id: Some(anonymous_id).filter(|id| !id.is_empty()),
        verdict: Verdict::Accepted,
        times: times(event, intake.received_at),
        json: String::new(),
        handed_on: None,
    })
}

/// The event's own `timestamp` when it can be read, never corrected; else `receivedAt - (sentAt - originalTimestamp)`, where
/// both default to `receivedAt`, which is always the gateway's.
fn times(event: Raw<'_>, received_at: WallTime) -> Times {
    let read = |name: &str| event.get(name)?.string().and_then(|text| moment::read(&text));
    let original_timestamp = read("originalTimestamp").unwrap_or(received_at);
    let sent_at = read("sentAt").unwrap_or(received_at);
    let computed = received_at.plus_millis(original_timestamp.millis_since(sent_at));
    Times { timestamp: read("timestamp").unwrap_or(computed), original_timestamp, received_at, sent_at: Some(sent_at) }
}

/// An id as the gateway reads it: a string is itself, null is nothing, a number is printed as Go prints a float64, and the rest
/// is its JSON.
fn stringified(id: Raw<'_>) -> String {
    match id.kind() {
        Kind::Null => String::new(),
        Kind::String => id.string().unwrap_or_default().into_owned(),
        Kind::Number => id.text().parse().map_or_else(|_| id.text().to_owned(), printed_as_go),
        Kind::Bool | Kind::Array | Kind::Object => id.text().to_owned(),
    }
}

/// An id as the import's grouping reads it: unlike [`stringified`] a number keeps its text.
fn plain(id: Raw<'_>) -> String {
    match id.kind() {
        Kind::Null => String::new(),
        _ => id.string().map_or_else(|| id.text().to_owned(), Cow::into_owned),
    }
}

fn printed_as_go(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return if text.contains("e-") { text } else { text.replace('e', "e+") };
    }
    format!("{number}")
}

/// Without characters that cannot be seen, and trimmed.
fn sanitized(text: &str) -> String {
    let visible: String = text.chars().filter(|one| !is_invisible(*one)).collect();
    visible.trim().to_owned()
}

/// What rudder-go-kit's `sanitize` removes: what Go's `unicode.IsPrint` refuses (control, format, and all white space but the
/// ASCII one) and a list of blanks that it would print. Unassigned characters are not looked up.
fn is_invisible(one: char) -> bool {
    one.is_control()
        || (one.is_whitespace() && one != ' ')
        || matches!(one,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{e000}'..='\u{f8ff}')
}

/// `Gateway.maxReqSizeInKB`, 4000 KB of inflated body (protocol.md 2.3).
const REQUEST_BYTES_MAX: usize = 4000 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::object::quoted, *};

    fn intake() -> Intake {
        Intake {
            source: "wk_test_a".into(),
            request_ip: "192.0.2.1".to_owned(),
            received_at: WallTime::parse("2026-11-23T12:00:10.000Z").unwrap(),
            detail: Detail::Whole,
        }
    }

    fn refused(body: &str) -> Refusal {
        batch(body.as_bytes(), &intake()).unwrap_err()
    }

    #[test]
    fn ids_are_stringified_and_sanitized() {
        let table = [
            (r#""u""#, "u"),
            ("null", ""),
            ("7", "7"),
            ("1.50", "1.5"),
            ("1e21", "1e+21"),
            ("0.0000001", "1e-7"),
            ("9007199254740993", "9007199254740992"),
            ("true", "true"),
            (r#""  a b\u200b\t ""#, "a b"),
            (r#""\ufeff\u00a0""#, ""),
        ];
        for (text, want) in table {
            assert_eq!(sanitized(&stringified(parse(text.as_bytes()).unwrap())), want, "{text}");
        }
    }

    #[test]
    fn numbers_go_through_float64() {
        let table = [
            (r#"{"a":9007199254740993,"b":[1.50,-0,1e2]}"#, r#"{"a":9007199254740992,"b":[1.5,-0,100]}"#),
            (r#"{"9007199254740993":"1.50 \" 2.50","c":true,"d":1}"#, r#"{"9007199254740993":"1.50 \" 2.50","c":true,"d":1}"#),
            // Beyond a float64 Go's parser gives up and the gateway's has its own ways: it is left as it came.
            ("[1e400]", "[1e400]"),
        ];
        for (text, want) in table {
            assert_eq!(numbers_as_go(text), want);
        }
    }

    proptest! {
        #[test]
        fn any_json_is_taken_or_refused(text in r#"[\[\]{}",:0-9eE+.\-a-z \\]{0,40}"#, id in ".{0,12}", number in any::<f64>()) {
            let (id, sent) = (quoted(&id), quoted(&text));
            let body = format!(r#"{{"batch":[{{"userId":{id},"p":{sent}}},{{"anonymousId":{number},"sentAt":{sent},"timestamp":{id}}}]}}"#);
            for body in [body.as_bytes(), text.as_bytes(), id.as_bytes()] {
                let outcomes = [batch(body, &intake()), single(body, "track", &intake()), webhook(body, &intake())];
                for event in outcomes.into_iter().flatten().flatten() {
                    prop_assert!(parse(event.handed_on.unwrap().as_bytes()).is_ok());
                }
                let _ = users(body);
            }
        }
    }

    #[test]
    fn one_bad_event_refuses_the_whole_batch() {
        assert_eq!(refused(r#"{"batch":[{"userId":"u"},{"userId":null,"anonymousId":" "}]}"#), Refusal::NonIdentifiable);
        assert_eq!(refused(r#"{"batch":[{"userId":"u"},7]}"#), Refusal::NotRudderEvent);
        assert_eq!(refused(r#"{"batch":[]}"#), Refusal::EmptyBatch);
        assert_eq!(refused(r#"{"userId":"u"}"#), Refusal::EmptyBatch);
        assert_eq!(refused("{"), Refusal::InvalidJson);
        let big = format!(r#"{{"batch":[{{"userId":"u","p":"{}"}}]}}"#, "x".repeat(REQUEST_BYTES_MAX));
        assert_eq!(refused(&big), Refusal::TooLarge);
        let big = big.replace("\"u\"", "\"\"");
        assert_eq!(refused(&big), Refusal::NonIdentifiable, "ids are looked at before the size");
    }

    #[test]
    fn an_address_in_an_event_overwrites_that_of_the_request() {
        let body = r#"{"batch":[{"userId":"a"},{"userId":"b","request_ip":"198.51.100.7"},{"userId":"c"}]}"#;
        for event in batch(body.as_bytes(), &intake()).unwrap() {
            assert!(event.handed_on.unwrap().contains(r#""request_ip":"198.51.100.7""#));
        }
    }

    #[test]
    fn a_timestamp_is_used_as_it_is_and_else_computed() {
        let table = [
            (r#"{"timestamp":"2020-01-02T03:04:05Z","sentAt":"2026-11-23T11:00:03Z"}"#, "2020-01-02T03:04:05.000Z"),
            (r#"{"originalTimestamp":"2026-11-23T11:00:00Z","sentAt":"2026-11-23T11:00:03Z"}"#, "2026-11-23T12:00:07.000Z"),
            (r#"{"originalTimestamp":"2026-11-23T11:00:00Z"}"#, "2026-11-23T11:00:00.000Z"),
            (r#"{"timestamp":"soon"}"#, "2026-11-23T12:00:10.000Z"),
        ];
        for (text, want) in table {
            assert_eq!(times(parse(text.as_bytes()).unwrap(), intake().received_at).timestamp.to_rfc3339(), want, "{text}");
        }
    }

    #[test]
    fn an_import_falls_into_one_batch_a_user() {
        let body = r#"{"batch":[{"userId":"a","n":1},{"userId":"b"},{"userId":"a","n":2},{"anonymousId":"a"}]}"#;
        let want = [
            r#"{"batch":[{"userId":"a","n":1},{"userId":"a","n":2}]}"#,
            r#"{"batch":[{"userId":"b"}]}"#,
            r#"{"batch":[{"anonymousId":"a"}]}"#,
        ];
        assert_eq!(users(body.as_bytes()).unwrap(), want);
    }
}
