//! A table of the file while it is read: what was asked for is known, what is left over is a mistake.

use super::{
    Code, Origin,
    document::Spot,
    nearest::nearest,
    session::{Session, Source},
    tree::{Entry, Item, Node, Table},
    value::{Fault, Value},
};

/// A table of the file, while it is read.
pub(super) struct Section {
    /// The dotted key: empty for the file itself.
    path: String,
    /// How messages call it: `[journal]`.
    label: String,
    /// Where its header stands; None when the file does not have it.
    spot: Option<Spot>,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Section {
    /// The whole file.
    pub(super) fn root(table: Table) -> Self {
        Self { path: String::new(), label: "the file".to_owned(), spot: None, entries: table.entries, known: Vec::new() }
    }

    /// A table that is read under a name of the caller's making.
    pub(super) fn named(path: String, label: String, table: Table) -> Self {
        Self { path, label, spot: Some(table.spot), entries: table.entries, known: Vec::new() }
    }

    /// Where its header stands: what is missing is missing there.
    pub(super) fn place(&self) -> Source {
        self.spot.map_or(Source::Outside(Origin::Default), Source::File)
    }

    /// How messages call it.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The dotted key of one of its keys.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A value with a default, recorded with its origin. A value that cannot be read is told, and stands as its default until the end.
    pub(super) fn value<V: Value>(&mut self, session: &mut Session<'_>, name: &'static str, default: V) -> V {
        self.placed(session, name, default).0
    }

    /// As [`Self::value`], and where it came from.
    pub(super) fn placed<V: Value>(&mut self, session: &mut Session<'_>, name: &'static str, default: V) -> (V, Source) {
        let key = self.key(name);
        session.ask(key.clone(), V::schema(), Some(default.show()));
        let inside = self.take(name).map(|entry| (entry.item.node, Source::File(entry.item.spot)));
        let given = match session.override_of(&key) {
            Some(given) => Some((Node::Text(given.value.clone()), Source::Outside(given.origin.clone()))),
            None => inside,
        };
        let (value, from) = match given {
            None => (default, Source::Outside(Origin::Default)),
            Some((node, from)) => match V::read(&node) {
                Ok(value) => (value, from),
                Err(fault) => {
                    self.refuse(session, name, &from, fault);
                    return (default, from);
                }
            },
        };
        session.record(key, value.show(), &from);
        (value, from)
    }

    /// Tells that a key's value was refused.
    pub(super) fn refuse(&self, session: &mut Session<'_>, name: &str, from: &Source, fault: Fault) {
        let subject = if fault.what.starts_with('`') { format!("`{}`: ", self.key(name)) } else { format!("`{}` ", self.key(name)) };
        session.error(from, fault.code, format!("{subject}{}", fault.what), fault.fix);
    }

    /// A table inside; an empty one when it is not there.
    pub(super) fn table(&mut self, session: &mut Session<'_>, name: &'static str) -> Self {
        let path = self.key(name);
        let label = format!("[{path}]");
        let mut inside = Self { path, label, spot: None, entries: Vec::new(), known: Vec::new() };
        match self.take(name) {
            None => {}
            Some(Entry { item: Item { node: Node::Table(table), .. }, .. }) => {
                inside.spot = Some(table.spot);
                inside.entries = table.entries;
            }
            Some(Entry { item, .. }) => {
                let what = format!("`{}` takes a table, not {}", inside.path, item.node.kind());
                session.error(&Source::File(item.spot), Code::WrongType, what, format!("write {} above its keys", inside.label));
            }
        }
        inside
    }

    /// An entry as it stands, for values with a form of their own. It counts as known.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Entry> {
        self.known.push(name);
        let index = self.entries.iter().position(|entry| entry.key == name)?;
        Some(self.entries.remove(index))
    }

    /// Tells what is left over.
    pub(super) fn finish(self, session: &mut Session<'_>) {
        for entry in &self.entries {
            let at = Source::File(entry.key_spot);
            let path = self.key(&entry.key);
            if let Some((_, reason)) =
                LATER.iter().find(|(key, _)| *key == path || path.starts_with("source.") && *key == format!("source.{}", entry.key))
            {
                session.error(&at, Code::Later, format!("`{}` is not in this version", entry.key), *reason);
                continue;
            }
            let fix = match nearest(&entry.key, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("{} knows {}", self.label, self.known.join(", ")),
            };
            session.error(&at, Code::UnknownKey, format!("unknown key `{}` in {}", entry.key, self.label), fix);
        }
    }
}

/// Keys that the interface names and that later versions will read.
const LATER: [(&str, &str); 4] = [
    ("source.sticky", "remove it: people are kept whole by anonymousId, else userId"),
    ("source.locked", "remove it: every source's route can be changed while segue runs"),
    ("routes", "remove it: what was changed while segue ran wins over the file; set `verify` in [[source]]"),
    ("fleet", "remove it: each sidecar starts from its own file"),
];
