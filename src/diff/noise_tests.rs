//! The list of protocol.md 5, line by line, and what segue does on purpose (protocol.md 3): what is noise, and right beside it, what is not.

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::model::{SourceId, Span, json::parse};

/// RudderStack's names, as far as these tests need any.
pub(super) fn names(segment: &str) -> Vec<String> {
    match segment {
        "Customer.io" | "Customer.io (Actions)" => vec!["Customer IO".to_owned()],
        "Google Analytics" => vec!["Google Analytics".to_owned(), "Google Analytics 4 (GA4)".to_owned()],
        _ => vec![],
    }
}

/// All that is told of a pair: mismatches as `path kind`, noise as `~place reason`.
fn told_by(noise: &Noise, arrival: Arrival, segment: &str, rudderstack: &str) -> Vec<String> {
    let pair = Pair { segment: parse(segment.as_bytes()).unwrap(), rudderstack: parse(rudderstack.as_bytes()).unwrap(), arrival };
    let comparison = emitted(pair, noise);
    assert_eq!(comparison.agrees(), comparison.mismatches.is_empty());
    let noise = comparison.noise.iter().map(|hit| {
        let times = if hit.count > 1 { format!(" x{}", hit.count) } else { String::new() };
        format!("~{}{times}", hit.at.label())
    });
    comparison.mismatches.iter().map(|mismatch| format!("{} {}", mismatch.path, mismatch.kind)).chain(noise).collect()
}

fn told(segment: &str, rudderstack: &str) -> Vec<String> {
    told_by(&Noise::new(names), Arrival::Unknown, segment, rudderstack)
}

/// Holds each case against what is told of it.
fn check(cases: &[(&str, &str, &[&str])]) {
    for (segment, rudderstack, want) in cases {
        assert_eq!(told(segment, rudderstack), *want, "{segment} and {rudderstack}");
    }
}

#[test]
fn what_is_ignored_always() {
    let vendor = ["receivedAt", "rudderId", "request_ip", "version", "projectId", "metadata", "recordId"];
    for name in vendor {
        let (ours, theirs) = (format!(r#"{{"{name}":"a"}}"#), format!(r#"{{"{name}":{{"b":1}}}}"#));
        for (segment, rudderstack) in [(ours.as_str(), theirs.as_str()), (&ours, "{}"), ("{}", &theirs)] {
            assert_eq!(told(segment, rudderstack), [format!("~{name} vendor_field")]);
        }
        // Of the event, and of nothing else.
        assert_eq!(
            told(&format!(r#"{{"properties":{ours}}}"#), r#"{"properties":{}}"#),
            [format!("properties.{name} missing_in_rudderstack")]
        );
    }
    for name in ["direct", "sourceId", "sourceType", "destinationId", "destinationType", "sources"] {
        assert_eq!(told("{}", &format!(r#"{{"context":{{"{name}":true}}}}"#)), [format!("~context.{name} vendor_field")]);
        assert_eq!(told("{}", &format!(r#"{{"{name}":true}}"#)), [format!("{name} missing_in_segment")]);
    }
    check(&[
        (r#"{"channel":"client"}"#, r#"{"channel":"mobile"}"#, &["~channel channel"]),
        (r#"{"_metadata":{"bundled":["x"]}}"#, "{}", &["~_metadata sdk_metadata"]),
        (r#"{"writeKey":"wk_test_a"}"#, r#"{"writeKey":"wk_test_b"}"#, &["~writeKey write_key"]),
        // What does not differ is no noise either.
        (r#"{"metadata":{"a":1,"b":2},"receivedAt":"x"}"#, r#"{"receivedAt":"x", "metadata":{"b":2, "a":1.0}}"#, &[]),
    ]);
}

#[test]
fn integrations_count_as_on_and_off_under_rudderstack_names() {
    let integrations = |members: &str| format!(r#"{{"integrations":{members}}}"#);
    let cases: [(&str, &str, &[&str]); 22] = [
        ("{}", r#"{"Salesforce":false}"#, &["~integrations.Salesforce salesforce_default"]),
        ("null", r#"{"Salesforce":false}"#, &["~integrations.Salesforce salesforce_default"]),
        ("{}", "null", &["~integrations integration_names"]),
        ("{}", r#"{"Salesforce":true}"#, &["integrations.Salesforce value"]),
        (r#"{"Salesforce":true}"#, r#"{"Salesforce":true}"#, &[]),
        (r#"{"Salesforce":true}"#, r#"{"Salesforce":false}"#, &["integrations.Salesforce value"]),
        (r#"{"Customer.io":false}"#, r#"{"Customer IO":false}"#, &["~integrations integration_names"]),
        (
            r#"{"Customer.io":false}"#,
            r#"{"Customer.io":false}"#,
            &["integrations.Customer IO value", "integrations[\"Customer.io\"] value"],
        ),
        (r#"{"Customer.io":false}"#, "{}", &["integrations.Customer IO value"]),
        (r#"{"Customer.io":true}"#, "{}", &["~integrations integration_names"]),
        (r#"{"Customer.io":false,"Customer.io (Actions)":true}"#, r#"{"Customer IO":true}"#, &["~integrations integration_names"]),
        (
            r#"{"Google Analytics":false}"#,
            r#"{"Google Analytics":false,"Google Analytics 4 (GA4)":false}"#,
            &["~integrations integration_names"],
        ),
        (r#"{"Segment.io":true}"#, "{}", &["~integrations integration_names"]),
        (r#"{"All":false,"Braze":true}"#, r#"{"Braze":true,"All":false}"#, &[]),
        (r#"{"All":false,"Braze":true}"#, r#"{"Braze":true}"#, &["integrations.All value"]),
        (r#"{"Braze":{"a":1}}"#, r#"{"Braze":{"a":2}}"#, &["~integrations integration_names"]),
        (r#"{"Braze":"false"}"#, r#"{"Braze":false}"#, &["~integrations integration_names"]),
        // RudderStack passes over a text, and the event goes to Braze (2.5).
        (r#"{"Braze":"false"}"#, r#"{"Braze":"false"}"#, &["integrations.Braze value"]),
        (r#"{"All":"yes"}"#, r#"{"All":"yes"}"#, &["integrations.All value"]),
        (r#"{"Braze":null}"#, "{}", &["~integrations integration_names"]),
        ("false", r#"{"All":false}"#, &["~integrations integration_names"]),
        (r#"{"Braze":1,"Braze":false}"#, r#"{"Braze":false}"#, &[]),
    ];
    for (segment, rudderstack, want) in cases {
        assert_eq!(told(&integrations(segment), &integrations(rudderstack)), want, "{segment} and {rudderstack}");
    }
}

#[test]
fn times_are_moments_and_have_tolerances() {
    check(&[
        // timestamp: 2 s.
        (r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, r#"{"timestamp":"2026-11-23T13:00:00.000+01:00"}"#, &["~timestamp time_form"]),
        (r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, r#"{"timestamp":"2026-11-23T12:00:02.000Z"}"#, &["~timestamp time_tolerance"]),
        (r#"{"timestamp":"2026-11-23T12:00:02.000Z"}"#, r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, &["~timestamp time_tolerance"]),
        (r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, r#"{"timestamp":"2026-11-23T12:00:02.001Z"}"#, &["timestamp time"]),
        (r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, r#"{"timestamp":"2026-11-23T12:00:00.000+01:00"}"#, &["timestamp time"]),
        (r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, "{}", &["timestamp missing_in_rudderstack"]),
        ("{}", r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, &["timestamp missing_in_segment"]),
        (r#"{"timestamp":"yesterday"}"#, r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, &["timestamp value"]),
        (r#"{"timestamp":1795557000}"#, r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, &["timestamp type"]),
        // originalTimestamp: equal to the millisecond.
        (
            r#"{"originalTimestamp":"2026-11-23T12:00:00.1239Z"}"#,
            r#"{"originalTimestamp":"2026-11-23T12:00:00.123Z"}"#,
            &["~originalTimestamp time_form"],
        ),
        (
            r#"{"originalTimestamp":"2026-11-23T12:00:00.124Z"}"#,
            r#"{"originalTimestamp":"2026-11-23T12:00:00.123Z"}"#,
            &["originalTimestamp time"],
        ),
        (r#"{"originalTimestamp":"2026-11-23T12:00:00.124Z"}"#, "{}", &["originalTimestamp missing_in_rudderstack"]),
        ("{}", r#"{"originalTimestamp":"2026-11-23T12:00:00.124Z"}"#, &["~originalTimestamp times_added"]),
        // An event that its client did not date is dated at its arrival, which is not quite the same for both.
        (
            r#"{"originalTimestamp":"2026-11-23T12:00:00.124Z","timestamp":"2026-11-23T12:00:00.124Z"}"#,
            r#"{"originalTimestamp":"2026-11-23T12:00:00.100Z","timestamp":"2026-11-23T12:00:00.100Z"}"#,
            &["~timestamp time_tolerance", "~originalTimestamp undated"],
        ),
        // sentAt: what segue moved for Segment, as it delivered late (T2).
        (r#"{"sentAt":"2026-11-23T12:00:00.000Z"}"#, r#"{"sentAt":"2026-11-23T12:00:01Z"}"#, &["~sentAt time_tolerance"]),
        (r#"{"sentAt":"2026-11-23T18:00:00.000Z"}"#, r#"{"sentAt":"2026-11-23T12:00:00Z"}"#, &["~sentAt sent_at_delay"]),
        (r#"{"sentAt":"2026-11-23T12:00:00.000Z"}"#, r#"{"sentAt":"2026-11-23T18:00:00Z"}"#, &["sentAt time"]),
        (r#"{"sentAt":null}"#, r#"{"sentAt":"2026-11-23T18:00:00Z"}"#, &["~sentAt times_added"]),
        (r#"{"sentAt":"2026-11-23T18:00:00Z"}"#, "{}", &["sentAt missing_in_rudderstack"]),
        // And no other time: who writes it otherwise has changed it.
        (
            r#"{"properties":{"timestamp":"2026-11-23T12:00:00.000Z"}}"#,
            r#"{"properties":{"timestamp":"2026-11-23T12:00:00Z"}}"#,
            &["properties.timestamp value"],
        ),
    ]);
}

#[test]
fn the_tolerance_can_be_set_and_the_shift_is_told() {
    let noise = Noise::new(names).with_timestamp_tolerance(Span(Duration::from_millis(50)));
    let (segment, rudderstack) = (r#"{"timestamp":"2026-11-23T12:00:00.000Z"}"#, r#"{"timestamp":"2026-11-23T11:59:59.949Z"}"#);
    assert_eq!(told_by(&noise, Arrival::Unknown, segment, rudderstack), ["timestamp time"]);
    let pair =
        Pair { segment: parse(segment.as_bytes()).unwrap(), rudderstack: parse(rudderstack.as_bytes()).unwrap(), arrival: Arrival::Client };
    assert_eq!(emitted(pair, &Noise::new(names)).timestamp_shift_ms, Some(-51), "a shift is told, noise or not");
    assert_eq!(emitted(Pair { rudderstack: pair.segment, ..pair }, &Noise::new(names)).timestamp_shift_ms, Some(0));
    assert_eq!(emitted(Pair { rudderstack: parse(b"{}").unwrap(), ..pair }, &Noise::new(names)).timestamp_shift_ms, None);
}

#[test]
fn the_clients_address_counts_for_clients() {
    let noise = Noise::new(names);
    let ip = |ip: &str| format!(r#"{{"context":{{"ip":"{ip}"}}}}"#);
    let cases: [(Arrival, &str, &str, &[&str]); 8] = [
        (Arrival::Server, "{}", &ip("198.51.100.7"), &["~context.ip server_ip"]),
        (Arrival::Server, &ip("203.0.113.5"), &ip("198.51.100.7"), &["~context.ip server_ip"]),
        (Arrival::Client, "{}", &ip("198.51.100.7"), &["context.ip missing_in_segment"]),
        (Arrival::Client, &ip("203.0.113.5"), &ip("198.51.100.7"), &["context.ip value"]),
        // T14: Segment collects no IPv6.
        (Arrival::Client, "{}", &ip("2001:db8::1"), &["~context.ip ipv6"]),
        (Arrival::Client, &ip("2001:db8::2"), &ip("2001:db8::1"), &["context.ip value"]),
        (Arrival::Client, &ip("2001:db8::2"), "{}", &["context.ip missing_in_rudderstack"]),
        (Arrival::Unknown, "{}", &ip("198.51.100.7"), &["context.ip missing_in_segment"]),
    ];
    for (arrival, segment, rudderstack, want) in cases {
        assert_eq!(told_by(&noise, arrival, segment, rudderstack), want, "{arrival:?} {segment} {rudderstack}");
    }
    // Segment says itself what it was.
    check(&[
        (r#"{"channel":"server"}"#, r#"{"channel":"server","context":{"ip":"198.51.100.7"}}"#, &["~context.ip server_ip"]),
        (r#"{"channel":"client"}"#, r#"{"channel":"client","context":{"ip":"198.51.100.7"}}"#, &["context.ip missing_in_segment"]),
        // A server that passes its client's connection on (T13).
        (
            r#"{"channel":"server","context":{"direct":true,"ip":"203.0.113.5"}}"#,
            r#"{"channel":"server","context":{"direct":true,"ip":"198.51.100.7"}}"#,
            &["context.ip value"],
        ),
    ]);
}

#[test]
fn ids_are_what_they_spell() {
    check(&[
        (r#"{"userId":42}"#, r#"{"userId":"42"}"#, &["~userId id_form"]),
        (r#"{"userId":"42"}"#, r#"{"userId":42.0}"#, &["~userId id_form"]),
        (r#"{"userId":"042"}"#, r#"{"userId":42}"#, &["userId type"]),
        (r#"{"userId":"42"}"#, r#"{"userId":43}"#, &["userId type"]),
        (r#"{"userId":"9007199254740993"}"#, r#"{"userId":9007199254740992}"#, &["userId precision"]),
        (r#"{"userId":"A"}"#, r#"{"userId":"a"}"#, &["userId case"]),
        (r#"{"userId":""}"#, "{}", &["userId missing_in_rudderstack"]),
        (r#"{"messageId":7}"#, r#"{"messageId":"7"}"#, &["~messageId id_form"]),
        (r#"{"properties":{"userId":42}}"#, r#"{"properties":{"userId":"42"}}"#, &["properties.userId type"]),
        (r#"{"anonymousId":""}"#, "{}", &["~anonymousId empty_absent"]),
        ("{}", r#"{"anonymousId":""}"#, &["~anonymousId empty_absent"]),
        (r#"{"anonymousId":null}"#, r#"{"anonymousId":""}"#, &["~anonymousId empty_absent"]),
        (r#"{"anonymousId":null}"#, "{}", &["~anonymousId null_absent"]),
        (r#"{"anonymousId":""}"#, r#"{"anonymousId":"a"}"#, &["anonymousId missing_in_segment"]),
        (r#"{"anonymousId":"a"}"#, r#"{"anonymousId":null}"#, &["anonymousId missing_in_rudderstack"]),
        // T5: segue can be told to give an event of nobody its own messageId.
        (r#"{"messageId":"m"}"#, r#"{"messageId":"m","anonymousId":"m"}"#, &["~anonymousId idless"]),
        (r#"{"messageId":"m"}"#, r#"{"messageId":"m","anonymousId":"n"}"#, &["anonymousId missing_in_segment"]),
        // T20: an alias's previousId.
        (r#"{"type":"alias","anonymousId":"a"}"#, r#"{"type":"alias","anonymousId":"a","previousId":"a"}"#, &["~previousId previous_id"]),
        (
            r#"{"type":"alias","anonymousId":"a"}"#,
            r#"{"type":"alias","anonymousId":"a","previousId":"b"}"#,
            &["previousId missing_in_segment"],
        ),
        (
            r#"{"type":"track","anonymousId":"a"}"#,
            r#"{"type":"track","anonymousId":"a","previousId":"a"}"#,
            &["previousId missing_in_segment"],
        ),
        (
            r#"{"type":"alias","anonymousId":"a","previousId":"a"}"#,
            r#"{"type":"alias","anonymousId":"a"}"#,
            &["previousId missing_in_rudderstack"],
        ),
    ]);
}

#[test]
fn empty_and_null_are_nothing_where_that_is_so() {
    check(&[
        (r#"{"context":{}}"#, "{}", &["~context empty_absent"]),
        ("{}", r#"{"properties":{}}"#, &["~properties empty_absent"]),
        (r#"{"traits":{}}"#, r#"{"traits":null}"#, &["~traits empty_absent"]),
        (r#"{"traits":{"a":null}}"#, "{}", &["~traits empty_absent"]),
        (r#"{"context":{"traits":{}}}"#, r#"{"context":{}}"#, &["~context.traits empty_absent"]),
        (r#"{"properties":{"a":1}}"#, "{}", &["properties missing_in_rudderstack"]),
        (r#"{"properties":{}}"#, r#"{"properties":[]}"#, &["properties type"]),
        (r#"{"context":{"a":1,"direct":true}}"#, "{}", &["context.a missing_in_rudderstack", "~context.direct vendor_field"]),
        // Nowhere else.
        (r#"{"properties":{"a":{}}}"#, r#"{"properties":{}}"#, &["properties.a missing_in_rudderstack"]),
        (r#"{"properties":{"a":""}}"#, r#"{"properties":{}}"#, &["properties.a missing_in_rudderstack"]),
        // A null value, everywhere but among the items of an array.
        (r#"{"properties":{"a":null}}"#, r#"{"properties":{}}"#, &["~properties.a null_absent"]),
        (r#"{"a":{"b":[{"c":null},{"c":null}]}}"#, r#"{"a":{"b":[{},{}]}}"#, &["~a.b[*].c null_absent x2"]),
        (r#"{"properties":{"a":null}}"#, r#"{"properties":{"a":0}}"#, &["properties.a missing_in_segment"]),
        (r#"{"a":1,"a":null}"#, "{}", &["~a null_absent"]),
        (r#"{"a":[null]}"#, r#"{"a":[]}"#, &["a[0] missing_in_rudderstack"]),
        (r#"{"a":[null]}"#, r#"{"a":[1]}"#, &["a[0] type"]),
        // 4.5: what RudderStack's webhook takes out.
        (
            r#"{"header":{"a":"b"},"fullPath":"x","appendPath":"y"}"#,
            "{}",
            &["~appendPath webhook_stripped", "~fullPath webhook_stripped", "~header webhook_stripped"],
        ),
        ("{}", r#"{"header":{"a":"b"}}"#, &["header missing_in_segment"]),
    ]);
}

#[test]
fn traits_that_segue_copied_are_no_finding() {
    check(&[
        (
            r#"{"traits":{"a":1,"b":2}}"#,
            r#"{"traits":{"a":1,"b":2},"context":{"traits":{"b":2,"a":1}}}"#,
            &["~context.traits traits_copied"],
        ),
        (r#"{"traits":{"a":1}}"#, r#"{"traits":{"a":1},"context":{"traits":{"a":2}}}"#, &["context.traits missing_in_segment"]),
        (r#"{"traits":{"a":1},"context":{"traits":{"a":1}}}"#, r#"{"traits":{"a":1}}"#, &["context.traits missing_in_rudderstack"]),
    ]);
}

#[test]
fn numbers_are_compared_by_their_value() {
    let number = |number: &str| format!(r#"{{"properties":{{"total":{number}}}}}"#);
    let cases: [(&str, &str, &[&str]); 7] = [
        ("1", "1.0", &["~properties.total number_form"]),
        ("1.0", "1e0", &["~properties.total number_form"]),
        // What RudderStack's gateway drops of every number has a name of its own; other lost digits are a finding.
        ("9007199254740993", "9007199254740992", &["~properties.total rounded"]),
        ("9007199254740992", "9007199254740993", &["properties.total precision"]),
        ("9007199254740993", "9007199254740993", &[]),
        ("1", "2", &["properties.total value"]),
        ("1", "\"1\"", &["properties.total type"]),
    ];
    for (segment, rudderstack, want) in cases {
        assert_eq!(told(&number(segment), &number(rudderstack)), want, "{segment} and {rudderstack}");
    }
}

#[test]
fn the_library_counts_unless_rudderstacks_own_sdk_sent_the_event() {
    let segment = r#"{"type":"page","messageId":"a","properties":{"url":"x","tab_url":"y","plan":"z"},
        "context":{"library":{"name":"analytics.js"},"page":{"tab_url":"x","title":"t"},"screen":{"width":1},"sessionId":1}}"#;
    let rudderstack = r#"{"type":"page","messageId":"b","properties":{"url":"w","plan":"y"},
        "context":{"library":{"name":"RudderLabs JavaScript SDK"},"page":{"title":"u"},"screen":{"width":2}}}"#;
    let same = told(segment, rudderstack);
    let all = [
        "context.library.name value",
        "context.page.tab_url missing_in_rudderstack",
        "context.page.title value",
        "context.screen.width value",
        "context.sessionId missing_in_rudderstack",
        "messageId value",
        "properties.plan value",
        "properties.tab_url missing_in_rudderstack",
        "properties.url value",
    ];
    assert_eq!(same, all);
    let noise = Noise::new(names).with_origin(Origin::RudderStackSdk);
    let other: Vec<_> = told_by(&noise, Arrival::Unknown, segment, rudderstack).into_iter().filter(|told| !told.starts_with('~')).collect();
    assert_eq!(other, ["context.page.title value", "properties.plan value"]);
    let (segment, rudderstack) = (segment.replace("page\"", "track\""), rudderstack.replace("page\"", "track\""));
    let track = told_by(&noise, Arrival::Unknown, &segment, &rudderstack);
    assert!(track.contains(&"properties.url value".to_owned()), "only a page call has such defaults: {track:?}");
}

fn rule(treatment: Treatment) -> NoiseRule {
    NoiseRule { scope: Scope::All, treatment, reason: "agreed with the team of data".to_owned() }
}

fn ignore(pattern: &str) -> NoiseRule {
    rule(Treatment::Ignore(pattern.parse().unwrap()))
}

fn accept(pattern: &str, kind: MismatchKind) -> NoiseRule {
    rule(Treatment::Accept(pattern.parse().unwrap(), kind))
}

const SOURCE: &str = "android-prod";

fn told_under(rules: &[NoiseRule], segment: &str, rudderstack: &str) -> Vec<String> {
    let noise = Noise::new(names).with_rules(rules, &SourceId::parse(SOURCE).unwrap()).unwrap();
    told_by(&noise, Arrival::Unknown, segment, rudderstack)
}

#[test]
fn a_rule_ignores_a_place_and_what_is_below_it() {
    let segment = r#"{"context":{"device":{"id":"a","x":{"y":1}},"os":"b"},"properties":{"items":[{"price":1,"sku":"s"},{"price":2}]}}"#;
    let rudderstack =
        r#"{"context":{"device":{"id":"c","x":{"y":2}},"os":"d"},"properties":{"items":[{"price":3,"sku":"t"},{"price":4}]}}"#;
    let all = [
        "context.device.id value",
        "context.device.x.y value",
        "context.os value",
        "properties.items[0].price value",
        "properties.items[0].sku value",
        "properties.items[1].price value",
    ];
    assert_eq!(told(segment, rudderstack), all);
    let cases: [(&str, &[usize], &str); 9] = [
        ("$.context.device.*", &[0, 1], "~$.context.device.* ignored x2"),
        ("context.device", &[0, 1], "~context.device ignored"),
        ("context.device.x", &[1], "~context.device.x ignored"),
        ("$.properties.items[*].price", &[3, 5], "~$.properties.items[*].price ignored x2"),
        ("properties.items[1].price", &[5], "~properties.items[1].price ignored"),
        ("properties.items[*]", &[3, 4, 5], "~properties.items[*] ignored x2"),
        ("*.*", &[0, 1, 2, 3, 4, 5], "~*.* ignored x3"),
        ("$", &[0, 1, 2, 3, 4, 5], "~$ ignored"),
        ("properties.price", &[], ""),
    ];
    for (pattern, gone, hit) in cases {
        let mut want: Vec<_> = all.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, told)| *told).collect();
        want.extend(Some(hit).filter(|hit| !hit.is_empty()));
        assert_eq!(told_under(&[ignore(pattern)], segment, rudderstack), want, "{pattern}");
    }
    // What a rule would ignore and does not differ is no noise.
    assert!(told_under(&[ignore("a")], r#"{"a":{"b":1,"c":null}}"#, r#"{"a":{"b":1.0}}"#).is_empty());
    assert_eq!(
        told_under(&[ignore("integrations.Braze")], r#"{"integrations":{"Braze":false}}"#, r#"{"integrations":{}}"#),
        ["~integrations.Braze ignored"]
    );
}

#[test]
fn a_rule_accepts_one_group_and_no_other() {
    let segment = r#"{"properties":{"items":[{"price":1},{"price":"2"},{"price":3}],"price":1}}"#;
    let rudderstack = r#"{"properties":{"items":[{"price":"1"},{"price":2},{}],"price":"1"}}"#;
    let rules = [accept("properties.items[*].price", MismatchKind::Type)];
    let want = ["properties.items[2].price missing_in_rudderstack", "properties.price type", "~properties.items[*].price accepted x2"];
    assert_eq!(told_under(&rules, segment, rudderstack), want);
    // What is below the place is another group.
    let rules = [accept("properties", MismatchKind::Type)];
    assert_eq!(told_under(&rules, r#"{"properties":{"a":1}}"#, r#"{"properties":{"a":"1"}}"#), ["properties.a type"]);
}

#[test]
fn a_rule_is_for_one_source_or_for_all() {
    let of = |id: &str| NoiseRule { scope: Scope::Source(SourceId::parse(id).unwrap()), ..ignore("a") };
    let told = |rules: &[NoiseRule]| told_under(rules, r#"{"a":1,"b":1}"#, r#"{"a":2,"b":2}"#);
    assert_eq!(told(&[of("ios-prod")]), ["a value", "b value"]);
    assert_eq!(told(&[of(SOURCE)]), ["b value", "~a ignored"]);
    assert_eq!(told(&[of(SOURCE), ignore("b")]), ["~a ignored", "~b ignored"]);
}

#[test]
fn rules_without_end_are_refused() {
    let rules: Vec<_> = (0..501).map(|number| ignore(&format!("a{number}"))).collect();
    let source = SourceId::parse(SOURCE).unwrap();
    let error = Noise::new(names).with_rules(&rules, &source).unwrap_err();
    assert!(error.to_string().starts_with("501 noise rules are about source android-prod"), "{error}");
    assert!(Noise::new(names).with_rules(&rules[1..], &source).is_ok());
}

#[test]
fn labels_are_stable_and_read_back() {
    let reasons: BTreeSet<_> = Reason::ALL.into_iter().map(Reason::label).collect();
    assert_eq!(reasons.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert_eq!(reason.to_string().parse(), Ok(reason));
        assert!(!reason.about().is_empty());
    }
    for kind in MismatchKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        assert_eq!(kind.mirrored().mirrored(), kind);
    }
    let kinds = MismatchKind::ALL.map(MismatchKind::label).join(", ");
    assert!("late".parse::<MismatchKind>().unwrap_err().to_string().ends_with(&kinds), "the error names them all");
    assert!("late".parse::<Reason>().is_err());
}
