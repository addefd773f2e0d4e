//! The walk through both copies of an event: what differs, at which place, and whose rule says that it does not count.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    Comparison, Mismatch, MismatchKind, Noise, NoiseAt, NoiseHit, Pair, Pattern, Reason, Treatment, expected,
    number::{Likeness, is_double_of, likeness},
    place::Place,
    print::print_of,
};
use crate::model::{
    WallTime,
    json::{Kind, Raw},
};

/// More mismatches of one event are counted and not told: whoever makes them up does not fill the memory.
const MISMATCHES_MAX: usize = 1_000;
/// Places of noise beyond so many are counted together.
const HITS_MAX: usize = 200;
/// Down to here arrays are looked at for another order, each as a whole; below, items are compared by their place alone.
const ORDER_DEPTH_MAX: usize = 8;
/// What an absent object is compared as.
const NO_MEMBERS: &str = "{}";

/// What both have at a place; None: nothing, or null as the value of a member, which is the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) segment: Option<Raw<'a>>,
    pub(super) rudderstack: Option<Raw<'a>>,
}

impl<'a> Sides<'a> {
    pub(super) fn have_one_text(self) -> bool {
        self.segment.map(Raw::text) == self.rudderstack.map(Raw::text)
    }

    pub(super) fn map(self, of: impl Fn(Raw<'a>) -> Option<Raw<'a>>) -> Self {
        Self { segment: self.segment.and_then(&of), rudderstack: self.rudderstack.and_then(&of) }
    }

    pub(super) fn both(self) -> Option<(Raw<'a>, Raw<'a>)> {
        self.segment.zip(self.rudderstack)
    }

    /// Both as objects, an absent one without members; None when either is something else.
    pub(super) fn as_objects(self) -> Option<(Raw<'a>, Raw<'a>)> {
        let object = |side: Option<Raw<'a>>| side.or_else(|| Raw::accepted(NO_MEMBERS)).filter(|raw| raw.kind() == Kind::Object);
        object(self.segment).zip(object(self.rudderstack))
    }

    /// Both as moments.
    pub(super) fn moments(self) -> Option<(WallTime, WallTime)> {
        let moment = |side: Option<Raw<'a>>| side.and_then(Raw::string).and_then(|text| WallTime::parse(&text));
        moment(self.segment).zip(moment(self.rudderstack))
    }
}

/// What a walk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To tell all there is.
    Tell,
    /// To find out whether there is any difference in meaning; expectations of places and rules do not count.
    Probe,
}

/// A walk, and what it found so far.
pub(super) struct Walk<'a, 'n> {
    pub(super) pair: Pair<'a>,
    pub(super) noise: &'n Noise,
    purpose: Purpose,
    place: Place,
    /// For each level, the rules that lead here or further down.
    rules: Vec<Vec<&'n Treatment>>,
    /// What was found; noise stands in `hits` until the end.
    pub(super) found: Comparison<'a>,
    hits: BTreeMap<NoiseAt, u32>,
}

impl<'a, 'n> Walk<'a, 'n> {
    /// Walks through all of a pair.
    pub(super) fn through(pair: Pair<'a>, noise: &'n Noise) -> Comparison<'a> {
        let mut walk = Self::new(pair, noise);
        walk.visit(Sides { segment: Some(pair.segment), rudderstack: Some(pair.rudderstack) });
        let noise = walk.hits.into_iter().map(|(at, count)| NoiseHit { at, count }).collect();
        let times = Sides { segment: pair.segment.get("timestamp"), rudderstack: pair.rudderstack.get("timestamp") };
        let timestamp_shift_ms = times.moments().map(|(segment, rudderstack)| rudderstack.millis_since(segment));
        Comparison { noise, timestamp_shift_ms, ..walk.found }
    }

    fn new(pair: Pair<'a>, noise: &'n Noise) -> Self {
        Self {
            pair,
            noise,
            purpose: Purpose::Tell,
            place: Place::default(),
            rules: vec![noise.rules.iter().collect()],
            found: Comparison::default(),
            hits: BTreeMap::new(),
        }
    }

    /// Compares what both have here.
    fn visit(&mut self, sides: Sides<'a>) {
        self.found.looked_at += 1;
        let is_done = self.purpose == Purpose::Probe && !self.found.agrees();
        if is_done || (sides.have_one_text() && !self.may_mean_two_things()) {
            return;
        }
        if let Some(pattern) = self.ignored_by() {
            if self.differs(sides) {
                self.hit_at(Reason::Ignored, pattern.text());
            }
            return;
        }
        let expected = match self.purpose {
            Purpose::Tell => expected::at(self.place.group(), self.noise.origin),
            Purpose::Probe => None,
        };
        match expected {
            Some(expected) => self.visit_expecting(expected, sides),
            None => self.compare(sides),
        }
    }

    /// Whether one text may say two things here: a destination that is off under Segment's name is on for RudderStack, which does
    /// not know the name.
    fn may_mean_two_things(&self) -> bool {
        self.purpose == Purpose::Tell && matches!(self.place.group(), "" | "integrations")
    }

    /// Compares what both have here, nothing being expected.
    pub(super) fn compare(&mut self, sides: Sides<'a>) {
        let Some((segment, rudderstack)) = sides.both() else {
            let kind = if sides.segment.is_some() { MismatchKind::MissingInRudderStack } else { MismatchKind::MissingInSegment };
            return self.report(kind, sides);
        };
        match (segment.kind(), rudderstack.kind()) {
            (Kind::Object, Kind::Object) if !self.place.is_too_deep() => self.objects(segment, rudderstack),
            (Kind::Array, Kind::Array) if !self.place.is_too_deep() => self.arrays(segment, rudderstack),
            (Kind::String, Kind::String) => {
                let (one, other) = (segment.string().unwrap_or_default(), rudderstack.string().unwrap_or_default());
                // The same text may be escaped otherwise.
                if one != other {
                    let is_case = one.to_lowercase() == other.to_lowercase();
                    self.report(if is_case { MismatchKind::Case } else { MismatchKind::Value }, sides);
                }
            }
            (Kind::Number, Kind::Number) => match likeness(segment.text(), rudderstack.text()) {
                Likeness::Same => self.hit(Reason::NumberForm),
                Likeness::Rounded if is_double_of(rudderstack.text(), segment.text()) => self.hit(Reason::Rounded),
                Likeness::Rounded => self.report(MismatchKind::Precision, sides),
                Likeness::Different => self.report(MismatchKind::Value, sides),
            },
            (one, other) => self.report(if one == other { MismatchKind::Value } else { MismatchKind::Type }, sides),
        }
    }

    pub(super) fn objects(&mut self, segment: Raw<'a>, rudderstack: Raw<'a>) {
        // Sorted, so that mismatches come by place; of repeated members the last stays.
        let mut members: BTreeMap<Cow<'a, str>, Sides<'a>> = BTreeMap::new();
        for (key, value) in segment.members() {
            members.entry(key.name()).or_insert(Sides { segment: None, rudderstack: None }).segment = Some(value);
        }
        for (key, value) in rudderstack.members() {
            members.entry(key.name()).or_insert(Sides { segment: None, rudderstack: None }).rudderstack = Some(value);
        }
        for (name, sides) in members {
            self.enter_member(&name);
            let some = sides.map(|raw| Some(raw).filter(|raw| !raw.is_null()));
            if some.segment.is_none() && some.rudderstack.is_none() && !sides.have_one_text() {
                self.hit(Reason::NullAbsent);
            }
            self.visit(some);
            self.leave();
        }
    }

    fn arrays(&mut self, segment: Raw<'a>, rudderstack: Raw<'a>) {
        if self.place.depth() < ORDER_DEPTH_MAX && are_reordered(segment, rudderstack) {
            return self.report(MismatchKind::Order, Sides { segment: Some(segment), rudderstack: Some(rudderstack) });
        }
        let (mut segment, mut rudderstack) = (segment.items(), rudderstack.items());
        for index in 0.. {
            let sides = Sides { segment: segment.next(), rudderstack: rudderstack.next() };
            if sides.segment.is_none() && sides.rudderstack.is_none() {
                return;
            }
            self.enter_item(index);
            self.visit(sides);
            self.leave();
        }
    }

    /// Whether the two differ in what they mean, wherever they stand.
    pub(super) fn differs(&mut self, sides: Sides<'a>) -> bool {
        let mut probe = Self { purpose: Purpose::Probe, rules: vec![Vec::new()], ..Self::new(self.pair, self.noise) };
        probe.visit(sides);
        self.found.looked_at += probe.found.looked_at;
        !probe.found.agrees()
    }

    pub(super) fn report(&mut self, kind: MismatchKind, sides: Sides<'a>) {
        if let Some(pattern) = self.accepted_by(kind) {
            return self.hit_at(Reason::Accepted, pattern.text());
        }
        if self.found.mismatches.len() >= MISMATCHES_MAX {
            self.found.left_out += 1;
            return;
        }
        let told = |path: &str| if path.is_empty() { "$".to_owned() } else { path.to_owned() };
        let (path, group) = (told(self.place.path()), told(self.place.group()));
        self.found.mismatches.push(Mismatch { path, group, kind, segment: sides.segment, rudderstack: sides.rudderstack });
    }

    pub(super) fn hit(&mut self, reason: Reason) {
        let place = self.place.group().to_owned();
        self.hit_at(reason, &place);
    }

    pub(super) fn hit_at(&mut self, reason: Reason, place: &str) {
        if self.purpose == Purpose::Probe {
            return;
        }
        let mut at = NoiseAt { reason, place: place.to_owned() };
        if self.hits.len() >= HITS_MAX && !self.hits.contains_key(&at) {
            at.place.clear();
        }
        *self.hits.entry(at).or_default() += 1;
    }

    pub(super) fn enter_member(&mut self, name: &str) {
        self.narrow(|pattern, level| pattern.takes_member(level, name));
        self.place.enter_member(name);
    }

    fn enter_item(&mut self, index: usize) {
        self.narrow(|pattern, level| pattern.takes_item(level, index));
        self.place.enter_item(index);
    }

    /// Keeps, for the level below, the rules that lead there.
    fn narrow(&mut self, takes: impl Fn(&Pattern, usize) -> bool) {
        let level = self.rules.len() - 1;
        let here = self.rules[level].iter().filter(|rule| takes(rule.pattern(), level)).copied().collect();
        self.rules.push(here);
    }

    pub(super) fn leave(&mut self) {
        self.rules.pop();
        self.place.leave();
    }

    /// The rules that lead exactly here.
    fn rules_here(&self) -> impl Iterator<Item = &'n Treatment> + use<'_, 'a, 'n> {
        let level = self.rules.len() - 1;
        self.rules[level].iter().copied().filter(move |rule| rule.pattern().length() == level)
    }

    pub(super) fn ignored_by(&self) -> Option<&'n Pattern> {
        self.rules_here().find_map(|rule| match rule {
            Treatment::Ignore(pattern) => Some(pattern),
            Treatment::Accept(..) => None,
        })
    }

    fn accepted_by(&self, kind: MismatchKind) -> Option<&'n Pattern> {
        self.rules_here().find_map(|rule| match rule {
            Treatment::Accept(pattern, own) if *own == kind => Some(pattern),
            Treatment::Accept(..) | Treatment::Ignore(_) => None,
        })
    }
}

/// Whether two arrays have the same items, in another order.
fn are_reordered(segment: Raw<'_>, rudderstack: Raw<'_>) -> bool {
    let prints = |array: Raw<'_>| array.items().map(print_of).collect::<Vec<_>>();
    let (mut segment, mut rudderstack) = (prints(segment), prints(rudderstack));
    if segment.len() != rudderstack.len() || segment == rudderstack {
        return false;
    }
    segment.sort_unstable();
    rudderstack.sort_unstable();
    segment == rudderstack
}
