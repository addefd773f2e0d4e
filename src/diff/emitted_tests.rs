//! Two vendors' copies of one event: what is found, where, and at what cost.

use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use super::{noise_tests::names, *};
use crate::model::json::{Raw, parse};

fn pair<'a>(segment: &'a str, rudderstack: &'a str) -> Pair<'a> {
    Pair { segment: parse(segment.as_bytes()).unwrap(), rudderstack: parse(rudderstack.as_bytes()).unwrap(), arrival: Arrival::Unknown }
}

fn compared<'a>(segment: &'a str, rudderstack: &'a str) -> Comparison<'a> {
    emitted(pair(segment, rudderstack), &Noise::new(names))
}

#[test]
fn every_kind_of_mismatch_is_told_with_what_both_have() {
    let segment = r#"{"event":"Buy","properties":{"a":1,"b":"1","c":"X","d":12345678901234567891,"e":{"f":1},"items":[{"p":1},{"p":2}]},
        "timestamp":"2026-11-23T12:00:00Z"}"#;
    let rudderstack = r#"{"timestamp":"2026-11-23T12:01:00Z","properties":{"items":[{"p":1},{"p":"2"},{"p":3}],"e":{"g":1},
        "d":12345678901234567168,"c":"x","b":1,"a":2},"event":"B\u0075y"}"#;
    let side = |raw: Option<Raw<'_>>| raw.map_or("-", Raw::text).to_owned();
    let told: Vec<_> = compared(segment, rudderstack)
        .mismatches
        .iter()
        .map(|found| format!("{} {} {} {}", found.path, found.kind, side(found.segment), side(found.rudderstack)))
        .collect();
    let want = [
        "properties.a value 1 2",
        "properties.b type \"1\" 1",
        "properties.c case \"X\" \"x\"",
        "properties.d precision 12345678901234567891 12345678901234567168",
        "properties.e.f missing_in_rudderstack 1 -",
        "properties.e.g missing_in_segment - 1",
        "properties.items[1].p type 2 \"2\"",
        "properties.items[2] missing_in_segment - {\"p\":3}",
        "timestamp time \"2026-11-23T12:00:00Z\" \"2026-11-23T12:01:00Z\"",
    ];
    assert_eq!(told, want);
}

#[test]
fn a_thousand_items_are_one_group() {
    let items = |price: &str| format!(r#"{{"properties":{{"items":[{}]}}}}"#, vec![format!(r#"{{"price":{price}}}"#); 1_000].join(","));
    let (segment, rudderstack) = (items("1"), items("\"1\""));
    let found = compared(&segment, &rudderstack).mismatches;
    assert_eq!((found.len(), compared(&segment, &rudderstack).groups().count()), (1_000, 1));
    assert_eq!(found[999].path, "properties.items[999].price");
    assert!(found.iter().all(|found| found.group == "properties.items[*].price" && found.kind == MismatchKind::Type));
}

#[test]
fn items_in_another_order_are_one_finding_and_anything_more_is_told_by_place() {
    let told = |segment: &str, rudderstack: &str| -> Vec<String> {
        let found = compared(segment, rudderstack);
        found.mismatches.iter().map(|found| format!("{} {}", found.path, found.kind)).collect()
    };
    let cases: [(&str, &str, &[&str]); 5] = [
        (r#"{"a":[1,{"b":2,"c":3},1]}"#, r#"{"a":[{"c":3.0,"b":2,"d":null},1,1]}"#, &["a order"]),
        (r#"{"a":[[1,2],[3]]}"#, r#"{"a":[[2,1],[3]]}"#, &["a[0] order"]),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1,1]}"#, &["a[0] value", "a[1] value", "a[2] missing_in_segment"]),
        (r#"{"a":[1,1,2]}"#, r#"{"a":[2,2,1]}"#, &["a[0] value", "a[1] value", "a[2] value"]),
        (r#"{"a":[1.0,2]}"#, r#"{"a":[1,2.0]}"#, &[]),
    ];
    for (segment, rudderstack, want) in cases {
        assert_eq!(told(segment, rudderstack), want, "{segment} {rudderstack}");
    }
}

#[test]
fn no_name_can_be_taken_for_another_place() {
    // A member whose name has a dot in it is not the client's address, nor is one below an array.
    let found = compared(r#"{"context.direct":1,"context":[{"direct":1}]}"#, r#"{"context.direct":2,"context":[{"direct":2}]}"#);
    let paths: Vec<_> = found.mismatches.iter().map(|found| found.path.as_str()).collect();
    assert_eq!(paths, ["context[0].direct", "[\"context.direct\"]"]);
    let whole = compared("[]", "{}");
    assert_eq!((whole.mismatches[0].path.as_str(), whole.mismatches[0].kind), ("$", MismatchKind::Type));
}

#[test]
fn what_is_told_is_bounded_and_the_rest_is_counted() {
    let many = |value: &str| format!("[{}]", vec![value; 5_000].join(","));
    let (segment, rudderstack) = (many("1"), many("2"));
    let found = compared(&segment, &rudderstack);
    assert_eq!((found.mismatches.len(), found.left_out), (1_000, 4_000));

    let nulls = (0..5_000).map(|number| format!(r#""a{number}":null"#)).collect::<Vec<_>>().join(",");
    let nulls = format!("{{{nulls}}}");
    let noise = compared(&nulls, "{}").noise;
    assert_eq!(noise.len(), 201);
    assert_eq!(noise.iter().map(|hit| hit.count).sum::<u32>(), 5_000, "each is counted, if not each by its place");

    // A long name is not copied for each of the thousand mismatches below it.
    let name = "n".repeat(100_000);
    let below = |value: &str| format!(r#"{{"{name}":{}}}"#, many(value));
    let (segment, rudderstack) = (below("1"), below("2"));
    let found = compared(&segment, &rudderstack);
    assert_eq!(found.mismatches[0].path, "*[0]");
    let names = |value: &str| format!("{}{value}{}", format!(r#"{{"{}":"#, "m".repeat(100)).repeat(60), "}".repeat(60));
    let (segment, rudderstack) = (names("1"), names("2"));
    let found = compared(&segment, &rudderstack).mismatches;
    assert!(found.len() == 1 && found[0].path.len() < 2_048 && found[0].kind == MismatchKind::Value, "{found:?}");
}

/// Whoever sends an event chooses its shape.
#[test]
fn hostile_shapes_cost_no_more_than_their_size() {
    let deep = |value: &str| format!("{}{value}{}", r#"{"a":["#.repeat(20_000), "]}".repeat(20_000));
    let wide = |value: &str| format!("{{{}}}", (0..20_000).map(|name| format!(r#""k{name}":{value}"#)).collect::<Vec<_>>().join(","));
    let repeated = |value: &str| format!("{{{}}}", vec![format!(r#""a":{value}"#); 20_000].join(","));
    let nested = |value: &str| format!(r#"{{"properties":{}}}"#, wide(value));
    let integrations = |value: &str| format!(r#"{{"integrations":{}}}"#, wide(value));
    for (name, shape, values) in [
        ("deep", &deep as &dyn Fn(&str) -> String, 128),
        ("wide", &wide, 40_001),
        ("repeated", &repeated, 3),
        ("nested", &nested, 40_002),
        ("integrations", &integrations, 40_002),
    ] {
        let (segment, rudderstack) = (shape("true"), shape("false"));
        let found = compared(&segment, &rudderstack);
        assert!(!found.agrees(), "{name}");
        assert!(found.looked_at <= values, "{name}: {} looked at", found.looked_at);
        assert!(compared(&segment, &segment).mismatches.is_empty(), "{name}");
        // Only one side has it: what can be empty is looked through, once.
        assert!(compared(&segment, "{}").looked_at <= 2 * values, "{name}");
    }
}

/// An event in which everything counts: no member that protocol.md 5 expects anything of, no null.
fn event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-z ]{0,6}|.{0,4}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z.$]{1,4}|.{0,3}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("p[a-z.]{0,4}|event|name", value, 1..6).prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// The places of all values that stand in no other: their JSON pointers.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    let mut below = |name: String, value| leaves(value, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), found);
    match value {
        Value::Object(members) if !members.is_empty() => members.iter().for_each(|(name, value)| below(name.clone(), value)),
        Value::Array(items) if !items.is_empty() => items.iter().enumerate().for_each(|(at, value)| below(at.to_string(), value)),
        _ => found.push(pointer.to_owned()),
    }
}

/// What stands there instead, and what kind of mismatch that is.
fn mutated(value: &Value) -> (Value, MismatchKind) {
    match value {
        Value::Bool(own) => (json!(!own), MismatchKind::Value),
        Value::Number(own) => (json!(own.as_f64().map_or(0, |own| if own > 1.0 { -7 } else { 7_000 })), MismatchKind::Value),
        Value::String(own) => (json!(own.len()), MismatchKind::Type),
        Value::Array(_) | Value::Object(_) => (json!("full"), MismatchKind::Type),
        Value::Null => unreachable!("no event here has a null"),
    }
}

/// The same members in another order, all the way down.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> =
                members.iter().rev().map(|(name, value)| format!("{}: {}", Value::from(name.clone()), reversed(value))).collect();
            format!("{{ {} }}", members.join(" , "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(", ")),
        leaf => leaf.to_string(),
    }
}

/// How many values a value is.
fn count(value: &Value) -> u64 {
    match value {
        Value::Object(members) => 1 + members.values().map(count).sum::<u64>(),
        Value::Array(items) => 1 + items.iter().map(count).sum::<u64>(),
        _ => 1,
    }
}

fn pointer_as_path(value: &Value, pointer: &str) -> String {
    let (mut place, mut at) = (place::Place::default(), value);
    for step in pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")) {
        match at {
            Value::Array(items) => {
                let index = step.parse().unwrap();
                place.enter_item(index);
                at = &items[index];
            }
            other => {
                place.enter_member(&step);
                at = &other[step.as_str()];
            }
        }
    }
    place.path().to_owned()
}

proptest! {
    #[test]
    fn an_event_agrees_with_itself_however_its_members_stand(event in event()) {
        let (text, other) = (event.to_string(), reversed(&event));
        let same = compared(&text, &text);
        prop_assert!(same.agrees() && same.noise.is_empty());
        let found = compared(&text, &other);
        prop_assert!(found.agrees() && found.noise.is_empty(), "{:?}", found);
        prop_assert!(found.looked_at <= count(&event));
    }

    #[test]
    fn a_change_anywhere_is_found_at_its_place_and_nowhere_else(event in event(), at: Index) {
        let mut places = Vec::new();
        leaves(&event, "", &mut places);
        let pointer = at.get(&places);
        let mut changed = event.clone();
        let place = changed.pointer_mut(pointer).unwrap();
        let (value, kind) = mutated(place);
        *place = value;
        let (text, other) = (event.to_string(), reversed(&changed));
        let found = compared(&text, &other);
        prop_assert_eq!(found.mismatches.len(), 1, "{:?}", found);
        prop_assert_eq!(&found.mismatches[0].path, &pointer_as_path(&event, pointer));
        prop_assert_eq!(found.mismatches[0].kind, kind);
        prop_assert!(found.noise.is_empty());
        // What is told of it is enough to make it an accepted group.
        let treatment = Treatment::Accept(found.mismatches[0].group.parse().unwrap(), kind);
        let rule = NoiseRule { scope: Scope::All, treatment, reason: String::new() };
        let source = crate::model::SourceId::parse("a").unwrap();
        let noise = Noise::new(names).with_rules([&rule], &source).unwrap();
        let accepted = emitted(pair(&text, &other), &noise);
        prop_assert!(accepted.agrees() && accepted.noise.len() == 1 && accepted.noise[0].at.reason == Reason::Accepted);
    }

    #[test]
    fn a_member_that_is_gone_is_found_on_either_side(event in event(), name in "q[a-z]{1,3}", value in event()) {
        let Value::Object(mut members) = event.clone() else { unreachable!("an event is an object") };
        members.insert(name.clone(), value);
        let (text, more) = (event.to_string(), Value::Object(members).to_string());
        for (segment, rudderstack, kind) in
            [(&text, &more, MismatchKind::MissingInSegment), (&more, &text, MismatchKind::MissingInRudderStack)]
        {
            let found = compared(segment, rudderstack).mismatches;
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!((found[0].path.as_str(), found[0].kind), (name.as_str(), kind));
        }
    }

    #[test]
    fn sides_swapped_is_the_same_mirrored(one in event(), other in event()) {
        let (one_text, other_text) = (one.to_string(), other.to_string());
        let (there, back) = (compared(&one_text, &other_text), compared(&other_text, &one_text));
        prop_assert!(there.looked_at <= count(&one) + count(&other));
        prop_assert_eq!(there.looked_at, back.looked_at);
        let mirrored: Vec<_> = back.mismatches.into_iter().map(|found| {
            Mismatch { kind: found.kind.mirrored(), segment: found.rudderstack, rudderstack: found.segment, ..found }
        }).collect();
        prop_assert_eq!(there.mismatches, mirrored);
    }

    /// Hostile members where something is expected: whatever stands there, nothing panics, and an event agrees with itself, but for
    /// destinations, which the two vendors read differently.
    #[test]
    fn nothing_that_stands_in_an_expected_place_makes_it_panic(values in proptest::collection::vec((EXPECTED, event()), 0..8), swap: bool) {
        let mut members = Map::new();
        let mut context = Map::new();
        for (name, value) in values {
            let value = value.as_object().and_then(|value| value.values().next().cloned()).unwrap_or_default();
            match name.strip_prefix("context.") {
                Some(name) => context.insert(name.to_owned(), value),
                None => members.insert(name, value),
            };
        }
        members.insert("context".to_owned(), Value::Object(context));
        let text = Value::Object(members).to_string();
        prop_assert!(compared(&text, &text).mismatches.iter().all(|found| found.path.starts_with("integrations")));
        let (segment, rudderstack) = if swap { ("{}", text.as_str()) } else { (text.as_str(), "{}") };
        let _ = compared(segment, rudderstack);
    }
}

const EXPECTED: &str = "timestamp|originalTimestamp|sentAt|integrations|userId|anonymousId|previousId|messageId|context\\.(ip|traits|direct)|\
    properties|traits|channel|header|type";
