//! The decision: which events of an envelope go where.

use super::Source;
use crate::model::{PerDestination, Percent, Plan, Revision, Selection};

/// A person's place on the scale that shares are cut from: 0 to 9,999, the same for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

/// A person, as routing and ordering know one: a stable 64-bit hash of the anonymousId, else the userId, else the messageId.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person(pub u64);

/// What a decision looks at, for one event. Rules by event, version and platform will add to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inquiry {
    /// Whose event it is.
    pub person: Person,
}

/// Decides one envelope: one inquiry for each of its events, in order.
#[must_use]
pub fn decide(source: &Source, revision: Revision, events: &[Inquiry]) -> Plan {
    let route = source.route;
    let (segment, rudderstack) = (route.segment().hundredths(), route.rudderstack().hundredths());
    let to_rudderstack = |bucket: Bucket| bucket.0 < rudderstack;
    let to_segment = |bucket: Bucket| bucket.0 >= Percent::FULL.hundredths() - segment || bucket.0 < route.verify().hundredths();
    Plan {
        revision,
        events: PerDestination { segment: select(segment, events, to_segment), rudderstack: select(rudderstack, events, to_rudderstack) },
    }
}

/// The full share needs no buckets; nothing else is common enough to be worth a short cut.
fn select(share: u16, events: &[Inquiry], chosen: impl Fn(Bucket) -> bool) -> Selection {
    if share == Percent::FULL.hundredths() {
        return Selection::All;
    }
    let indices = (0_u16..).zip(events).filter(|(_, event)| chosen(event.person.bucket())).map(|(index, _)| index);
    Selection::of(indices.collect(), events.len())
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
        model::{Destination, Secret, SourceId},
        routing::{Region, Route, Stage},
    };

    fn source(route: &str) -> Source {
        Source {
            id: SourceId::parse("web").unwrap(),
            name: "web".into(),
            segment_keys: vec![Secret::new("wk_test_a")],
            rudderstack_key: None,
            region: Region::Us,
            route: Route::from(route.parse::<Stage>().unwrap()),
            rate_limits: PerDestination::default(),
        }
    }

    fn people(count: usize) -> Vec<Inquiry> {
        (0..count).map(|n| Inquiry { person: Person::of(Some(&format!("person-{n}")), None, "m") }).collect()
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
