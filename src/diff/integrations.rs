//! Which destinations an event is for, at both vendors: on or off, under RudderStack's names (protocol.md T15).

use std::{borrow::Cow, collections::BTreeMap};

use crate::model::json::{Kind, Raw};

/// What both sides say of one destination.
#[derive(Debug)]
pub(super) struct Named<'a> {
    /// RudderStack's name of it; `All` for those that are not named.
    pub(super) name: Cow<'a, str>,
    /// What Segment says; None: nothing.
    pub(super) segment: Option<Raw<'a>>,
    /// What RudderStack says; None: nothing.
    pub(super) rudderstack: Option<Raw<'a>>,
    /// What that comes to.
    pub(super) verdict: Verdict,
}

/// What comes of what both sides say of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same, in the same words.
    Same,
    /// The same, in other words.
    Reworded,
    /// The same, as what RudderStack is told is Segment's default.
    Default,
    /// On here, off there.
    Differs,
}

/// What one side says.
#[derive(Debug, Clone, Copy)]
struct Stated<'a> {
    raw: Raw<'a>,
    is_on: bool,
    /// Whether it stands under the same name at both vendors.
    has_own_name: bool,
}

/// A destination's switches: Segment's, RudderStack's.
type Switches<'a> = (Option<Stated<'a>>, Option<Stated<'a>>);

/// The name that stands for all that are not named.
const ALL: &str = "All";
/// What Segment calls itself among the destinations; RudderStack has no use for it.
const SEGMENT_ITSELF: &str = "Segment.io";
/// Segment's default is on for all but this one; RudderStack's for all.
const OFF_AT_SEGMENT: &str = "Salesforce";

/// Compares two `integrations`, by name. Either may be absent, or no object and say nothing; Segment's `false` switches all off.
pub(super) fn compare<'a>(segment: Option<Raw<'a>>, rudderstack: Option<Raw<'a>>, names: impl Fn(&str) -> Vec<String>) -> Vec<Named<'a>> {
    let mut switches: BTreeMap<Cow<'a, str>, Switches<'a>> = BTreeMap::new();
    for (name, stated) in stated_to_segment(segment) {
        if name == SEGMENT_ITSELF {
            continue;
        }
        let mut targets: Vec<Cow<'a, str>> = names(&name).into_iter().map(Cow::Owned).collect();
        if targets.is_empty() {
            targets.push(name.clone());
        }
        let has_own_name = stated.has_own_name && targets.len() == 1 && targets[0] == name;
        for target in targets {
            let own = &mut switches.entry(target).or_default().0;
            // Two of Segment's that are one of RudderStack's are on when either is.
            if own.is_none_or(|own| !own.is_on || stated.is_on) {
                *own = Some(Stated { has_own_name, ..stated });
            }
        }
    }
    for (name, stated) in stated_to_rudderstack(rudderstack) {
        switches.entry(name).or_default().1 = Some(stated);
    }
    let (segment_all, rudderstack_all) = switches.get(ALL).copied().unwrap_or_default();
    let is_on = |own: Option<Stated<'_>>, all: Option<Stated<'_>>| own.or(all).is_none_or(|stated| stated.is_on);
    let named = |(name, (own, other)): (Cow<'a, str>, Switches<'a>)| {
        let is_default = name == OFF_AT_SEGMENT && own.is_none();
        let agree = (!is_default && is_on(own, segment_all)) == is_on(other, rudderstack_all);
        let verdict = match (own, other) {
            _ if !agree => Verdict::Differs,
            _ if is_default => Verdict::Default,
            (Some(own), Some(other)) if own.has_own_name && own.raw.text() == other.raw.text() => Verdict::Same,
            _ => Verdict::Reworded,
        };
        Named { name, segment: own.map(|own| own.raw), rudderstack: other.map(|other| other.raw), verdict }
    };
    switches.into_iter().map(named).collect()
}

/// What Segment is told, each name once.
fn stated_to_segment(integrations: Option<Raw<'_>>) -> impl Iterator<Item = (Cow<'_, str>, Stated<'_>)> {
    let all = integrations.filter(|raw| raw.text() == "false").map(|raw| Stated { raw, is_on: false, has_own_name: false });
    let stated = |(name, raw)| Some((name, Stated { raw, is_on: as_people_mean_it(raw)?, has_own_name: true }));
    last_members(integrations).into_iter().filter_map(stated).chain(all.map(|all| (Cow::Borrowed(ALL), all)))
}

/// What RudderStack is told, each name once: true, false and objects. It passes over anything else, and lets nothing through when
/// `All` is neither true nor false (protocol.md 2.5).
fn stated_to_rudderstack(integrations: Option<Raw<'_>>) -> impl Iterator<Item = (Cow<'_, str>, Stated<'_>)> {
    last_members(integrations).into_iter().filter_map(|(name, raw)| {
        let is_on = match raw.kind() {
            Kind::Bool => raw.text() == "true",
            Kind::Object if name != ALL => true,
            _ if name == ALL => false,
            _ => return None,
        };
        Some((name, Stated { raw, is_on, has_own_name: true }))
    })
}

fn last_members(raw: Option<Raw<'_>>) -> BTreeMap<Cow<'_, str>, Raw<'_>> {
    raw.into_iter().flat_map(Raw::members).map(|(key, value)| (key.name(), value)).collect()
}

/// Whether a destination is on; None for null, which says nothing.
fn as_people_mean_it(raw: Raw<'_>) -> Option<bool> {
    match raw.kind() {
        Kind::Null => None,
        Kind::Bool => Some(raw.text() == "true"),
        Kind::Object | Kind::Array => Some(true),
        Kind::Number => Some(raw.text().parse::<f64>().is_ok_and(|number| number != 0.0)),
        Kind::String => {
            let text = raw.string().unwrap_or_default();
            Some(!matches!(text.trim(), "" | "0") && !text.trim().eq_ignore_ascii_case("false"))
        }
    }
}
