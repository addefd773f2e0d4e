//! What a vendor gets wrong in what it passes on, on demand and counted: the truth that a comparison is held against.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::WallTime;

/// A change of what is passed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alteration {
    /// What is changed.
    pub change: Change,
    /// In which events.
    #[serde(default)]
    pub events: Which,
}

/// What can be changed. A `path` is like `properties.items[0].price`; an event that has nothing there is not changed, and not counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is not passed on.
    Drop,
    /// It is passed on twice.
    Twice,
    /// It is passed on so many milliseconds later.
    Late(u64),
    /// A member is left out.
    Remove(String),
    /// A member is put in: the path, and its value.
    Add(String, Value),
    /// A value becomes another.
    Set(String, Value),
    /// A number becomes its text, a text that reads as a number that number; anything else its JSON as a text.
    Retype(String),
    /// A member gets another name.
    Rename(String, String),
    /// A text loses its capitals; one that has none gets only such.
    Case(String),
    /// A text is cut to so many characters.
    Truncate(String, usize),
    /// A time is moved by so many milliseconds.
    Shift(String, i64),
    /// A number goes through a 32-bit float.
    Round(String),
    /// An array is turned round.
    Reorder(String),
    /// A value becomes null.
    Null(String),
}

/// Which events are changed: those that fit everything named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Which {
    /// Those of this source's write key.
    pub write_key: Option<String>,
    /// Those of this type.
    pub kind: Option<String>,
    /// Those of this name.
    pub name: Option<String>,
    /// Of those, every so many-th: 0 and 1 mean each.
    pub every: u64,
    /// At most so many; 0: any number.
    pub at_most: u64,
}

/// Names an alteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct AlterationId(pub u64);

/// The alterations that stand.
#[derive(Debug, Default)]
pub(super) struct Alterations {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    standing: Vec<Standing>,
}

#[derive(Debug)]
struct Standing {
    id: AlterationId,
    alteration: Alteration,
    is_lifted: bool,
    /// Events that fit.
    fitting: u64,
    applied: u64,
    message_ids: Vec<String>,
}

/// An event that may be changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub write_key: &'a str,
    pub message_id: &'a str,
    pub kind: &'a str,
    pub name: Option<&'a str>,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Altered {
    pub body: String,
    pub copies: usize,
    pub after: Duration,
}

const MESSAGE_IDS_MAX: usize = 10_000;

impl Alterations {
    pub(super) fn add(&self, alteration: Alteration) -> AlterationId {
        let mut state = self.state();
        state.next += 1;
        let id = AlterationId(state.next);
        state.standing.push(Standing { id, alteration, is_lifted: false, fitting: 0, applied: 0, message_ids: Vec::new() });
        id
    }

    pub(super) fn lift(&self, id: AlterationId) {
        if let Some(standing) = self.state().standing.iter_mut().find(|standing| standing.id == id) {
            standing.is_lifted = true;
        }
    }

    pub(super) fn lift_all(&self) {
        self.state().standing.iter_mut().for_each(|standing| standing.is_lifted = true);
    }

    pub(super) fn applied(&self, id: AlterationId) -> (u64, Vec<String>) {
        let state = self.state();
        let found = state.standing.iter().find(|standing| standing.id == id);
        found.map(|standing| (standing.applied, standing.message_ids.clone())).unwrap_or_default()
    }

    /// All that stand or stood: number, what, to how many events.
    pub(super) fn to_json(&self) -> String {
        let row = |standing: &Standing| {
            serde_json::json!({
                "id": standing.id.0,
                "alteration": standing.alteration,
                "lifted": standing.is_lifted,
                "applied": standing.applied,
                "message_ids": standing.message_ids,
            })
        };
        Value::Array(self.state().standing.iter().map(row).collect()).to_string()
    }

    /// Changes an event as those say that fit it.
    pub(super) fn alter(&self, subject: &Subject<'_>, body: String) -> Altered {
        let mut state = self.state();
        let mut altered = Altered { body, copies: 1, after: Duration::ZERO };
        let fitting = state.standing.iter_mut().filter(|standing| !standing.is_lifted && standing.alteration.events.fit(subject));
        for standing in fitting {
            standing.fitting += 1;
            let Which { every, at_most, .. } = standing.alteration.events;
            let is_turn = standing.fitting.is_multiple_of(every.max(1)) && (at_most == 0 || standing.applied < at_most);
            if is_turn && standing.alteration.change.apply(&mut altered) {
                standing.applied += 1;
                if standing.message_ids.len() < MESSAGE_IDS_MAX {
                    standing.message_ids.push(subject.message_id.to_owned());
                }
            }
        }
        altered
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Which {
    fn fit(&self, subject: &Subject<'_>) -> bool {
        let is = |wanted: &Option<String>, own: Option<&str>| wanted.as_deref().is_none_or(|wanted| own == Some(wanted));
        is(&self.write_key, Some(subject.write_key)) && is(&self.kind, Some(subject.kind)) && is(&self.name, subject.name)
    }
}

impl Change {
    /// Makes the change; says whether there was anything to change.
    fn apply(&self, altered: &mut Altered) -> bool {
        match self {
            Self::Drop => altered.copies = 0,
            Self::Twice => altered.copies *= 2,
            Self::Late(millis) => altered.after += Duration::from_millis(*millis),
            _ => {
                let Ok(mut event) = serde_json::from_str::<Value>(&altered.body) else { return false };
                if self.edit(&mut event).is_none() {
                    return false;
                }
                altered.body = event.to_string();
            }
        }
        true
    }

    fn edit(&self, event: &mut Value) -> Option<()> {
        match self {
            Self::Drop | Self::Twice | Self::Late(_) => None,
            Self::Remove(path) => {
                let (parent, name) = parent_of(event, path)?;
                parent.remove(name).map(|_| ())
            }
            Self::Add(path, value) => {
                let (parent, name) = parent_of(event, path)?;
                if parent.contains_key(name) {
                    return None;
                }
                parent.insert(name.to_owned(), value.clone());
                Some(())
            }
            Self::Rename(path, to) => {
                let (parent, name) = parent_of(event, path)?;
                let value = parent.remove(name)?;
                parent.insert(to.clone(), value);
                Some(())
            }
            Self::Set(path, value) => replace(at(event, path)?, |_| Some(value.clone())),
            Self::Null(path) => replace(at(event, path)?, |_| Some(Value::Null)),
            Self::Retype(path) => replace(at(event, path)?, |own| Some(retyped(own))),
            Self::Case(path) => replace(at(event, path)?, |own| own.as_str().map(other_case)),
            Self::Truncate(path, chars) => {
                replace(at(event, path)?, |own| Some(own.as_str()?.chars().take(*chars).collect::<String>().into()))
            }
            Self::Shift(path, millis) => {
                replace(at(event, path)?, |own| Some(WallTime::parse(own.as_str()?)?.plus_millis(*millis).to_rfc3339().into()))
            }
            #[expect(clippy::cast_possible_truncation, reason = "that is the fault")]
            Self::Round(path) => replace(at(event, path)?, |own| Some(Value::from(f64::from(own.as_f64()? as f32)))),
            Self::Reorder(path) => replace(at(event, path)?, |own| Some(own.as_array()?.iter().rev().cloned().collect::<Vec<_>>().into())),
        }
    }
}

/// Puts another value in place; None when it is none, or the same.
fn replace(own: &mut Value, with: impl FnOnce(&Value) -> Option<Value>) -> Option<()> {
    let other = with(own).filter(|other| other != own)?;
    *own = other;
    Some(())
}

fn retyped(own: &Value) -> Value {
    match own {
        Value::String(text) => text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Value::Bool(true), Value::Number),
        other => Value::String(other.to_string()),
    }
}

fn other_case(text: &str) -> Value {
    let lower = text.to_lowercase();
    if lower == text { text.to_uppercase().into() } else { lower.into() }
}

/// The steps of a path.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|step| step.trim_end_matches(']'))
}

fn at<'a>(event: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    steps(path).try_fold(event, |own, step| match own {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        Value::Object(members) => members.get_mut(step),
        _ => None,
    })
}

fn parent_of<'a, 'p>(event: &'a mut Value, path: &'p str) -> Option<(&'a mut serde_json::Map<String, Value>, &'p str)> {
    let Some((parent, name)) = path.rsplit_once('.') else { return Some((event.as_object_mut()?, path)) };
    Some((at(event, parent)?.as_object_mut()?, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn altered(change: &Change, event: &Value) -> Option<Value> {
        let mut altered = Altered { body: event.to_string(), copies: 1, after: Duration::ZERO };
        change.apply(&mut altered).then(|| serde_json::from_str(&altered.body).unwrap())
    }

    #[test]
    fn each_kind_changes_what_it_says_and_nothing_else() {
        let event = json!({ "a": { "b": [{ "c": 1.25 }, { "c": 2 }], "t": "2026-11-27T00:00:00.000Z", "s": "Red wine" }, "n": 16_777_217 });
        let path = |text: &str| text.to_owned();
        let cases = [
            (Change::Remove(path("a.b[0].c")), "/a/b/0", json!({})),
            (Change::Add(path("a.x"), json!(1)), "/a/x", json!(1)),
            (Change::Set(path("a.b[1].c"), json!(3)), "/a/b/1/c", json!(3)),
            (Change::Retype(path("n")), "/n", json!("16777217")),
            (Change::Rename(path("a.s"), path("z")), "/a/z", json!("Red wine")),
            (Change::Case(path("a.s")), "/a/s", json!("red wine")),
            (Change::Truncate(path("a.s"), 3), "/a/s", json!("Red")),
            (Change::Shift(path("a.t"), 1_500), "/a/t", json!("2026-11-27T00:00:01.500Z")),
            (Change::Round(path("n")), "/n", json!(16_777_216.0)),
            (Change::Reorder(path("a.b")), "/a/b/0/c", json!(2)),
            (Change::Null(path("a.s")), "/a/s", Value::Null),
        ];
        for (change, pointer, want) in cases {
            let found = altered(&change, &event).unwrap();
            assert_eq!(found.pointer(pointer), Some(&want), "{change:?}");
        }
        let nothing = [
            Change::Remove(path("x")),
            Change::Case(path("n")),
            Change::Add(path("n"), json!(1)),
            Change::Set(path("n"), json!(16_777_217)),
        ];
        for change in nothing {
            assert_eq!(altered(&change, &event), None, "{change:?} has nothing to change");
        }
    }

    #[test]
    fn which_events_are_changed_is_counted() {
        let alterations = Alterations::default();
        let events = Which { kind: Some("track".into()), every: 2, at_most: 2, ..Which::default() };
        let id = alterations.add(Alteration { change: Change::Drop, events });
        let mut copies = Vec::new();
        for number in 0..10 {
            let message_id = number.to_string();
            let kind = if number == 3 { "page" } else { "track" };
            let subject = Subject { write_key: "wk_test_a", message_id: &message_id, kind, name: None };
            copies.push(alterations.alter(&subject, "{}".to_owned()).copies);
        }
        assert_eq!(copies, [1, 0, 1, 1, 0, 1, 1, 1, 1, 1]);
        assert_eq!(alterations.applied(id), (2, vec!["1".to_owned(), "4".to_owned()]));
        alterations.lift(id);
        assert!(alterations.to_json().contains(r#""lifted":true"#));
    }
}
