//! Each line of protocol.md 5, and what no line covers: that is found, at its place, and nothing else is.

use std::collections::BTreeMap;

use super::{CLOCK_MS, Comparison, EmittedKind, Noise, Pattern, compare_emitted};
use crate::model::{
    Dice,
    json::{Raw, parse},
};

fn names(name: &str) -> Vec<String> {
    match name {
        "Customer.io" => vec!["Customer IO".to_owned()],
        "Amplitude (Actions)" => vec!["Amplitude".to_owned()],
        _ => Vec::new(),
    }
}

const PLAIN: Comparison<'static> = Comparison { names: &names, ignored: &[], clock_ms: CLOCK_MS };

type Told = (Vec<(String, EmittedKind)>, BTreeMap<Noise, u64>);

fn told_by(segment: &str, rudderstack: &str, comparison: &Comparison<'_>) -> Told {
    let parsed = |text: &'static str| -> Raw<'static> { parse(text.as_bytes()).unwrap() };
    let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let diff = compare_emitted(parsed(leak(segment)), parsed(leak(rudderstack)), comparison);
    (diff.found.into_iter().map(|found| (found.path, found.kind)).collect(), diff.noise)
}

fn told(segment: &str, rudderstack: &str) -> Told {
    told_by(segment, rudderstack, &PLAIN)
}

/// What counts for nothing, each with its reason.
#[test]
fn the_noise_list_is_noise() {
    let cases = [
        (r#"{"receivedAt":"a"}"#, r#"{"receivedAt":"b"}"#, Noise::Vendors),
        ("{}", r#"{"rudderId":"x"}"#, Noise::Vendors),
        ("{}", r#"{"request_ip":"1.2.3.4"}"#, Noise::Vendors),
        (r#"{"version":2}"#, "{}", Noise::Vendors),
        (r#"{"channel":"client"}"#, r#"{"channel":"web"}"#, Noise::Vendors),
        (r#"{"projectId":"p"}"#, "{}", Noise::Vendors),
        (r#"{"_metadata":{"bundled":[]}}"#, "{}", Noise::Vendors),
        (r#"{"metadata":{"a":{"b":1}}}"#, r#"{"metadata":{"a":{"b":2}}}"#, Noise::Vendors),
        (r#"{"writeKey":"wk_test_a"}"#, "{}", Noise::Vendors),
        ("{}", r#"{"recordId":"1"}"#, Noise::Vendors),
        (r#"{"context":{"direct":true}}"#, r#"{"context":{}}"#, Noise::Vendors),
        (r#"{"context":{}}"#, r#"{"context":{"sourceId":"s","destinationId":"d"}}"#, Noise::Vendors),
        (r#"{"context":{}}"#, r#"{"context":{"sources":{"job_id":"1"}}}"#, Noise::Vendors),
        (r#"{"sentAt":"2026-11-27T00:00:00Z"}"#, r#"{"sentAt":"2026-11-26T00:00:00Z"}"#, Noise::Clock),
        (r#"{"timestamp":"2026-11-27T00:00:00.000Z"}"#, r#"{"timestamp":"2026-11-27T00:00:01.999Z"}"#, Noise::Clock),
        (r#"{"timestamp":"2026-11-27T00:00:00Z"}"#, r#"{"timestamp":"2026-11-27T01:00:00.000+01:00"}"#, Noise::Form),
        (r#"{"originalTimestamp":"2026-11-27T00:00:00.5Z"}"#, r#"{"originalTimestamp":"2026-11-27T02:00:00.500+02:00"}"#, Noise::Form),
        (
            r#"{"originalTimestamp":"2026-11-27T00:00:00.5Z","receivedAt":"2026-11-27T00:00:00.5Z"}"#,
            r#"{"originalTimestamp":"2026-11-27T00:00:00.1Z","receivedAt":"2026-11-27T00:00:00.5Z"}"#,
            Noise::Clock,
        ),
        ("{}", r#"{"originalTimestamp":"2026-11-27T00:00:00.1Z"}"#, Noise::Nothing),
        (r#"{"channel":"server","context":{}}"#, r#"{"channel":"server","context":{"ip":"10.0.0.1"}}"#, Noise::ServerAddress),
        (r#"{"anonymousId":null}"#, "{}", Noise::Nothing),
        (r#"{"anonymousId":""}"#, "{}", Noise::Nothing),
        (r#"{"anonymousId":""}"#, r#"{"anonymousId":null}"#, Noise::Form),
        (r#"{"userId":42}"#, r#"{"userId":"42"}"#, Noise::Form),
        (r#"{"context":{}}"#, "{}", Noise::Nothing),
        ("{}", r#"{"properties":{}}"#, Noise::Nothing),
        (r#"{"traits":{}}"#, "{}", Noise::Nothing),
        (r#"{"properties":{"a":null}}"#, r#"{"properties":{}}"#, Noise::Nothing),
        (r#"{"properties":{"a":{"b":null}}}"#, r#"{"properties":{"a":{}}}"#, Noise::Nothing),
        (r#"{"properties":{"a":1.0}}"#, r#"{"properties":{"a":1}}"#, Noise::Form),
        (r#"{"properties":{"a":[1.0,{"b":2,"c":3}]}}"#, r#"{"properties":{"a":[1,{"c":3,"b":2}]}}"#, Noise::Form),
        (r#"{"properties":{"a":9007199254740993}}"#, r#"{"properties":{"a":9007199254740992}}"#, Noise::Rounded),
        ("{}", r#"{"context":{"ip":"10.0.0.1"}}"#, Noise::ServerAddress),
        (r#"{"integrations":{"Customer.io":false}}"#, r#"{"integrations":{"Customer IO":false,"Salesforce":false}}"#, Noise::Form),
        (
            r#"{"integrations":{"All":false,"Amplitude (Actions)":{"k":1}}}"#,
            r#"{"integrations":{"All":false,"Amplitude":{"k":2}}}"#,
            Noise::Form,
        ),
        (r#"{"integrations":{"Segment.io":true}}"#, r#"{"integrations":{"Salesforce":false}}"#, Noise::Form),
        ("{}", r#"{"integrations":{"Salesforce":false}}"#, Noise::Form),
        ("{}", r#"{"anonymousId":"p","previousId":"p"}"#, Noise::Bridged),
        (r#"{"traits":{"a":1}}"#, r#"{"traits":{"a":1},"context":{"traits":{"a":1}}}"#, Noise::Bridged),
    ];
    for (segment, rudderstack, reason) in cases {
        // What stands beside it on one side is no part of the case.
        let (mut segment, mut rudderstack) = (segment.to_owned(), rudderstack.to_owned());
        if rudderstack.contains("previousId") {
            segment = r#"{"anonymousId":"p"}"#.to_owned();
        }
        if reason == Noise::Bridged && rudderstack.contains("traits") {
            segment = r#"{"traits":{"a":1},"context":{}}"#.to_owned();
        }
        let (found, noise) = told(&segment, &rudderstack);
        assert!(found.is_empty(), "{segment} {rudderstack}: {found:?}");
        assert!(noise.contains_key(&reason), "{segment} {rudderstack}: {noise:?}");
        std::mem::swap(&mut segment, &mut rudderstack);
    }
}

/// What looks like it and counts.
#[test]
fn what_is_just_beyond_the_noise_list_is_found() {
    use EmittedKind::{Case, MissingInRudderStack, MissingInSegment, Order, Precision, Time, Type, Value};
    let cases = [
        (r#"{"timestamp":"2026-11-27T00:00:00.000Z"}"#, r#"{"timestamp":"2026-11-27T00:00:02.001Z"}"#, "timestamp", Time),
        (
            r#"{"originalTimestamp":"2026-11-27T00:00:00.5Z"}"#,
            r#"{"originalTimestamp":"2026-11-27T00:00:00.501Z"}"#,
            "originalTimestamp",
            Time,
        ),
        (r#"{"originalTimestamp":"2026-11-27T00:00:00.5Z"}"#, "{}", "originalTimestamp", MissingInRudderStack),
        (r#"{"channel":"client","context":{"ip":"1.2.3.4"}}"#, r#"{"context":{"ip":"1.2.3.5"}}"#, "context.ip", Value),
        (r#"{"channel":"client","context":{"ip":"1.2.3.4"}}"#, r#"{"context":{}}"#, "context.ip", MissingInRudderStack),
        (r#"{"userId":"42"}"#, r#"{"userId":"43"}"#, "userId", Value),
        (r#"{"userId":"42"}"#, "{}", "userId", MissingInRudderStack),
        (r#"{"properties":{"a":"1"}}"#, r#"{"properties":{"a":1}}"#, "properties.a", Type),
        (r#"{"properties":{"a":9007199254740992}}"#, r#"{"properties":{"a":9007199254740993}}"#, "properties.a", Precision),
        (r#"{"properties":{"a":1}}"#, r#"{"properties":{"a":2}}"#, "properties.a", Value),
        (r#"{"properties":{"a":"Red"}}"#, r#"{"properties":{"a":"red"}}"#, "properties.a", Case),
        (r#"{"properties":{"a":"Red wine"}}"#, r#"{"properties":{"a":"Red"}}"#, "properties.a", Value),
        (r#"{"properties":{"a":[1,2]}}"#, r#"{"properties":{"a":[2,1]}}"#, "properties.a", Order),
        (r#"{"properties":{"a":[{"b":1},{"b":2}]}}"#, r#"{"properties":{"a":[{"b":1},{"b":3}]}}"#, "properties.a[*].b", Value),
        (r#"{"properties":{"a":[1]}}"#, r#"{"properties":{"a":[1,2]}}"#, "properties.a[*]", MissingInSegment),
        (r#"{"properties":{"a":""}}"#, r#"{"properties":{}}"#, "properties.a", MissingInRudderStack),
        (r#"{"properties":{"a":{}}}"#, r#"{"properties":{}}"#, "properties.a", MissingInRudderStack),
        (r#"{"properties":{"a":null}}"#, r#"{"properties":{"a":1}}"#, "properties.a", MissingInSegment),
        (r#"{"properties":{"sentAt":"a"}}"#, r#"{"properties":{"sentAt":"b"}}"#, "properties.sentAt", Value),
        (r#"{"context":{"ips":"a"}}"#, r#"{"context":{"ips":"b"}}"#, "context.ips", Value),
        (r#"{"integrations":{"Customer.io":false}}"#, r#"{"integrations":{"Salesforce":false}}"#, "integrations.Customer IO", Value),
        (r#"{"integrations":{"All":false}}"#, r#"{"integrations":{}}"#, "integrations.All", Value),
        (r#"{"context":{"traits":{"a":1}}}"#, r#"{"context":{"traits":{"a":2}}}"#, "context.traits.a", Value),
        ("{}", r#"{"anonymousId":"p","previousId":"q"}"#, "previousId", MissingInSegment),
        (r#"{"event":"A"}"#, r#"{"event":"B"}"#, "event", Value),
    ];
    for (segment, rudderstack, path, kind) in cases {
        let (found, _) = told(segment, rudderstack);
        assert!(found.contains(&(path.to_owned(), kind)), "{segment} {rudderstack}: {found:?}");
        let beside =
            found.iter().filter(|(at, _)| at != path && !(path == "previousId" && at == "anonymousId") && path != "integrations.All");
        assert_eq!(beside.count(), 0, "{segment} {rudderstack}: {found:?}");
    }
}

#[test]
fn an_array_of_a_thousand_items_is_one_finding() {
    let array = |price: &str| format!(r#"{{"properties":{{"items":[{}]}}}}"#, vec![format!(r#"{{"price":{price}}}"#); 1_000].join(","));
    let (found, _) = told(&array("\"1\""), &array("1"));
    assert_eq!(found, [("properties.items[*].price".to_owned(), EmittedKind::Type)]);
}

#[test]
fn an_operators_rule_makes_noise() {
    let ignored: Vec<Pattern> = ["$.context.device.*", "properties.items[*].price"].iter().map(|text| text.parse().unwrap()).collect();
    let comparison = Comparison { ignored: &ignored, ..PLAIN };
    let segment = r#"{"context":{"device":{"id":"a"}},"properties":{"items":[{"price":1,"sku":"a"}]}}"#;
    let rudderstack = r#"{"context":{"device":{"id":"b"}},"properties":{"items":[{"price":2,"sku":"b"}]}}"#;
    let (found, noise) = told_by(segment, rudderstack, &comparison);
    assert_eq!(found, [("properties.items[*].sku".to_owned(), EmittedKind::Value)]);
    assert_eq!(noise[&Noise::Rule], 2);
}

/// A random value, written out twice: members in another order the second time.
fn random(dice: &mut Dice, depth: u64) -> (String, String) {
    match dice.below(if depth == 0 { 4 } else { 6 }) {
        0 => (dice.below(1_000_000).to_string(), String::new()),
        1 => (format!("\"s{}\"", dice.below(1_000)), String::new()),
        2 => (if dice.once_in(2) { "true" } else { "false" }.to_owned(), String::new()),
        3 => (format!("{}.{}", dice.below(100), dice.between(1, 10)), String::new()),
        4 => {
            let items: Vec<_> = (0..dice.between(1, 5)).map(|_| shown(random(dice, depth - 1))).collect();
            let write = |second: bool| items.iter().map(|(a, b)| if second { b.clone() } else { a.clone() }).collect::<Vec<_>>().join(",");
            (format!("[{}]", write(false)), format!("[ {} ]", write(true)))
        }
        _ => {
            let members: Vec<_> = (0..dice.between(1, 6)).map(|number| (number, shown(random(dice, depth - 1)))).collect();
            let forward: Vec<String> = members.iter().map(|(number, (a, _))| format!("\"m{number}\":{a}")).collect();
            let backward: Vec<String> = members.iter().rev().map(|(number, (_, b))| format!("\"m{number}\" : {b}")).collect();
            (format!("{{{}}}", forward.join(",")), format!("{{{}}}", backward.join(",")))
        }
    }
}

fn shown((first, second): (String, String)) -> (String, String) {
    if second.is_empty() { (first.clone(), first) } else { (first, second) }
}

#[test]
fn how_an_event_is_written_counts_for_nothing_and_one_change_is_found_at_its_place() {
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let (first, second) = shown(random(&mut dice, 4));
        let event = |value: &str, extra: &str| format!(r#"{{"messageId":"1","properties":{{"value":{value},"mark":{extra}}}}}"#);
        let (found, _) = told(&event(&first, "1"), &event(&second, "1"));
        assert_eq!(found, [], "seed {seed}: {first} {second}");
        let (found, _) = told(&event(&first, "1"), &event(&second, "\"1\""));
        assert_eq!(found, [("properties.mark".to_owned(), EmittedKind::Type)], "seed {seed}");
        let (mirrored, _) = told(&event(&first, "\"1\""), &event(&second, "1"));
        assert_eq!(mirrored, found, "seed {seed}: the other way round");
        // Somewhere inside: a digit or letter of the text becomes another.
        let places: Vec<usize> = first.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
        if let Some(at) = places.get(usize::try_from(dice.below(places.len().max(1) as u64)).unwrap()) {
            let mut changed = first.clone().into_bytes();
            changed[*at] = if changed[*at] == b'7' { b'8' } else { b'7' };
            let changed = String::from_utf8(changed).unwrap();
            if parse(changed.as_bytes()).is_ok() && changed != first {
                let (found, _) = told(&event(&first, "1"), &event(&changed, "1"));
                assert!(
                    !found.is_empty() && found.iter().all(|(path, _)| path.starts_with("properties.value")),
                    "seed {seed}: {first} {changed}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn hostile_texts_cost_no_more_than_their_length() {
    let deep = |value: &str| "[".repeat(50_000) + value + &"]".repeat(50_000);
    assert_eq!(told(&deep("1"), &deep("2")).0.len(), 1);
    let wide = |value: &str| format!("{{{}}}", (0..50_000).map(|number| format!("\"n{number}\":{value}")).collect::<Vec<_>>().join(","));
    assert_eq!(told(&wide("1"), &wide("2")).0.len(), 200, "and not all is told");
    let repeats = |value: &str| format!("{{{}}}", vec![format!("\"a\":{value}"); 50_000].join(","));
    assert_eq!(told(&repeats("1"), &repeats("2")).0.len(), 1);
}
