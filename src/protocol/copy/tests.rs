//! The copy as Segment would read it.

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{BasicAuth, Endpoint, EnvelopeId, EventKind, Origin, PerDestination, Plan, Revision, SourceId, json::parse};

/// 2026-11-23T21:49:55.870Z
const ARRIVAL: WallTime = WallTime::from_millis(1_795_470_595_870);
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const BROWSER: Endpoint = Endpoint::ClientSingle(EventKind::Track);
const SINGLE: Endpoint = Endpoint::Single(EventKind::Track);

fn envelope(endpoint: Endpoint, body: &str, segment: Selection) -> Envelope {
    Envelope {
        id: EnvelopeId(0xabc),
        source: SourceId::parse("web").unwrap(),
        received_at: ARRIVAL,
        endpoint,
        path: "/v1/x".into(),
        client_ip: Some(IpAddr::from([203, 0, 113, 5])),
        content_type: None,
        user_agent: None,
        retry_count: None,
        basic_auth: BasicAuth::Absent,
        key_print: [0; 8],
        encoding: Encoding::Identity,
        events: 1,
        plan: Plan { revision: Revision(1), events: PerDestination { segment, rudderstack: Selection::All } },
        origin: Origin::Client,
        outline: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn copied(envelope: &Envelope, delay_ms: i64) -> (String, Edits) {
    let inflated = envelope.body.clone();
    let copy = segment_copy(envelope, &inflated, ARRIVAL.plus_millis(delay_ms)).unwrap();
    parse(&copy.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&copy.body)));
    (String::from_utf8(copy.body.to_vec()).unwrap(), copy.edits)
}

/// The copy of a whole body, delivered at once.
fn at_once(endpoint: Endpoint, body: &str) -> (String, Edits) {
    copied(&envelope(endpoint, body, Selection::All), 0)
}

#[test]
fn a_body_that_needs_no_edit_is_the_very_same_bytes() {
    let table = [
        (Endpoint::Batch, "\u{feff} {\"batch\":[{\"messageId\":\"a\",\"n\":1e+21}, 7 ]} \n"),
        (Endpoint::Batch, r#"{"batch":[{"messageId":"a","context":{"direct":false}}]}"#),
        (Endpoint::ClientBatch, r#"{"batch":[{"messageId":"a","context":{"ip":"0.0.0.0"}}]}"#),
        (BROWSER, r#"{"messageId":"a","context":{"ip":"198.51.100.1"}}"#),
        (BROWSER, r#"{"messageId":"a","context":"odd"}"#),
        (Endpoint::Pixel(EventKind::Track), r#"{"messageId":"a","context":{"ip":"198.51.100.1"}}"#),
    ];
    for (endpoint, body) in table {
        let envelope = envelope(endpoint, body, Selection::All);
        let copy = segment_copy(&envelope, &envelope.body, ARRIVAL.plus_millis(1_000)).unwrap();
        assert_eq!(copy.body.as_ptr(), envelope.body.as_ptr(), "no copy was made: {body}");
        assert!(copy.edits.is_none());
    }
}

#[test]
fn t12_a_gzip_body_stays_gzip_unless_it_is_edited() {
    let inflated = br#"{"batch":[{"messageId":"a"},{"messageId":"b"}]}"#;
    let mut envelope = envelope(Endpoint::Batch, "stands for gzip", Selection::All);
    envelope.encoding = Encoding::Gzip;
    let whole = segment_copy(&envelope, inflated, ARRIVAL).unwrap();
    assert_eq!((whole.body, whole.encoding), (envelope.body.clone(), Encoding::Gzip));
    envelope.plan.events.segment = Selection::Some(vec![1]);
    let part = segment_copy(&envelope, inflated, ARRIVAL).unwrap();
    assert_eq!((&part.body[..], part.encoding), (&br#"{"batch":[{"messageId":"b"}]}"#[..], Encoding::Identity));
}

#[test]
fn t07_a_missing_message_id_is_the_one_edit() {
    let id = |index| format!("\"segue-00000000000000000000000000000abc-{index}\"");
    let table = [
        (SINGLE, r#"{"event":"e"}"#.to_owned(), format!(r#"{{"event":"e","messageId":{}}}"#, id(0)), 1),
        (SINGLE, "{ }".to_owned(), format!("{{ \"messageId\":{}}}", id(0)), 1),
        (SINGLE, r#"{"messageId" : null , "a":1}"#.to_owned(), format!(r#"{{"messageId" : {} , "a":1}}"#, id(0)), 1),
        (SINGLE, r#"{"messageId":"  "}"#.to_owned(), format!(r#"{{"messageId":{}}}"#, id(0)), 1),
        (SINGLE, r#"{"messageId":7}"#.to_owned(), r#"{"messageId":7}"#.to_owned(), 0),
        (
            Endpoint::Batch,
            r#"{"batch":[{"a":1},{"messageId":"m"},4,{"p":{"messageId":"no"}}],"z":0}"#.to_owned(),
            format!(
                r#"{{"batch":[{{"a":1,"messageId":{}}},{{"messageId":"m"}},4,{{"p":{{"messageId":"no"}},"messageId":{}}}],"z":0}}"#,
                id(0),
                id(3)
            ),
            2,
        ),
    ];
    for (endpoint, body, want, count) in table {
        let (copy, edits) = at_once(endpoint, &body);
        assert_eq!(copy, want);
        assert_eq!(edits, Edits { message_id: count, ..Edits::default() });
        assert_eq!(at_once(endpoint, &copy), (copy.clone(), Edits::default()), "a second pass finds nothing to do");
    }
}

#[test]
fn t13_the_clients_ip_stands_in_for_the_connections() {
    let table = [
        (BROWSER, r#"{"messageId":"a"}"#, r#"{"messageId":"a","context":{"ip":"203.0.113.5"}}"#),
        (BROWSER, r#"{"messageId":"a","context":{}}"#, r#"{"messageId":"a","context":{"ip":"203.0.113.5"}}"#),
        (BROWSER, r#"{"context":{"a":[1] },"messageId":"a"}"#, r#"{"context":{"a":[1] ,"ip":"203.0.113.5"},"messageId":"a"}"#),
        (BROWSER, r#"{"messageId":"a","context":null}"#, r#"{"messageId":"a","context":{"ip":"203.0.113.5"}}"#),
        (BROWSER, r#"{"messageId":"a","context":{"ip":null}}"#, r#"{"messageId":"a","context":{"ip":"203.0.113.5"}}"#),
        // The batch's context is the events' too.
        (
            Endpoint::ClientBatch,
            r#"{"batch":[{"messageId":"a"},{"messageId":"b"}],"context":{"library":{}}}"#,
            r#"{"batch":[{"messageId":"a"},{"messageId":"b"}],"context":{"library":{},"ip":"203.0.113.5"}}"#,
        ),
        (
            Endpoint::ClientBatch,
            r#"{"context":{"x":1},"batch":[{"messageId":"a","context":{"y":1}}]}"#,
            r#"{"context":{"x":1},"batch":[{"messageId":"a","context":{"y":1,"ip":"203.0.113.5"}}]}"#,
        ),
        // A server asks for it.
        (
            Endpoint::Batch,
            r#"{"batch":[{"messageId":"a","context":{"direct":true}},{"messageId":"b"}]}"#,
            r#"{"batch":[{"messageId":"a","context":{"direct":true,"ip":"203.0.113.5"}},{"messageId":"b"}]}"#,
        ),
        (
            Endpoint::Batch,
            r#"{"batch":[{"messageId":"a"}],"context":{"\u0064irect":true}}"#,
            r#"{"batch":[{"messageId":"a"}],"context":{"\u0064irect":true,"ip":"203.0.113.5"}}"#,
        ),
    ];
    for (endpoint, body, want) in table {
        let (copy, edits) = at_once(endpoint, body);
        assert_eq!(copy, want);
        assert!(edits.client_ip > 0 && edits.message_id == 0, "{edits:?}");
        assert_eq!(at_once(endpoint, &copy).1, Edits::default(), "a second pass finds nothing to do");
    }
}

#[test]
fn t14_no_ipv6_goes_to_segment() {
    let mut envelope = envelope(BROWSER, r#"{"messageId":"a"}"#, Selection::All);
    envelope.client_ip = Some("2001:db8::1".parse().unwrap());
    assert_eq!(copied(&envelope, 0).1, Edits::default());
    envelope.client_ip = Some("::ffff:203.0.113.5".parse().unwrap());
    assert!(copied(&envelope, 0).0.contains(r#""ip":"203.0.113.5""#));
}

#[test]
fn events_of_rudderstack_alone_are_cut_out_and_the_rest_is_untouched() {
    let table: [(&[u16], &str); 7] = [
        (&[0], r#"{ "batch" : [ {"messageId":"a"} ] , "z":1}"#),
        (&[1], r#"{ "batch" : [ {"messageId":"b"} ] , "z":1}"#),
        (&[3], r#"{ "batch" : [ {"messageId":"d"} ] , "z":1}"#),
        (&[0, 3], r#"{ "batch" : [ {"messageId":"a"} , {"messageId":"d"} ] , "z":1}"#),
        (&[0, 1], r#"{ "batch" : [ {"messageId":"a"} ,5 ] , "z":1}"#),
        (&[1, 2], r#"{ "batch" : [ {"messageId":"b"},  {"messageId":"c"} ] , "z":1}"#),
        (&[], ""),
    ];
    for (kept, want) in table {
        let body = if kept == [0, 1] {
            r#"{ "batch" : [ {"messageId":"a"} ,5,  {"messageId":"c"}, {"messageId":"d"} ] , "z":1}"#
        } else {
            r#"{ "batch" : [ {"messageId":"a"} , {"messageId":"b"},  {"messageId":"c"}, {"messageId":"d"} ] , "z":1}"#
        };
        let mut envelope = envelope(Endpoint::Batch, body, Selection::of(kept.to_vec(), 4));
        envelope.events = 4;
        let copy = segment_copy(&envelope, &envelope.body, ARRIVAL).unwrap();
        assert_eq!(String::from_utf8_lossy(&copy.body), want);
        assert_eq!(copy.edits, Edits { cut: 4 - u32::try_from(kept.len()).unwrap(), ..Edits::default() });
    }
}

/// Which of two `sentAt` Segment takes is not published: either must come out right. Only an event without a time of its
/// own, between two that differ, has to be dated by one of them: its own.
#[derive(Clone, Copy, Debug)]
enum Precedence {
    Event,
    Batch,
}

/// Segment's formula (protocol.md 1.10).
fn dated(body: &Value, event: &Value, received_at: WallTime, precedence: Precedence) -> WallTime {
    let time = |value: &Value| value.as_str().and_then(WallTime::parse);
    let Some(original) = time(&event["timestamp"]).or_else(|| time(&event["originalTimestamp"])) else { return received_at };
    let (own, shared) = (time(&event["sentAt"]), time(&body["sentAt"]));
    let sent_at = match precedence {
        Precedence::Event => own.or(shared),
        Precedence::Batch => shared.or(own),
    };
    received_at.plus_millis(original.millis_since(sent_at.unwrap_or(received_at)))
}

fn with(mut object: Value, name: &str, value: Option<WallTime>) -> Value {
    if let Some(value) = value {
        object[name] = json!(value.to_rfc3339());
    }
    object
}

#[test]
fn t02_late_events_are_dated_as_if_they_had_come_in_time() {
    let age_ms = 40_000;
    for skew_ms in [0, HOUR_MS, -HOUR_MS, 3 * DAY_MS, -3 * DAY_MS] {
        for delay_ms in [0, 900, 1_500, HOUR_MS, DAY_MS] {
            for (own, shared) in [(true, false), (false, true), (true, true), (false, false)] {
                for stamp in ["timestamp", "originalTimestamp", ""] {
                    let sent = ARRIVAL.plus_millis(skew_ms);
                    let happened = (!stamp.is_empty()).then(|| sent.plus_millis(-age_ms));
                    let event = with(json!({"messageId":"a","userId":"u"}), stamp, happened);
                    let event = with(event, "sentAt", own.then_some(sent));
                    // Without an own sentAt beside it, a batch's may be older than the event's: a file that waited.
                    let shared_sent = if own { sent.plus_millis(-5_000) } else { sent };
                    let batch = with(json!({"batch":[event, {"messageId":"b"}]}), "sentAt", shared.then_some(shared_sent));
                    check_dates(Endpoint::Batch, &batch, delay_ms);
                    if !shared {
                        check_dates(SINGLE, &event, delay_ms);
                    }
                }
            }
        }
    }
}

/// Checks that each event is dated within 50 ms of what Segment would have said had it got the body when segue did.
fn check_dates(endpoint: Endpoint, body: &Value, delay_ms: i64) {
    let text = body.to_string();
    let (copy, edits) = copied(&envelope(endpoint, &text, Selection::All), delay_ms);
    let copy: Value = serde_json::from_str(&copy).unwrap();
    let events = |body: &Value| body["batch"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
    for (before, after) in events(body).iter().zip(&events(&copy)) {
        let is_between_two = before["sentAt"].is_string() && before.get("timestamp").or(before.get("originalTimestamp")).is_none();
        for precedence in [Precedence::Event, Precedence::Batch].into_iter().take(if is_between_two { 1 } else { 2 }) {
            let wire_ms = 20;
            let in_time = dated(body, before, ARRIVAL.plus_millis(wire_ms), precedence);
            let late = dated(&copy, after, ARRIVAL.plus_millis(delay_ms + wire_ms), precedence);
            let off_ms = late.millis_since(in_time).abs();
            let allowed_ms = if delay_ms > 1_000 { 50 } else { delay_ms };
            assert!(off_ms <= allowed_ms, "{off_ms} ms off, {precedence:?}, {delay_ms} ms late:\n{text}\n{copy}");
        }
    }
    assert_eq!(edits.late_sent_at > 0, delay_ms > 1_000);
}

#[test]
fn t02_the_true_time_comes_out_of_a_wrong_clock_delivered_a_day_late() {
    let (skew_ms, delay_ms) = (3 * DAY_MS, DAY_MS);
    let (sent, happened) = (ARRIVAL.plus_millis(skew_ms), ARRIVAL.plus_millis(skew_ms - 40_000));
    let body = format!(r#"{{"batch":[{{"messageId":"a","timestamp":"{happened}"}},{{"messageId":"b"}}],"sentAt":"{sent}"}}"#);
    let (copy, edits) = copied(&envelope(Endpoint::ClientBatch, &body, Selection::All), delay_ms);
    let copy: Value = serde_json::from_str(&copy).unwrap();
    let now = ARRIVAL.plus_millis(delay_ms);
    assert_eq!(dated(&copy, &copy["batch"][0], now, Precedence::Event), ARRIVAL.plus_millis(-40_000));
    assert_eq!(dated(&copy, &copy["batch"][1], now, Precedence::Event), ARRIVAL);
    assert_eq!(edits.late_sent_at, 2);
}

#[test]
fn t02_what_does_not_read_as_a_time_is_left_alone() {
    let table = [
        (r#"{"messageId":"a","sentAt":"soon","timestamp":"2026-11-23T00:00:00Z"}"#, None),
        (r#"{"messageId":"a","sentAt":17,"timestamp":"2026-11-23T00:00:00Z"}"#, None),
        (
            r#"{"messageId":"a","sentAt":"2026-11-23T00:00:00Z","timestamp":17}"#,
            Some(r#"{"messageId":"a","sentAt":"2026-11-24T00:00:00.000Z","timestamp":17}"#),
        ),
        (
            r#"{"messageId":"a","sentAt":null,"timestamp":null}"#,
            Some(r#"{"messageId":"a","sentAt":"2026-11-24T21:49:55.870Z","timestamp":"2026-11-23T21:49:55.870Z"}"#),
        ),
    ];
    for (body, want) in table {
        let (copy, edits) = copied(&envelope(SINGLE, body, Selection::All), DAY_MS);
        assert_eq!(copy, want.unwrap_or(body));
        assert_eq!(edits.late_sent_at, u32::from(want.is_some()));
    }
}

#[test]
fn t02_a_clock_that_went_backwards_makes_nothing_late() {
    assert_eq!(copied(&envelope(SINGLE, r#"{"messageId":"a"}"#, Selection::All), -HOUR_MS).1, Edits::default());
}

#[test]
fn edits_of_all_classes_fit_together() {
    let body =
        r#"{"sentAt":"2026-11-23T21:49:55.000Z","batch":[{"n":1},{"n":2,"context":{}},{"n":3,"timestamp":"2026-11-23T21:49:50.000Z"}]}"#;
    let (copy, edits) = copied(&envelope(Endpoint::ClientBatch, body, Selection::Some(vec![1, 2])), HOUR_MS);
    let want = concat!(
        r#"{"sentAt":"2026-11-23T22:49:55.000Z","batch":[{"n":2,"context":{"ip":"203.0.113.5"},"#,
        r#""messageId":"segue-00000000000000000000000000000abc-1","timestamp":"2026-11-23T21:49:55.000Z"},"#,
        r#"{"n":3,"timestamp":"2026-11-23T21:49:50.000Z","messageId":"segue-00000000000000000000000000000abc-2","#,
        r#""context":{"ip":"203.0.113.5"}}]}"#
    );
    assert_eq!(copy, want);
    assert_eq!(edits, Edits { message_id: 2, client_ip: 2, late_sent_at: 2, cut: 1 });
}

#[test]
fn a_body_that_cannot_be_read_is_an_error_only_when_an_edit_may_be_needed() {
    let envelope = envelope(Endpoint::Batch, "{", Selection::All);
    assert!(segment_copy(&envelope, b"{", ARRIVAL.plus_millis(HOUR_MS)).is_err());
}

/// Any JSON text, with many of the names that edits look at, repeated, escaped and spaced as clients may.
fn any_json() -> impl Strategy<Value = String> {
    let scalars = ["null", "true", "1e+21", "\"\"", "\" \"", "\"m\"", "\"a\\\"}\"", "\"2026-11-23T21:49:50+01:00\"", "\"soon\""];
    let leaf = prop::sample::select(scalars.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(3, 32, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            3 => any_members(inner).prop_map(|members| format!("{{ {members}}}")),
        ]
    })
}

fn any_members(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let names = ["messageId", "message\\u0049d", "context", "ip", "direct", "sentAt", "timestamp", "originalTimestamp", "x", "\\\""];
    let member = (prop::sample::select(names.to_vec()), inner).prop_map(|(name, value)| format!("\"{name}\" : {value}"));
    prop::collection::vec(member, 0..8).prop_map(|members| members.join(" ,"))
}

/// An envelope with any events, any of them Segment's, delivered at any time.
fn any_case() -> impl Strategy<Value = (Envelope, i64)> {
    let endpoint = prop::sample::select(vec![Endpoint::Batch, Endpoint::ClientBatch, Endpoint::Import, SINGLE, BROWSER]);
    let delay = prop::sample::select(vec![0, 2_000, DAY_MS, i64::MAX, i64::MIN]);
    let kept = prop::collection::vec(any::<bool>(), 6);
    let items = prop::collection::vec(any_json(), 0..6);
    (items, any_members(any_json()), endpoint, delay, kept).prop_map(|(items, frame, endpoint, delay, kept)| {
        let chosen: Vec<u16> = (0..6).filter(|index| kept[usize::from(*index)] && usize::from(*index) < items.len()).collect();
        let segment = if endpoint.kind().is_some() { Selection::All } else { Selection::of(chosen, items.len()) };
        let comma = if frame.is_empty() { "" } else { "," };
        let mut envelope = envelope(endpoint, &format!("{{\"batch\":[{}]{comma}{frame}}}", items.join(" ,")), segment);
        envelope.events = u32::try_from(items.len()).unwrap();
        (envelope, delay)
    })
}

/// The names that an edit may put into an event or replace.
const TOUCHED: [&str; 4] = ["messageId", "context", "sentAt", "timestamp"];

fn untouched(raw: crate::model::json::Raw<'_>, besides: &str) -> Vec<String> {
    let members = raw.members().filter(|(key, _)| !TOUCHED.contains(&key.name().as_ref()) && !key.is(besides));
    members.map(|(key, value)| format!("{}:{}", key.text(), value.text())).collect()
}

proptest! {
    #[test]
    fn any_copy_is_valid_json_with_its_other_members_untouched((envelope, delay_ms) in any_case()) {
        let now = WallTime::from_millis(ARRIVAL.as_millis().saturating_add(delay_ms));
        let copy = segment_copy(&envelope, &envelope.body, now).unwrap();
        if envelope.plan.events.segment.is_none() {
            prop_assert!(copy.body.is_empty());
            return Ok(());
        }
        prop_assert_eq!(copy.edits.is_none(), copy.body == envelope.body, "{:?}", copy.edits);
        let (before, after) = (parse(&envelope.body).unwrap(), parse(&copy.body).unwrap());
        prop_assert_eq!(untouched(before, "batch"), untouched(after, "batch"));
        let items = |raw: crate::model::json::Raw<'_>| -> Vec<Vec<String>> {
            raw.get("batch").unwrap().items().map(|item| untouched(item, "")).collect()
        };
        let kept: Vec<_> =
            items(before).into_iter().enumerate().filter(|(index, _)| envelope.plan.events.segment.contains(*index)).map(|(_, item)| item).collect();
        prop_assert_eq!(kept, items(after));
        prop_assert_eq!(&segment_copy(&envelope, &envelope.body, now).unwrap(), &copy, "the same twice");
    }

    #[test]
    fn when_no_edit_is_needed_the_slow_way_finds_none_either((envelope, _) in any_case()) {
        let reading = Reading::of(envelope.endpoint, &envelope.body).unwrap();
        let mut body = Body::of(&envelope, &reading, None, client_ip(&envelope));
        body.edit_all();
        let is_edited = body.finish(&envelope.body).is_some();
        prop_assert!(!is_edited || needs_edit(&envelope, &envelope.body, ARRIVAL));
    }
}
