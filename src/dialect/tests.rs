//! The rules by their T-numbers, each on events of its own; and what holds for any event.

use std::{collections::HashSet, net::IpAddr};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{
    Endpoint, EnvelopeId, EventKind, Frame, Head, Reading, WallTime,
    json::{Kind, Raw, parse},
};

const SINGLE: Endpoint = Endpoint::Single(EventKind::Track);
const BROWSER: Endpoint = Endpoint::ClientSingle(EventKind::Track);

/// 2026-11-23T21:49:55.870Z
const ARRIVAL: WallTime = WallTime::from_millis(1_795_470_595_870);
const ARRIVAL_TEXT: &str = "2026-11-23T21:49:55.870Z";

fn facts(endpoint: Endpoint) -> Facts<'static> {
    Facts {
        envelope: EnvelopeId(0xabc),
        index: 3,
        received_at: ARRIVAL,
        endpoint,
        client_ip: Some(IpAddr::from([203, 0, 113, 5])),
        frame: Frame::default(),
    }
}

fn translated(item: &str, facts: &Facts<'_>, settings: Settings) -> (Value, Translation) {
    let translation = translate(parse(item.as_bytes()).unwrap(), facts, &settings).unwrap();
    let value = serde_json::from_slice(&translation.json).unwrap_or_else(|e| panic!("{e}: {translation:?}"));
    (value, translation)
}

/// The copy of one event that came by `endpoint`, by the default settings.
fn copy(endpoint: Endpoint, item: &str) -> Value {
    translated(item, &facts(endpoint), Settings::default()).0
}

/// The copies of the events of a batch.
fn copies(endpoint: Endpoint, body: &str) -> Vec<Value> {
    let reading = Reading::of(endpoint, body.as_bytes()).unwrap();
    let facts = |index| Facts { index, frame: reading.frame, ..facts(endpoint) };
    let copy = |(index, item)| translate(item, &facts(index), &Settings::default()).unwrap().json;
    reading.items.iter().copied().enumerate().map(copy).map(|json| serde_json::from_slice(&json).unwrap()).collect()
}

fn rules(endpoint: Endpoint, item: &str) -> Rules {
    translated(item, &facts(endpoint), Settings::default()).1.rules
}

fn noticed(endpoint: Endpoint, item: &str) -> Rules {
    translated(item, &facts(endpoint), Settings::default()).1.noticed
}

#[test]
fn t02_times_are_computed_at_arrival() {
    let table = [
        // A right clock: 5 s old when sent.
        (r#""timestamp":"2026-11-23T21:49:50.000Z","sentAt":"2026-11-23T21:49:55.000Z""#, "2026-11-23T21:49:50.870Z"),
        // No sentAt: the client is believed.
        (r#""timestamp":"2026-11-20T00:00:00Z""#, "2026-11-20T00:00:00.000Z"),
        // No timestamp: dated at arrival, however wrong the clock that wrote sentAt.
        (r#""sentAt":"2020-01-01T00:00:00Z""#, ARRIVAL_TEXT),
        ("", ARRIVAL_TEXT),
        (r#""timestamp":null,"sentAt":null"#, ARRIVAL_TEXT),
        (r#""timestamp":"  ""#, ARRIVAL_TEXT),
        // RudderStack's own SDKs name it so.
        (r#""originalTimestamp":"2026-11-23T21:49:50Z","sentAt":"2026-11-23T21:49:55Z""#, "2026-11-23T21:49:50.870Z"),
        // A number is no time at RudderStack.
        (r#""timestamp":1795470595870"#, ARRIVAL_TEXT),
        // Free text may be one.
        (r#""timestamp":"Nov 23, 2026 9:49 PM""#, "Nov 23, 2026 9:49 PM"),
        // An unreadable sentAt is none.
        (r#""timestamp":"2026-11-20T00:00:00Z","sentAt":"soon""#, "2026-11-20T00:00:00.000Z"),
    ];
    for (members, want) in table {
        let item = format!(r#"{{"userId":"u"{}{members}}}"#, if members.is_empty() { "" } else { "," });
        let copy = copy(SINGLE, &item);
        assert_eq!(copy["timestamp"], want, "{members}");
        assert!(copy["sentAt"].is_string(), "{members}");
        assert!(rules(SINGLE, &item).contains(Rule::TIMES), "{members}");
    }
}

#[test]
fn t02_what_the_client_stated_stays_as_the_original() {
    let table = [
        (r#""timestamp":"2026-11-23T21:49:50+01:00""#, json!("2026-11-23T21:49:50+01:00")),
        (r#""timestamp":"2026-11-23T21:49:50Z","originalTimestamp":"2026-01-01T00:00:00Z""#, json!("2026-11-23T21:49:50Z")),
        (r#""timestamp":1795470595870"#, json!(1_795_470_595_870_i64)),
        (r#""timestamp":"noon""#, json!("noon")),
        (r#""timestamp":null"#, json!(ARRIVAL_TEXT)),
    ];
    for (members, want) in table {
        assert_eq!(copy(SINGLE, &format!(r#"{{"userId":"u",{members}}}"#))["originalTimestamp"], want, "{members}");
    }
}

#[test]
fn t03_a_wrong_clock_is_corrected() {
    for skew_ms in [3_600_000_i64, -3_600_000, 259_200_000, -259_200_000] {
        let sent = ARRIVAL.plus_millis(skew_ms);
        let happened = sent.plus_millis(-40_000);
        let item = format!(r#"{{"userId":"u","timestamp":"{happened}","sentAt":"{sent}"}}"#);
        let copy = copy(SINGLE, &item);
        assert_eq!(copy["timestamp"], ARRIVAL.plus_millis(-40_000).to_rfc3339());
        assert_eq!(copy["originalTimestamp"], happened.to_rfc3339());
        assert_eq!(copy["sentAt"], sent.to_rfc3339());
        assert!(rules(SINGLE, &item).contains(Rule::SKEW));
    }
    let exact = format!(r#"{{"userId":"u","timestamp":"{ARRIVAL_TEXT}"}}"#);
    assert!(!rules(SINGLE, &exact).contains(Rule::SKEW), "without a sentAt there is nothing to correct by");
}

#[test]
fn t04_what_a_batch_says_of_all_its_events_is_folded_into_each() {
    let body = r#"{"sentAt":"2026-11-23T21:49:55.000Z","context":{"library":{"name":"analytics-java","version":"3"},"app":{"build":1}},
        "integrations":{"All":false,"Mixpanel":{"a":1}},"batch":[
        {"type":"track","userId":"u","timestamp":"2026-11-23T21:49:50.000Z"},
        {"type":"track","userId":"u","context":null,"integrations":null},
        {"type":"track","userId":"u","sentAt":"2026-11-23T21:49:54.000Z","timestamp":"2026-11-23T21:49:50.000Z",
         "context":{"app":{"name":"n","build":2}},"integrations":{"All":true,"Mixpanel":{"b":2}}}]}"#;
    let copies = copies(Endpoint::Import, body);
    assert_eq!(copies[0]["context"], json!({"library":{"name":"analytics-java","version":"3"},"app":{"build":1}}));
    assert_eq!(copies[0]["integrations"], json!({"All":false,"Mixpanel":{"a":1}}));
    assert_eq!(copies[0]["sentAt"], "2026-11-23T21:49:55.000Z");
    assert_eq!(copies[0]["timestamp"], "2026-11-23T21:49:50.870Z");
    assert_eq!(copies[1]["context"], copies[0]["context"]);
    assert_eq!(copies[1]["integrations"], copies[0]["integrations"]);
    assert_eq!(copies[2]["context"], json!({"library":{"name":"analytics-java","version":"3"},"app":{"build":2,"name":"n"}}));
    assert_eq!(copies[2]["integrations"], json!({"All":true,"Mixpanel":{"a":1,"b":2},"Salesforce":false}));
    assert_eq!(copies[2]["sentAt"], "2026-11-23T21:49:54.000Z", "the event's own wins");
    assert_eq!(copies[2]["timestamp"], "2026-11-23T21:49:51.870Z");
}

#[test]
fn t04_a_shared_context_that_no_event_could_hold_is_not_copied_to_each() {
    let body = format!(r#"{{"context":{{"pad":"{}"}},"batch":[{{"userId":"u"}}]}}"#, "x".repeat(40_000));
    assert_eq!(copies(Endpoint::Batch, &body)[0].get("context"), None);
}

#[test]
fn t05_an_event_of_nobody_is_refused_in_the_vendors_words() {
    let nobody = [
        r#"{"event":"e"}"#,
        r#"{"userId":null,"anonymousId":null}"#,
        r#"{"userId":"","anonymousId":"  \t"}"#,
        r#"{"userId":"\u200b\u0000","event":"e"}"#,
        r#"{"userId":"u","userId":""}"#,
        r#"{"context":{"userId":"u"}}"#,
    ];
    for item in nobody {
        let refusal = translate(parse(item.as_bytes()).unwrap(), &facts(SINGLE), &Settings::default()).unwrap_err();
        assert_eq!(refusal, Refusal::NoId, "{item}");
        assert_eq!(refusal.reason(), "request neither has anonymousId nor userId");
        assert_eq!(refusal.segment_code(), Some("no_user_anon_id"));
    }
    for item in [r#"{"userId":0}"#, r#"{"anonymousId":"a"}"#, r#"{"userId":" u "}"#, r#"{"userId":"","anonymousId":7}"#] {
        assert!(translate(parse(item.as_bytes()).unwrap(), &facts(SINGLE), &Settings::default()).is_ok(), "{item}");
    }
    for item in ["[]", "3", "null", "\"x\""] {
        let refused = translate(parse(item.as_bytes()).unwrap(), &facts(Endpoint::Batch), &Settings::default());
        assert_eq!(refused.unwrap_err().reason(), "event is not a valid rudder event");
    }
}

#[test]
fn t05_by_policy_an_event_of_nobody_becomes_somebody() {
    let settings = Settings { idless: Idless::Adopt, ..Settings::default() };
    let (own, done) = translated(r#"{"messageId":"m1","userId":null}"#, &facts(SINGLE), settings);
    assert_eq!((&own["anonymousId"], &own["messageId"]), (&json!("m1"), &json!("m1")));
    assert!(done.rules.contains(Rule::IDLESS));
    let (assigned, _) = translated("{}", &facts(SINGLE), settings);
    assert_eq!(assigned["anonymousId"], assigned["messageId"]);
}

#[test]
fn t07_every_event_has_a_message_id_that_is_text() {
    let assigned = "segue-00000000000000000000000000000abc-3";
    let table = [
        (r#""messageId":"m""#, "m"),
        (r#""messageId":12345678901234567890"#, "12345678901234567890"),
        (r#""messageId":null"#, assigned),
        (r#""messageId":"""#, assigned),
        (r#""messageId":" ""#, assigned),
        (r#""messageId":{"a":1}"#, assigned),
        (r#""x":1"#, assigned),
    ];
    for (member, want) in table {
        let item = format!(r#"{{"userId":"u",{member}}}"#);
        assert_eq!(copy(SINGLE, &item)["messageId"], want, "{member}");
        assert_eq!(rules(SINGLE, &item).contains(Rule::MESSAGE_ID), want != "m", "{member}");
        let head = Head::of(parse(item.as_bytes()).unwrap(), SINGLE).message_id(EnvelopeId(0xabc), 3).into_owned();
        assert_eq!(head, want, "both copies and the deduplication know it by the same id: {member}");
    }
    let long = |characters| format!(r#"{{"userId":"u","messageId":"{}"}}"#, "\u{e9}".repeat(characters));
    assert!(!noticed(SINGLE, &long(100)).contains(Rule::MESSAGE_ID));
    assert!(noticed(SINGLE, &long(101)).contains(Rule::MESSAGE_ID));
}

#[test]
fn t08_a_single_call_gets_its_type_from_the_path() {
    let page = Endpoint::ClientSingle(EventKind::Page);
    assert_eq!(copy(page, r#"{"userId":"u"}"#)["type"], "page");
    assert_eq!(copy(page, r#"{"userId":"u","type":null}"#)["type"], "page");
    assert_eq!(copy(page, r#"{"userId":"u","type":"pageview"}"#)["type"], "page");
    assert!(rules(page, r#"{"userId":"u"}"#).contains(Rule::PATH_TYPE));
    assert!(!rules(page, r#"{"userId":"u","type":"page"}"#).contains(Rule::PATH_TYPE));
    assert_eq!(copies(Endpoint::Batch, r#"{"batch":[{"userId":"u"}]}"#)[0].get("type"), None, "a batch's path says nothing");
}

#[test]
fn t09_no_write_key_reaches_rudderstack() {
    let item = r#"{"userId":"u","writeKey":"wk_test_1","properties":{"writeKey":"mine"}}"#;
    let copy = copy(BROWSER, item);
    assert_eq!(copy.get("writeKey"), None);
    assert_eq!(copy["properties"]["writeKey"], "mine", "what the app itself says is its own");
    assert!(rules(BROWSER, item).contains(Rule::WRITE_KEY));
}

#[test]
fn t10_an_event_that_segment_will_drop_for_its_size_is_noticed() {
    let item = |bytes| format!(r#"{{"userId":"u","p":"{}"}}"#, "x".repeat(bytes));
    assert!(noticed(SINGLE, &item(40_000)).contains(Rule::SIZE));
    assert!(!noticed(SINGLE, &item(30_000)).contains(Rule::SIZE));
}

#[test]
fn t13_the_clients_ip_is_filled_in_where_segment_takes_it_from_the_connection() {
    let table = [
        (BROWSER, r#""x":1"#, json!({"ip":"203.0.113.5"})),
        (Endpoint::ClientBatch, r#""context":{"a":{"ip":1}}"#, json!({"a":{"ip":1},"ip":"203.0.113.5"})),
        (Endpoint::Pixel(EventKind::Track), r#""context":null"#, json!({"ip":"203.0.113.5"})),
        (BROWSER, r#""context":{"ip":null}"#, json!({"ip":"203.0.113.5"})),
        (BROWSER, r#""context":{"ip":"0.0.0.0"}"#, json!({"ip":"0.0.0.0"})),
        (BROWSER, r#""context":{"ip":"198.51.100.1"}"#, json!({"ip":"198.51.100.1"})),
        (BROWSER, r#""context":"odd""#, json!("odd")),
        (Endpoint::Batch, r#""context":{"a":1}"#, json!({"a":1})),
        (Endpoint::Import, r#""context":{"direct":false}"#, json!({"direct":false})),
        (Endpoint::Batch, r#""context":{"direct":true}"#, json!({"direct":true,"ip":"203.0.113.5"})),
        (SINGLE, r#""context":{}"#, json!({})),
    ];
    for (endpoint, member, want) in table {
        let item = format!(r#"{{"userId":"u",{member}}}"#);
        let copy = copy(endpoint, &item);
        assert_eq!(copy["context"], want, "{endpoint:?} {member}");
        assert_eq!(copy.get("request_ip"), None);
        let is_filled = want["ip"] == "203.0.113.5";
        assert_eq!(rules(endpoint, &item).contains(Rule::CLIENT_IP), is_filled, "{endpoint:?} {member}");
    }
    let shared = copies(Endpoint::ClientBatch, r#"{"context":{"ip":"198.51.100.1"},"batch":[{"userId":"u"}]}"#);
    assert_eq!(shared[0]["context"], json!({"ip":"198.51.100.1"}), "the batch's own ip counts");
    let unknown = Facts { client_ip: None, ..facts(BROWSER) };
    assert_eq!(translated(r#"{"userId":"u"}"#, &unknown, Settings::default()).0.get("context"), None);
}

#[test]
fn t14_ipv6_can_be_left_out() {
    let at = |ip: &str| Facts { client_ip: Some(ip.parse().unwrap()), ..facts(BROWSER) };
    let drop = Settings { ipv6: Ipv6::Drop, ..Settings::default() };
    let item = r#"{"userId":"u"}"#;
    assert_eq!(translated(item, &at("2001:db8::1"), Settings::default()).0["context"]["ip"], "2001:db8::1");
    let (copy, done) = translated(item, &at("2001:db8::1"), drop);
    assert_eq!(copy.get("context"), None);
    assert!(done.noticed.contains(Rule::IPV6));
    assert_eq!(translated(item, &at("::ffff:203.0.113.9"), drop).0["context"]["ip"], "203.0.113.9", "an IPv4 address in disguise");
}

#[test]
fn t15_integrations_are_named_in_rudderstacks_words() {
    let table = [
        (r#"{"Customer.io":false}"#, json!({"Customer IO":false,"Salesforce":false})),
        (r#"{"Amplitude (Actions)":{"session_id":1}}"#, json!({"Amplitude":{"session_id":1},"Salesforce":false})),
        (r#"{"Unheard Of (Actions)":false}"#, json!({"Unheard Of":false,"Salesforce":false})),
        (r#"{"Canny (Actions)":false}"#, json!({"Canny":false,"Salesforce":false})),
        (r#"{"Actions Amplitude":false}"#, json!({"Amplitude":false,"Salesforce":false})),
        (
            r#"{"KISSmetrics":true,"Rollbar":false,"June":false}"#,
            json!({"Kiss Metrics":true,"rollbar":false,"JUNE":false,"Salesforce":false}),
        ),
        (
            r#"{"Google Analytics 4":false}"#,
            json!({"Google Analytics 4 (GA4)":false,"Google Analytics 4 (GA4) V2":false,"Salesforce":false}),
        ),
        (r#"{"Unheard Of":false}"#, json!({"Unheard Of":false,"Salesforce":false})),
        (r#"{"Segment.io":true}"#, json!({"Salesforce":false})),
        (r#"{"Segment.io":{"x":1},"All":true}"#, json!({"All":true,"Salesforce":false})),
        (r#"{"Salesforce":true}"#, json!({"Salesforce":true})),
        (r#"{"All":false}"#, json!({"All":false})),
        (r#"{"All":false,"Salesforce":true}"#, json!({"All":false,"Salesforce":true})),
        ("{}", json!({"Salesforce":false})),
        ("null", json!({"Salesforce":false})),
        ("7", json!({"Salesforce":false})),
        ("false", json!({"All":false})),
        // Values that RudderStack would pass over, or stumble on.
        (r#"{"All":{}}"#, json!({"All":true,"Salesforce":false})),
        (r#"{"All":0}"#, json!({"All":false})),
        (r#"{"All":"false"}"#, json!({"All":false})),
        (r#"{"All":null,"Mixpanel":null}"#, json!({"Salesforce":false})),
        (
            r#"{"Mixpanel":"false","Braze":"yes","Drip":0.0,"Keen":[1]}"#,
            json!({"Mixpanel":false,"Braze":true,"Drip":false,"Keen":true,"Salesforce":false}),
        ),
        // Two at Segment, one at RudderStack.
        (r#"{"Mixpanel":false,"Mixpanel (Actions)":true}"#, json!({"Mixpanel":true,"Salesforce":false})),
        (r#"{"Mixpanel (Actions)":{"a":1},"Mixpanel":false}"#, json!({"Mixpanel":{"a":1},"Salesforce":false})),
    ];
    for (integrations, want) in table {
        let item = format!(r#"{{"userId":"u","integrations":{integrations}}}"#);
        assert_eq!(copy(SINGLE, &item)["integrations"], want, "{integrations}");
    }
    assert_eq!(copy(SINGLE, r#"{"userId":"u"}"#)["integrations"], json!({"Salesforce":false}), "Segment's default, spelled out");
    assert!(!rules(SINGLE, r#"{"userId":"u","integrations":{"All":false}}"#).contains(Rule::INTEGRATIONS));
}

#[test]
fn t15_the_table_knows_the_pairs_that_protocol_md_names() {
    let pairs = [
        ("LinkedIn Insight Tag", "Linkedin Insight Tag"),
        ("MailChimp", "Mailchimp"),
        ("SendGrid", "Sendgrid"),
        ("Woopra", "WOOPRA"),
        ("comScore", "Comscore"),
        ("AdRoll", "Adroll"),
        ("Google Cloud PubSub", "Google Cloud Pub/Sub"),
        ("Yandex Metrica", "Yandex.Metrica"),
    ];
    for (segment, rudderstack) in pairs {
        let item = json!({"userId":"u","integrations":{segment:false,"Salesforce":true}}).to_string();
        assert_eq!(copy(SINGLE, &item)["integrations"], json!({rudderstack:false,"Salesforce":true}));
    }
}

#[test]
fn t17_what_sdks_say_about_themselves_is_removed() {
    let item = r#"{"userId":"u","_metadata":{"bundled":["Segment.io"]},"properties":{"_metadata":1}}"#;
    let copy = copy(BROWSER, item);
    assert_eq!(copy.get("_metadata"), None);
    assert_eq!(copy["properties"], json!({"_metadata":1}));
    assert!(rules(BROWSER, item).contains(Rule::METADATA));
}

#[test]
fn t18_a_pixel_is_an_event_like_others() {
    let endpoint = Endpoint::Pixel(EventKind::Identify);
    let item = r#"{"writeKey":"wk_test_1","userId":"u","traits":{"opened":true}}"#;
    let copy = copy(endpoint, item);
    assert_eq!((&copy["type"], &copy["channel"], &copy["traits"]), (&json!("identify"), &json!("web"), &json!({"opened":true})));
    assert!(rules(endpoint, item).contains(Rule::PIXEL));
}

#[test]
fn t19_traits_can_be_copied_to_the_context() {
    let settings = Settings { traits: Traits::AlsoInContext, ..Settings::default() };
    let identify = Endpoint::Single(EventKind::Identify);
    let copied = |endpoint, item| translated(item, &facts(endpoint), settings).0["context"]["traits"].clone();
    assert_eq!(copied(identify, r#"{"userId":"u","traits":{"n":9007199254740993}}"#), json!({"n":9_007_199_254_740_993_i64}));
    assert_eq!(copied(identify, r#"{"userId":"u","traits":{"n":1},"context":{"traits":{"m":2}}}"#), json!({"m":2}));
    assert_eq!(copied(identify, r#"{"userId":"u","traits":{"n":1},"context":{"traits":null}}"#), json!({"n":1}));
    assert_eq!(copied(identify, r#"{"userId":"u","traits":7}"#), Value::Null);
    assert_eq!(copied(Endpoint::Single(EventKind::Group), r#"{"userId":"u","traits":{"n":1}}"#), Value::Null, "those are a group's");
    assert_eq!(copy(identify, r#"{"userId":"u","traits":{"n":1}}"#).get("context"), None, "not unless asked for");
}

#[test]
fn t20_an_alias_without_a_previous_id_gets_its_anonymous_id() {
    let alias = Endpoint::Single(EventKind::Alias);
    let table = [
        (r#"{"userId":"u","anonymousId":"a"}"#, json!("a")),
        (r#"{"userId":"u","anonymousId":"a","previousId":null}"#, json!("a")),
        (r#"{"userId":"u","anonymousId":"a","previousId":""}"#, json!("a")),
        (r#"{"userId":"u","anonymousId":"a","previousId":"p"}"#, json!("p")),
        (r#"{"userId":"u","previousId":null}"#, Value::Null),
    ];
    for (item, want) in table {
        assert_eq!(copy(alias, item)["previousId"], want, "{item}");
    }
    assert_eq!(copy(SINGLE, r#"{"userId":"u","anonymousId":"a"}"#).get("previousId"), None);
}

#[test]
fn t21_null_ids_are_removed() {
    let item = r#"{"userId":"u","anonymousId":null,"groupId":null,"previousId":null,"properties":{"userId":null},"event":null}"#;
    let copy = copy(SINGLE, item);
    for id in ["anonymousId", "groupId", "previousId"] {
        assert_eq!(copy.get(id), None, "{id}");
    }
    assert_eq!((&copy["event"], &copy["properties"]), (&Value::Null, &json!({"userId":null})), "only ids");
    assert!(rules(SINGLE, item).contains(Rule::NULL_IDS));
}

#[test]
fn t22_ids_that_are_no_strings_are_noticed_and_kept() {
    let item = r#"{"userId":12345678901234567890}"#;
    assert!(translated(item, &facts(SINGLE), Settings::default()).1.json.starts_with(br#"{"userId":12345678901234567890,"#));
    assert!(noticed(SINGLE, item).contains(Rule::NUMERIC_IDS));
    assert!(!noticed(SINGLE, r#"{"userId":"7","anonymousId":null}"#).contains(Rule::NUMERIC_IDS));
}

#[test]
fn t23_the_channel_follows_the_library_and_else_the_path() {
    let table = [
        (Endpoint::ClientBatch, "analytics.js", "web"),
        (BROWSER, "analytics.js", "web"),
        (Endpoint::ClientBatch, "analytics-kotlin", "mobile"),
        (Endpoint::ClientBatch, "analytics-swift", "mobile"),
        (Endpoint::ClientBatch, "analytics-react-native", "mobile"),
        (Endpoint::ClientBatch, "analytics_flutter", "mobile"),
        (Endpoint::ClientBatch, "Analytics-CSharp", "mobile"),
        (Endpoint::Batch, "analytics-ios", "mobile"),
        (Endpoint::Import, "analytics-android", "mobile"),
        (Endpoint::Batch, "@segment/analytics-node", "server"),
        (Endpoint::Batch, "analytics-python", "server"),
        (Endpoint::Import, "analytics-java", "server"),
        (Endpoint::Batch, "axios-helper", "server"),
        (SINGLE, "", "server"),
        (Endpoint::Pixel(EventKind::Track), "", "web"),
    ];
    for (endpoint, library, want) in table {
        let item = json!({"userId":"u","context":{"library":{"name":library}}}).to_string();
        assert_eq!(copy(endpoint, &item)["channel"], want, "{endpoint:?} {library}");
    }
    let shared = copies(Endpoint::Batch, r#"{"context":{"library":{"name":"analytics.js"}},"batch":[{"userId":"u"}]}"#);
    assert_eq!(shared[0]["channel"], "web", "the batch's library speaks for its events");
}

#[test]
fn t23_an_own_channel_stays_unless_it_is_the_warehouses() {
    for own in ["web", "mobile", "client"] {
        assert_eq!(copy(SINGLE, &json!({"userId":"u","channel":own}).to_string())["channel"], own);
    }
    for odd in [json!("sources"), json!(" Sources "), Value::Null, json!(""), json!(7)] {
        assert_eq!(copy(SINGLE, &json!({"userId":"u","channel":odd}).to_string())["channel"], "server", "{odd}");
    }
}

#[test]
fn t24_reserved_keys_are_removed() {
    let item = r#"{"userId":"u","request_ip":"10.0.0.1","rudderId":"r","receivedAt":"2020-01-01T00:00:00Z","context":{"receivedAt":1}}"#;
    let copy = copy(SINGLE, item);
    for key in ["request_ip", "rudderId", "receivedAt"] {
        assert_eq!(copy.get(key), None, "{key}");
    }
    assert_eq!(copy["context"], json!({"receivedAt":1}));
    assert!(rules(SINGLE, item).contains(Rule::RESERVED));
}

#[test]
fn t30_an_old_event_keeps_its_time_and_loses_its_arrival() {
    let item =
        r#"{"userId":"u","timestamp":"2019-05-01T10:00:00Z","receivedAt":"2019-05-01T10:00:09Z","sentAt":"2026-11-23T21:49:55.870Z"}"#;
    let copy = copy(SINGLE, item);
    assert_eq!((&copy["timestamp"], copy.get("receivedAt")), (&json!("2019-05-01T10:00:00.000Z"), None));
}

#[test]
fn t31_what_needs_no_change_is_copied_as_text() {
    let kept = [
        r#""properties":{"big":9007199254740993,"f":1.10,"e":1e+21,"s":"\u00e9\/\ud83d","deep":{"b":1,"a":2,"a":3}}"#,
        "\"odd name\\u0041\" : [ 1 ,2 ]",
        r#""traits":{"z":1, "a":[]}"#,
    ];
    let item = format!(r#"{{ "userId":"u" , {} , {} , {} }}"#, kept[0], kept[1], kept[2]);
    let done = translate(parse(item.as_bytes()).unwrap(), &facts(SINGLE), &Settings::default()).unwrap();
    let json = String::from_utf8(done.json).unwrap();
    assert!(json.starts_with(&format!("{{\"userId\":\"u\",{},\"odd name\\u0041\":[ 1 ,2 ],{},", kept[0], kept[2])), "{json}");
}

#[test]
fn t31_of_repeated_keys_the_last_is_written_and_only_it() {
    let item = r#"{"userId":"u","event":"first","x":1,"\u0078":2,"event":"last","userId":"v","writeKey":"a","writeKey":"b"}"#;
    let (_, done) = translated(item, &facts(SINGLE), Settings::default());
    assert!(done.json.starts_with(br#"{"\u0078":2,"event":"last","userId":"v","#), "{}", String::from_utf8_lossy(&done.json));
    assert!(done.rules.contains(Rule::REPEATS));
    let names: Vec<_> = parse(&done.json).unwrap().members().map(|(key, _)| key.name().into_owned()).collect();
    let unique: HashSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

/// Any JSON text, with many of the names that the rules look at, repeated, escaped and spaced as clients may.
fn any_json() -> impl Strategy<Value = String> {
    let scalars = [
        "null",
        "true",
        "false",
        "0",
        "-7.50",
        "9007199254740993",
        "1e+21",
        "\"\"",
        "\" \"",
        "\"u\"",
        "\"track\"",
        "\"alias\"",
        "\"false\"",
        "\"sources\"",
        "\"analytics.js\"",
        "\"\\u200b\"",
        "\"\\ud83d\"",
        "\"a\\\"}\"",
        "\"2026-11-23T21:49:50+01:00\"",
        "\"9999-12-31T23:59:59Z\"",
    ];
    let leaf = prop_oneof![4 => prop::sample::select(scalars.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}".prop_map(|text| json!(text).to_string())];
    leaf.prop_recursive(4, 48, 10, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            3 => any_object(inner),
        ]
    })
}

fn any_object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let names = [
        "type",
        "messageId",
        "userId",
        "user\\u0049d",
        "anonymousId",
        "previousId",
        "timestamp",
        "originalTimestamp",
        "sentAt",
        "context",
        "integrations",
        "channel",
        "traits",
        "writeKey",
        "_metadata",
        "request_ip",
        "ip",
        "direct",
        "library",
        "name",
        "All",
        "Salesforce",
        "Segment.io",
        "Mixpanel (Actions)",
        "x",
        "\\u0078",
        "\\\"",
    ];
    let member = (prop::sample::select(names.to_vec()), inner).prop_map(|(name, value)| format!("\"{name}\" : {value}"));
    prop::collection::vec(member, 0..40).prop_map(|members| format!("{{ {} }}", members.join(",")))
}

/// The members that no rule looks at; of repeats the last.
fn untouched(raw: Raw<'_>) -> Vec<String> {
    let members: Vec<_> = raw.members().filter(|(key, _)| !TOUCHED.contains(&key.name().as_ref())).collect();
    let is_last = |place: usize| members[place + 1..].iter().all(|(later, _)| !later.is(&members[place].0.name()));
    (0..members.len())
        .filter(|place| is_last(*place))
        .map(|place| format!("{}:{}", members[place].0.text(), members[place].1.text()))
        .collect()
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    prop::sample::select(vec![
        Endpoint::Batch,
        Endpoint::Import,
        Endpoint::ClientBatch,
        Endpoint::Single(EventKind::Alias),
        Endpoint::ClientSingle(EventKind::Identify),
        Endpoint::Pixel(EventKind::Page),
    ])
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let settings = |(idless, ipv6, traits)| Settings { idless, ipv6, traits };
    let idless = prop::sample::select(vec![Idless::Refuse, Idless::Adopt]);
    let ipv6 = prop::sample::select(vec![Ipv6::Keep, Ipv6::Drop]);
    (idless, ipv6, prop::sample::select(vec![Traits::AsSent, Traits::AlsoInContext])).prop_map(settings)
}

const TOUCHED: [&str; 17] = [
    "type",
    "messageId",
    "userId",
    "anonymousId",
    "previousId",
    "groupId",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "context",
    "integrations",
    "channel",
    "writeKey",
    "_metadata",
    "request_ip",
    "rudderId",
    "receivedAt",
];

proptest! {
    #[test]
    fn any_event_translates_to_valid_json_with_its_unknown_members_untouched(
        item in any_json(), context in any_json(), integrations in any_json(), sent_at in any_json(),
        endpoint in any_endpoint(), settings in any_settings(), received in any::<i64>(),
    ) {
        let raw = |text: &'_ str| -> Raw<'static> { parse(text.to_owned().leak().as_bytes()).unwrap() };
        let frame = Frame { sent_at: Some(raw(&sent_at)), context: Some(raw(&context)), integrations: Some(raw(&integrations)), write_key: None };
        let facts = Facts { frame, received_at: WallTime::from_millis(received), ..facts(endpoint) };
        let item = raw(&item);
        match translate(item, &facts, &settings) {
            Err(Refusal::NotObject) => prop_assert!(item.kind() != Kind::Object),
            Err(Refusal::Deletion) => prop_assert!(facts.endpoint == Endpoint::Webhook),
            Err(Refusal::NoId) => prop_assert!(settings.idless == Idless::Refuse && item.kind() == Kind::Object),
            Ok(done) => {
                let copy = parse(&done.json).map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert_eq!(untouched(copy), untouched(item));
                let names: Vec<_> = copy.members().map(|(key, _)| key.name()).collect();
                let unique: HashSet<_> = names.iter().collect();
                prop_assert_eq!(unique.len(), names.len(), "no name twice: {:?}", names);
                prop_assert_eq!(&translate(item, &facts, &settings).unwrap(), &done, "the same twice");
                let head = Head::of(item, endpoint).message_id(facts.envelope, facts.index).into_owned();
                prop_assert_eq!(copy.get("messageId").unwrap().string().unwrap(), head, "the id that joins the two sides");
                prop_assert!(!done.rules.is_empty());
            }
        }
    }

    #[test]
    fn a_copy_translates_to_itself_but_for_its_times(item in any_json(), endpoint in any_endpoint()) {
        if let Ok(first) = translate(parse(item.as_bytes()).unwrap(), &facts(endpoint), &Settings::default()) {
            let again = translate(parse(&first.json).unwrap(), &facts(endpoint), &Settings::default()).unwrap();
            let allowed: Rules = [Rule::TIMES, Rule::SKEW].into_iter().collect();
            let also = if matches!(endpoint, Endpoint::Pixel(_)) { Rules::from(Rule::PIXEL) } else { Rules::NONE };
            prop_assert_eq!(again.rules.union(allowed).union(also), allowed.union(also), "{}", String::from_utf8_lossy(&again.json));
        }
    }
}
