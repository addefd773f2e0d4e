//! Names that end in different columns or tables at the two vendors (protocol.md 6): each is judged once.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use serde::{Deserialize, Serialize};

use super::{
    foretold::{Named, SavedForetold, short},
    tally::Moment,
};
use crate::{
    forecast::{Column, columns},
    model::{EnvelopeId, EventKind, Head, Reading, SourceId, WallTime, json::Raw},
};

/// Names that are remembered as judged, over all sources: a megabyte. More are not judged.
const JUDGED_MAX: usize = 64 << 10;
/// Names of events whose own counts are kept.
const EVENTS_MAX: usize = 8 << 10;
/// Names that are told of one source, and of all.
const TOLD_OF_SOURCE_MAX: usize = 500;
const TOLD_MAX: usize = 5_000;
/// Of each event, the first so many are looked at whole.
const LOOKED_FIRST: u32 = 64;
/// Later ones when their number divides by this: what is new in them is found a little later, and costs little.
const LOOKED_EACH: u32 = 16;
/// Events of one request that are looked at whole.
const LOOKED_OF_REQUEST_MAX: usize = 32;
/// Levels of objects that become columns of their own: deeper ones are one column's text at RudderStack.
const LEVELS_MAX: usize = 3;
/// Longer names become no column anywhere.
const NAME_BYTES_MAX: usize = 256;

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A property, trait or member of the context: a column.
    Column,
    /// An event: a table.
    Table,
}

impl Scope {
    /// The reason's code: `column_differs`, `table_differs`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Column => "column_differs",
            Self::Table => "table_differs",
        }
    }
}

/// A name that ends in two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// Where it stands in the event: `properties.userIDs`, `event`.
    pub place: String,
    /// The two places.
    pub column: Column,
    /// The first event that had it, and when that arrived.
    pub sample: (WallTime, Named),
}

/// All names that were judged, and those that part.
#[derive(Debug, Default)]
pub(super) struct Names {
    hasher: RandomState,
    judged: HashSet<u64>,
    events: HashMap<u64, u32>,
    pub(super) parted: BTreeMap<SourceId, BTreeMap<(Scope, String), Parted>>,
    told: usize,
}

/// A parted name, as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedName {
    scope: Scope,
    name: String,
    place: String,
    at: Moment,
    sample: Named,
}

/// One event that is looked at.
struct Look<'a> {
    source: &'a SourceId,
    at: WallTime,
    named: &'a dyn Fn() -> Named,
}

impl Names {
    /// Judges what is new in a request's events.
    pub(super) fn judge(&mut self, source: &SourceId, reading: &Reading<'_>, heads: &[Head<'_>], (id, at): (EnvelopeId, WallTime)) {
        let mut looked = 0;
        for (index, head) in heads.iter().enumerate() {
            let member = |name: &str| reading.members(index).iter().rev().find(|(key, _)| key.is(name)).map(|(_, value)| *value);
            let tracked = member("event").filter(|_| head.kind == Some(EventKind::Track)).and_then(Raw::string);
            let label = tracked.as_deref().or(head.kind.map(EventKind::label));
            let number = self.number(source, head.kind, label);
            let is_due = number < LOOKED_FIRST || number.is_multiple_of(LOOKED_EACH);
            if !is_due || looked == LOOKED_OF_REQUEST_MAX {
                continue;
            }
            looked += 1;
            let look = Look { source, at, named: &|| Named::new(&head.message_id(id, index), label) };
            if let Some(name) = &tracked {
                self.judge_name(&look, Scope::Table, name, "event");
            }
            for (root, shown) in [("properties", ""), ("traits", ""), ("context", "context")] {
                let Some(object) = member(root) else { continue };
                self.walk(&look, object, &mut (shown.to_owned(), root.to_owned()), 0);
            }
        }
    }

    /// How many events of that name came before.
    fn number(&mut self, source: &SourceId, kind: Option<EventKind>, label: Option<&str>) -> u32 {
        let hash = self.hasher.hash_one((source, kind, label));
        if self.events.len() >= EVENTS_MAX && !self.events.contains_key(&hash) {
            // As every other of so many is new, they are looked at now and then by their hash.
            return LOOKED_FIRST + u32::from(!hash.is_multiple_of(u64::from(LOOKED_EACH)));
        }
        let count = self.events.entry(hash).or_default();
        *count = count.wrapping_add(1);
        count.wrapping_sub(1)
    }

    /// Judges the members of an object; `path` is the column's name before them, and where the object stands.
    fn walk(&mut self, look: &Look<'_>, object: Raw<'_>, path: &mut (String, String), level: usize) {
        let lengths = (path.0.len(), path.1.len());
        for (key, value) in object.members() {
            let name = key.name();
            if path.0.len() + name.len() < NAME_BYTES_MAX {
                if !path.0.is_empty() {
                    path.0.push('_');
                }
                path.0.push_str(&name);
                path.1.push('.');
                path.1.push_str(&name);
                let is_object = value.text().starts_with('{');
                if is_object && level + 1 < LEVELS_MAX {
                    self.walk(look, value, path, level + 1);
                } else {
                    self.judge_name(look, Scope::Column, &path.0, &path.1);
                }
                path.0.truncate(lengths.0);
                path.1.truncate(lengths.1);
            }
        }
    }

    fn judge_name(&mut self, look: &Look<'_>, scope: Scope, name: &str, place: &str) {
        let hash = self.hasher.hash_one((look.source, scope, name));
        if self.judged.len() >= JUDGED_MAX || !self.judged.insert(hash) {
            return;
        }
        let column = columns(name);
        if !column.is_same() {
            let parted = Parted { place: short(place), column, sample: (look.at, (look.named)()) };
            self.tell(look.source, scope, short(name), parted);
        }
    }

    fn tell(&mut self, source: &SourceId, scope: Scope, name: String, parted: Parted) {
        let of_source = self.parted.entry(source.clone()).or_default();
        if self.told < TOLD_MAX && of_source.len() < TOLD_OF_SOURCE_MAX && !of_source.contains_key(&(scope, name.clone())) {
            of_source.insert((scope, name), parted);
            self.told += 1;
        }
    }

    /// Whether names are left unjudged or untold, as there are too many.
    pub(super) fn is_full(&self) -> bool {
        self.judged.len() >= JUDGED_MAX || self.told >= TOLD_MAX || self.parted.values().any(|names| names.len() >= TOLD_OF_SOURCE_MAX)
    }

    /// Adds what was found to what else was foretold of the sources.
    pub(super) fn save(&self, saved: &mut Vec<SavedForetold>) {
        for (source, names) in self.parted.iter().filter(|(_, names)| !names.is_empty()) {
            let row = |((scope, name), parted): (&(Scope, String), &Parted)| SavedName {
                scope: *scope,
                name: name.clone(),
                place: parted.place.clone(),
                at: parted.sample.0.into(),
                sample: parted.sample.1.clone(),
            };
            let rows = names.iter().map(row).collect();
            match saved.iter_mut().find(|saved| saved.source == source.as_str()) {
                Some(of_source) => of_source.names = rows,
                None => saved.push(SavedForetold::of_names(source.to_string(), rows)),
            }
        }
    }

    /// What was found; it is judged again by today's rules.
    pub(super) fn load(saved: &[SavedForetold]) -> Self {
        let mut names = Self::default();
        for saved in saved {
            let Ok(source) = SourceId::parse(&saved.source) else { continue };
            for SavedName { scope, name, place, at, sample } in &saved.names {
                let column = columns(name);
                if !column.is_same() {
                    let parted = Parted { place: place.clone(), column, sample: ((*at).into(), sample.clone()) };
                    names.tell(&source, *scope, name.clone(), parted);
                }
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    fn judge(names: &mut Names, body: &str) {
        let reading = Reading::of(Endpoint::Batch, body.as_bytes()).unwrap();
        let heads: Vec<Head<'_>> = reading.items.iter().map(|item| Head::of(*item, Endpoint::Batch)).collect();
        names.judge(&SourceId::parse("web").unwrap(), &reading, &heads, (EnvelopeId(1), WallTime::from_millis(5)));
    }

    fn told(names: &Names) -> Vec<String> {
        let of = |((_, name), parted): (&(Scope, String), &Parted)| {
            format!("{} {name}: {} / {}", parted.place, parted.column.segment, parted.column.rudderstack)
        };
        names.parted.values().flatten().map(of).collect()
    }

    #[test]
    fn names_of_events_and_of_what_is_in_them_are_judged_once() {
        let mut names = Names::default();
        let body = r#"{"batch":[
            {"type":"track","event":"OAuth2 Login","messageId":"m-1","properties":{"userIDs":[{"xIDs":1}],"total":1,"a":{"b":{"_c":{"dIDs":1}}}}},
            {"type":"identify","traits":{"_hidden":"x"},"context":{"app":{"name":"a"},"clientIDs":7}},
            {"type":"track","event":"OAuth2 Login","properties":{"userIDs":2}}, 7]}"#;
        judge(&mut names, body);
        judge(&mut names, body);
        let want = [
            "properties.userIDs userIDs: user_ids / user_i_ds",
            "traits._hidden _hidden: hidden / _hidden",
            "context.clientIDs context_clientIDs: context_client_ids / context_client_i_ds",
            "event OAuth2 Login: oauth2_login / o_auth2_login",
        ];
        let mut found = told(&names);
        found.sort();
        let mut want = want.map(str::to_owned).to_vec();
        want.sort();
        assert_eq!(found, want, "deeper objects and arrays are one column's text");
        let sample = &names.parted.values().next().unwrap()[&(Scope::Table, "OAuth2 Login".to_owned())].sample;
        assert_eq!(sample.1, Named::new("m-1", Some("OAuth2 Login")), "the first that had it");
    }

    #[test]
    fn what_is_new_in_a_frequent_event_is_found_a_little_later() {
        let mut names = Names::default();
        for _ in 0..LOOKED_FIRST {
            judge(&mut names, r#"{"batch":[{"type":"track","event":"e","properties":{"a":1}}]}"#);
        }
        let rounds = (1..=LOOKED_EACH).find(|_| {
            judge(&mut names, r#"{"batch":[{"type":"track","event":"e","properties":{"a":1,"bIDs":2}}]}"#);
            !told(&names).is_empty()
        });
        assert!(rounds.is_some());
    }

    #[test]
    fn names_that_are_made_up_take_no_more_than_their_room() {
        let mut names = Names::default();
        for n in 0..700 {
            let members: Vec<String> = (0..100).map(|m| format!(r#""k{n}x{m}IDs":1"#)).collect();
            judge(&mut names, &format!(r#"{{"batch":[{{"type":"track","event":"e{n}","properties":{{{}}}}}]}}"#, members.join(",")));
        }
        assert_eq!((names.judged.len(), told(&names).len(), names.is_full()), (JUDGED_MAX, TOLD_OF_SOURCE_MAX, true));
        let mut saved = Vec::new();
        names.save(&mut saved);
        assert_eq!(told(&Names::load(&saved)), told(&names));
    }
}
