//! Which destinations an event is for: Segment's names in RudderStack's words (protocol.md T15, 2.5).

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use super::{
    Rule, Rules,
    context::foldable,
    draft::{Draft, Field},
    object::{Object, Writer, merged_text},
    translate::Facts,
};
use crate::model::json::{Kind, push_string};

/// RudderStack's display names, each with how it matches (`exact`, `near`, `none`) and Segment's names for the same.
/// Computed from both vendors' catalogues.
const TABLE: &str = include_str!("integrations_map.tsv");

/// The end of the name of a Segment destination of the newer kind.
const ACTIONS: &str = " (Actions)";

/// RudderStack's names by Segment's. A name of which RudderStack has two versions stands for both: switching one off must
/// not leave the other on.
static NAMES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut names: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in TABLE.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(rudderstack), Some(_), Some(segment)) = (columns.next(), columns.next(), columns.next()) else { continue };
        for name in segment.split("; ").map(str::trim).filter(|name| !name.is_empty()) {
            names.entry(name).or_default().push(rudderstack);
        }
    }
    names
});

/// What the event says of one destination.
struct Entry<'a> {
    /// RudderStack's name.
    name: Cow<'a, str>,
    /// A JSON text: true, false or an object, the three that RudderStack knows.
    value: Cow<'a, str>,
}

/// More destinations than this in one event are passed on as they are; the vendors have some 700 between them.
const ENTRIES_MAX: usize = 1_000;

/// What RudderStack has to be told of an event that names no destination.
const DEFAULT: &str = "{\"Salesforce\":false}";

/// Settles `integrations`: the batch's folded in (T4), names and values RudderStack's, Segment's own default of
/// `"Salesforce": false` spelled out.
pub(super) fn settle<'a>(draft: &mut Draft<'a>, facts: &Facts<'a>) {
    let stated = draft.some(Field::Integrations);
    if stated.is_some_and(|raw| raw.text() == "false") {
        // No vendor documents it, but it can only mean one thing.
        draft.set(Field::Integrations, "{\"All\":false}", Rule::INTEGRATIONS);
        return;
    }
    let own = stated.filter(|raw| raw.kind() == Kind::Object).map(Object::of);
    let shared = foldable(draft, facts.frame.integrations);
    if own.as_ref().is_none_or(Object::is_empty) && shared.is_none() {
        // Most events name no destination: then the default is all there is to say.
        return draft.set(Field::Integrations, DEFAULT, Rule::INTEGRATIONS);
    }
    let members = folded(own.as_ref(), shared.as_ref());
    if members.len() > ENTRIES_MAX {
        draft.noticed.insert(Rule::INTEGRATIONS);
        return;
    }
    let mut entries = Entries { list: Vec::with_capacity(members.len() + 1), is_changed: own.is_none() || shared.is_some() };
    for (name, value) in members {
        entries.add(name, value);
    }
    entries.add_default();
    if entries.is_changed {
        let causes = [Some(Rule::INTEGRATIONS), shared.map(|_| Rule::FOLD)];
        draft.set(Field::Integrations, entries.write(), causes.into_iter().flatten().collect::<Rules>());
    }
}

/// The members of both objects; of what stands in both, the event's own, merged onto the batch's.
fn folded<'a>(own: Option<&Object<'a>>, shared: Option<&Object<'a>>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let mut members = Vec::new();
    for (key, value) in own.into_iter().flat_map(Object::members) {
        let name = key.name();
        let text = match shared.and_then(|shared| shared.get(&name)) {
            Some(below) => Cow::Owned(merged_text(below, value)),
            None => Cow::Borrowed(value.text()),
        };
        members.push((name, text));
    }
    for (key, value) in shared.into_iter().flat_map(Object::members) {
        let name = key.name();
        if own.is_none_or(|own| own.get(&name).is_none()) {
            members.push((name, Cow::Borrowed(value.text())));
        }
    }
    members
}

/// The destinations that an event names, in RudderStack's words.
struct Entries<'a> {
    list: Vec<Entry<'a>>,
    /// Whether the list differs from what the client wrote.
    is_changed: bool,
}

impl<'a> Entries<'a> {
    /// Takes in what the client says of one of Segment's destinations.
    fn add(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        // Segment itself is no destination of RudderStack's; browsers always name it.
        let value = if name == "Segment.io" { None } else { switch(&name, value) };
        let Some(Switch { value, origin }) = value else {
            self.is_changed = true;
            return;
        };
        self.is_changed |= origin == Origin::Ours;
        match names_of(&name) {
            None => self.put(name, value),
            Some(names) => {
                self.is_changed |= names.len() != 1 || names.first() != Some(&name);
                for target in names {
                    self.put(target, value.clone());
                }
            }
        }
    }

    /// When two of Segment's destinations are one of RudderStack's, that is on when either was: the vendor behind it got the
    /// event.
    fn put(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        match self.list.iter_mut().find(|entry| entry.name == name) {
            None => self.list.push(Entry { name, value }),
            Some(entry) if value != "false" => entry.value = value,
            Some(_) => {}
        }
    }

    /// Segment's default is off for Salesforce and on for all else, RudderStack's on for all.
    fn add_default(&mut self) {
        let is_named = self.list.iter().any(|entry| entry.name == "Salesforce");
        let is_all_off = self.list.iter().any(|entry| entry.name == "All" && entry.value == "false");
        if !is_named && !is_all_off {
            self.list.push(Entry { name: Cow::Borrowed("Salesforce"), value: Cow::Borrowed("false") });
            self.is_changed = true;
        }
    }

    fn write(&self) -> String {
        let mut out = Writer::begin(24 * self.list.len() + 2);
        for Entry { name, value } in &self.list {
            let mut key = Vec::with_capacity(name.len() + 2);
            push_string(&mut key, name);
            out.member(&String::from_utf8_lossy(&key), value);
        }
        out.end_text()
    }
}

/// RudderStack's names for one of Segment's destinations; None when it is the same.
pub(super) fn names_of(name: &str) -> Option<Vec<Cow<'static, str>>> {
    let known = |name: &str| NAMES.get(name).map(|names| names.iter().map(|name| Cow::Borrowed(*name)).collect());
    if let Some(names) = known(name) {
        return Some(names);
    }
    if let Some(base) = name.strip_suffix(ACTIONS) {
        return Some(known(base).unwrap_or_else(|| vec![Cow::Owned(base.to_owned())]));
    }
    name.strip_prefix("Actions ").and_then(known)
}

/// Whose a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Client,
    Ours,
}

/// A value that RudderStack understands.
struct Switch<'a> {
    value: Cow<'a, str>,
    origin: Origin,
}

/// Reads what is said of a destination. RudderStack passes over anything but true, false and objects, and with an `All`
/// that is neither true nor false lets nothing through. So null, which says nothing, is left out (None), and anything else
/// is read as people mean it: false when it is empty, zero or the word, true otherwise.
fn switch<'a>(name: &str, value: Cow<'a, str>) -> Option<Switch<'a>> {
    let on_or_off = |is_on: bool| Some(Switch { value: Cow::Borrowed(if is_on { "true" } else { "false" }), origin: Origin::Ours });
    match value.as_bytes()[0] {
        b'n' => None,
        b'{' if name == "All" => on_or_off(true),
        b't' | b'f' | b'{' => Some(Switch { value, origin: Origin::Client }),
        b'"' => {
            let inner = value[1..value.len() - 1].trim();
            on_or_off(!(inner.is_empty() || inner == "0" || inner.eq_ignore_ascii_case("false")))
        }
        b'[' => on_or_off(true),
        _ => on_or_off(value.bytes().take_while(|b| !b"eE".contains(b)).any(|b| (b'1'..=b'9').contains(&b))),
    }
}
