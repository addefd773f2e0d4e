//! The decision: which events of an envelope go where.

use super::{Facts, Match, Route, Source};
use crate::model::{Destination, PerDestination, Percent, Plan, Revision, Selection};

/// A person's place on the scale that shares are cut from: 0 to 9,999, the same for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

/// A person, as routing and ordering know one: a stable 64-bit hash of the anonymousId, else the userId, else the messageId.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person(pub u64);

/// What a decision looks at, for one event.
#[derive(Debug, Clone)]
pub struct Inquiry<'a> {
    /// Whose event it is.
    pub person: Person,
    /// What the source's rules look at; of a source without rules nothing need be in it.
    pub facts: Facts<'a>,
}

/// Decides one envelope: one inquiry for each of its events, in order.
#[must_use]
pub fn decide(source: &Source, revision: Revision, events: &[Inquiry<'_>]) -> Plan {
    // Nearly all sources have no rules, and nearly all routes a full share: neither looks at each event.
    let routes: Option<Vec<Route>> =
        (!source.rules.is_empty()).then(|| events.iter().map(|event| route_of(source, &event.facts)).collect());
    let route = |index: usize| routes.as_ref().map_or(source.route, |routes| routes[index]);
    let select = |share: fn(Route) -> u16, chosen: fn(Route, Bucket) -> bool| {
        let full = |route: &Route| share(*route) == Percent::FULL.hundredths();
        if routes.as_ref().map_or_else(|| full(&source.route), |routes| routes.iter().all(full)) {
            return Selection::All;
        }
        let indices = (0_u16..).zip(events).filter(|(index, event)| chosen(route(usize::from(*index)), event.person.bucket()));
        Selection::of(indices.map(|(index, _)| index).collect(), events.len())
    };
    Plan {
        revision,
        events: PerDestination {
            segment: select(|route| route.segment().hundredths(), to_segment),
            rudderstack: select(|route| route.rudderstack().hundredths(), to_rudderstack),
        },
    }
}

/// How many of these events a rule would have looked at more closely, had they told a version that can be read.
#[must_use]
pub fn unversioned(source: &Source, events: &[Inquiry<'_>]) -> usize {
    let first = |event: &&Inquiry<'_>| source.rules.iter().map(|rule| rule.when.take(&event.facts)).find(|taken| *taken != Match::No);
    events.iter().filter(|event| first(event) == Some(Match::NoVersion)).count()
}

fn route_of(source: &Source, facts: &Facts<'_>) -> Route {
    source.rules.iter().find(|rule| rule.when.take(facts) == Match::Yes).map_or(source.route, |rule| rule.route)
}

fn to_rudderstack(route: Route, bucket: Bucket) -> bool {
    bucket.0 < route.rudderstack().hundredths()
}

fn to_segment(route: Route, bucket: Bucket) -> bool {
    bucket.0 >= Percent::FULL.hundredths() - route.segment().hundredths() || bucket.0 < route.verify().hundredths()
}

impl Route {
    /// Whether this route, without rules, sends a person's events there.
    #[must_use]
    pub fn takes(self, destination: Destination, person: Person) -> bool {
        match destination {
            Destination::Segment => to_segment(self, person.bucket()),
            Destination::RudderStack => to_rudderstack(self, person.bucket()),
        }
    }
}

impl Person {
    /// The person of an event with these ids; an empty id counts as absent (a person must not be everybody without an id).
    #[must_use]
    pub fn of(anonymous_id: Option<&str>, user_id: Option<&str>, message_id: &str) -> Self {
        fn present(id: Option<&str>) -> Option<&str> {
            id.map(str::trim).filter(|id| !id.is_empty())
        }
        let id = present(anonymous_id).or_else(|| present(user_id)).unwrap_or(message_id);
        Self(fnv1a(id.as_bytes()))
    }

    /// The person's bucket.
    #[must_use]
    pub fn bucket(self) -> Bucket {
        // FNV's low bits are its best; the fold brings the high ones in before the cut.
        let folded = (self.0 >> 32) ^ (self.0 & 0xffff_ffff);
        Bucket(u16::try_from(folded % 10_000).unwrap_or(0))
    }
}

impl Bucket {
    /// 0 to 9,999.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.0
    }
}

/// FNV-1a with a finish of `MurmurHash3`: small, fixed for ever, and even enough that 25 % is 25 %. Not for keys that an attacker chooses.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{EventKind, Secret, SourceId},
        routing::{Conditions, Region, Route, Rule, Stage},
    };

    fn source(route: &str) -> Source {
        Source {
            id: SourceId::parse("web").unwrap(),
            name: "web".into(),
            segment_keys: vec![Secret::new("wk_test_a")],
            rudderstack_key: None,
            region: Region::Us,
            is_retired: false,
            route: Route::from(route.parse::<Stage>().unwrap()),
            rate_limits: PerDestination::default(),
            rules: Vec::new(),
        }
    }

    fn people(count: usize) -> Vec<Inquiry<'static>> {
        let inquiry = |n| Inquiry { person: Person::of(Some(&format!("person-{n}")), None, "m"), facts: Facts::default() };
        (0..count).map(inquiry).collect()
    }

    #[test]
    fn a_quarter_is_a_quarter_and_everybody_is_somewhere() {
        let people = people(20_000);
        let plan = decide(&source("cutover=25%"), Revision(3), &people);
        let moved = plan.events.rudderstack.count(people.len());
        assert!((4_800..5_200).contains(&moved), "{moved}");
        for index in 0..people.len() {
            assert_ne!(plan.events.segment.contains(index), plan.events.rudderstack.contains(index), "person {index}");
        }
    }

    #[test]
    fn growing_a_share_moves_nobody_back() {
        let people = people(5_000);
        let (quarter, half) = (decide(&source("cutover=25%"), Revision(1), &people), decide(&source("cutover=50%"), Revision(2), &people));
        for index in 0..people.len() {
            assert!(!quarter.events.rudderstack.contains(index) || half.events.rudderstack.contains(index));
        }
    }

    #[test]
    fn verified_people_stay_on_both_sides() {
        let mut source = source("rudderstack-only");
        source.route = Route::new(Percent::ZERO, Percent::FULL, "10%".parse().unwrap()).unwrap();
        let people = people(10_000);
        let plan = decide(&source, Revision(1), &people);
        let kept = plan.events.of(Destination::Segment).count(people.len());
        assert!((900..1_100).contains(&kept), "{kept}");
    }

    #[test]
    fn the_first_rule_that_matches_splits_a_batch() {
        let rule =
            |kind, route: &str| Rule { when: Conditions { kinds: vec![kind], ..Conditions::default() }, route: route.parse().unwrap() };
        let mut source = source("both");
        source.rules = vec![
            rule(EventKind::Page, "segment-only"),
            rule(EventKind::Track, "rudderstack-only"),
            rule(EventKind::Page, "rudderstack-only"),
        ];
        let events = [EventKind::Page, EventKind::Track, EventKind::Identify]
            .map(|kind| Inquiry { person: Person::of(Some("a"), None, "m"), facts: Facts::of(Some(kind), None, None, None) });
        let plan = decide(&source, Revision(1), &events);
        assert_eq!((plan.events.segment, plan.events.rudderstack), (Selection::Some(vec![0, 2]), Selection::Some(vec![1, 2])));
        let plan = decide(&source, Revision(1), &events[2..]);
        assert_eq!((plan.events.segment, plan.events.rudderstack), (Selection::All, Selection::All));
    }

    #[test]
    fn events_without_a_version_are_counted_where_a_rule_asks_for_one() {
        let mut source = source("both");
        let when = Conditions { app: Some("< 4".parse().unwrap()), ..Conditions::default() };
        source.rules = vec![Rule { when, route: "segment-only".parse().unwrap() }];
        let plan = decide(&source, Revision(1), &people(3));
        assert_eq!(plan.events.rudderstack, Selection::All, "a version that is not told never matches");
        assert_eq!(unversioned(&source, &people(3)), 3);
    }

    #[test]
    fn buckets_are_fixed_for_ever() {
        // A change of these numbers would move people between destinations at an upgrade.
        let buckets =
            ["a", "person-1", "\u{e9}", "0b9e7a52-6f1c-4c0e-9a55-0d4f3f1f8a11"].map(|id| Person::of(Some(id), None, "m").bucket().index());
        assert_eq!(buckets, [1667, 1402, 7266, 7622]);
    }

    #[test]
    fn a_person_is_the_anonymous_id_else_the_user_id_else_the_message() {
        let person = |anonymous, user| Person::of(anonymous, user, "m");
        assert_eq!(person(Some("a"), Some("u")), person(Some("a"), None));
        assert_eq!(person(None, Some("u")), person(Some(" "), Some("u")), "a blank id is nobody's");
        assert_eq!(person(None, None), person(Some("m"), None));
    }
}
