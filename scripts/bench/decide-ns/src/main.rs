//! What a decision costs, in nanoseconds of CPU time an event: `cargo run --release` in this directory.
//!
//! A batch of 100 events of 100 people, decided by a source without rules, by one with 20 rules of which none matches (the most
//! work there is), and by one with 20 rules of which the last one does. `facts` is the reading of what rules look at.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use segue::{
    model::{EventKind, PerDestination, RateLimit, Revision, Secret, SourceId, json::Raw},
    routing::{Conditions, Facts, Inquiry, Pattern, Person, Region, Rule, Source, decide},
};

const EVENTS: usize = 100;
const ROUNDS: usize = 20_000;

fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Nanoseconds an event; the least of several runs, as a busy machine only adds.
fn measure(mut round: impl FnMut()) -> f64 {
    (0..7)
        .map(|_| {
            let begun = cpu_ns();
            (0..ROUNDS / 7).for_each(|_| round());
            (cpu_ns() - begun) as f64 / (ROUNDS / 7 * EVENTS) as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn source(rules: Vec<Rule>) -> Source {
    Source {
        id: SourceId::parse("web").expect("an id"),
        name: "web".to_owned(),
        segment_keys: vec![Secret::new("wk_test_decide")],
        rudderstack_key: Some(Secret::new("wk_test_decide_too")),
        region: Region::Us,
        route: "cutover=25%".parse().expect("a route"),
        rules,
        rate_limits: PerDestination { segment: RateLimit::None, rudderstack: RateLimit::None },
    }
}

fn rules(last: &str) -> Vec<Rule> {
    let rule = |number: usize| {
        let mut when = Conditions::default();
        match number % 4 {
            0 => when.event = Pattern::new(&format!("Order {number} *")),
            1 => when.app = format!("android < 1.{number}").parse().ok(),
            2 => when.library = format!("analytics-kotlin < 0.{number}").parse().ok(),
            _ => (when.kinds, when.platform) = (vec![EventKind::Screen], Pattern::new("tvos")),
        }
        Rule { when, route: "segment-only".parse().expect("a route") }
    };
    let last = Rule { when: Conditions { event: Pattern::new(last), ..Conditions::default() }, route: "both".parse().expect("a route") };
    (0..19).map(rule).chain([last]).collect()
}

fn main() {
    let context = r#"{"app":{"name":"shop","namespace":"com.example.shop","version":"4.12.3"},"library":{"name":"analytics-kotlin","version":"1.16.2"},"device":{"type":"android"},"os":{"name":"Android","version":"14"}}"#;
    let context = Raw::accepted(context).expect("JSON");
    let name = Raw::accepted(r#""Checkout Step Completed""#).expect("JSON");
    let facts = || Facts::of(Some(EventKind::Track), Some(name), Some(context), None);
    let people: Vec<Person> = (0..EVENTS).map(|n| Person::of(Some(&format!("person-{n}")), None, "m")).collect();
    let inquiries: Vec<Inquiry<'_>> = people.iter().map(|person| Inquiry { person: *person, facts: facts() }).collect();
    for (what, source) in [
        ("no rules", source(Vec::new())),
        ("20 rules, none matches", source(rules("Nothing like it"))),
        ("20 rules, the last matches", source(rules("Checkout *"))),
    ] {
        let ns = measure(|| {
            black_box(decide(black_box(&source), Revision(1), black_box(&inquiries)));
        });
        println!("decide, {what:28} {ns:7.1} ns an event");
    }
    let ns = measure(|| {
        for _ in 0..EVENTS {
            black_box(facts());
        }
    });
    println!("facts {:31} {ns:7.1} ns an event", "");
}
