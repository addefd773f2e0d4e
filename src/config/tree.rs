//! The file as a tree that knows where each part stands, whichever of the files it came from.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::document::Spot;

/// A table: its entries in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Where its header stands.
    pub spot: Spot,
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_spot: Spot,
    pub item: Item,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub spot: Spot,
    pub node: Node,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// A whole number, as it was written.
    Integer(String),
    /// `true` or `false`.
    Truth(bool),
    /// What no key takes: a float, a date. The text says which, for people.
    Other(&'static str),
    List(Vec<Item>),
    Table(Table),
}

/// One key of two files.
#[derive(Debug)]
pub(super) struct Clash {
    pub key: String,
    pub first: Spot,
    pub second: Spot,
}

impl Table {
    /// Takes a parsed table over.
    pub(super) fn of(table: &DeTable<'_>, spot: Spot) -> Self {
        let at = |span: Range<usize>| Spot { document: spot.document, start: span.start, end: span.end };
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_spot: at(key.span()),
                item: Item::of(value.get_ref(), at(value.span())),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_spot);
        Self { spot, entries }
    }

    /// Adds what another file says. Tables are joined, lists of tables are put one behind the other, and everything else may be said once.
    pub(super) fn merge(&mut self, other: Self) -> Vec<Clash> {
        let mut clashes = Vec::new();
        for entry in other.entries {
            let Some(mine) = self.entries.iter_mut().find(|mine| mine.key == entry.key) else {
                self.entries.push(entry);
                continue;
            };
            match (&mut mine.item.node, entry.item.node) {
                (Node::Table(mine), Node::Table(other)) => clashes.extend(mine.merge(other)),
                (Node::List(mine), Node::List(other)) if of_tables(mine) && of_tables(&other) => mine.extend(other),
                _ => clashes.push(Clash { key: entry.key, first: mine.key_spot, second: entry.key_spot }),
            }
        }
        clashes
    }
}

fn of_tables(items: &[Item]) -> bool {
    items.iter().all(|item| matches!(item.node, Node::Table(_)))
}

impl Item {
    fn of(value: &DeValue<'_>, spot: Spot) -> Self {
        let node = match value {
            DeValue::String(text) => Node::Text(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Node::Integer(number.as_str().to_owned()),
            DeValue::Array(items) => Node::List(
                items
                    .iter()
                    .map(|item| Self::of(item.get_ref(), Spot { document: spot.document, start: item.span().start, end: item.span().end }))
                    .collect(),
            ),
            DeValue::Table(table) => Node::Table(Table::of(table, spot)),
            DeValue::Integer(_) => Node::Other("a number that is not decimal"),
            DeValue::Float(_) => Node::Other("a number with a point"),
            DeValue::Boolean(truth) => Node::Truth(*truth),
            DeValue::Datetime(_) => Node::Other("a date"),
        };
        Self { spot, node }
    }
}

impl Node {
    /// What kind of value this is, for people.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Truth(_) => "a boolean",
            Self::Other(kind) => kind,
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Where secrets stand in a parsed file: the values of keys that sound like one, and whatever in a source has a name that is not known to be harmless.
pub(super) fn secret_spans(root: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in root {
        let sources = key.get_ref() == "source";
        match value.get_ref() {
            DeValue::Array(items) if sources => items.iter().for_each(|item| source_spans(item.get_ref(), spans)),
            table @ DeValue::Table(_) if sources => source_spans(table, spans),
            other => named_spans(key.get_ref(), other, value.span(), spans),
        }
    }
}

fn source_spans(source: &DeValue<'_>, spans: &mut Vec<Range<usize>>) {
    let Some(source) = source.as_table() else { return };
    for (key, value) in source {
        if !HARMLESS.contains(&key.get_ref().as_ref()) {
            scalar_spans(value.get_ref(), value.span(), spans);
        }
    }
}

fn named_spans(key: &str, value: &DeValue<'_>, span: Range<usize>, spans: &mut Vec<Range<usize>>) {
    match value {
        DeValue::String(path) if key == "key" && path.contains(['/', '.']) => {}
        _ if sounds_secret(key) => scalar_spans(value, span, spans),
        DeValue::String(url) if url.contains("://") && url.contains('@') => spans.push(span),
        DeValue::Table(table) => table.iter().for_each(|(key, value)| named_spans(key.get_ref(), value.get_ref(), value.span(), spans)),
        _ => {}
    }
}

/// Every scalar below, but for the names of variables and files that keys are taken from.
fn scalar_spans(value: &DeValue<'_>, span: Range<usize>, spans: &mut Vec<Range<usize>>) {
    match value {
        DeValue::Table(table) => table
            .iter()
            .filter(|(key, _)| !["env", "file"].contains(&key.get_ref().as_ref()))
            .for_each(|(_, value)| scalar_spans(value.get_ref(), value.span(), spans)),
        DeValue::Array(items) => items.iter().for_each(|item| scalar_spans(item.get_ref(), item.span(), spans)),
        _ => spans.push(span),
    }
}

/// Whether a key's name says that its value is one.
pub(super) fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "token", "secret", "password"].iter().any(|word| name.contains(word))
}

/// Keys of a source whose values may be shown.
pub(super) const HARMLESS: [&str; 8] = ["name", "id", "region", "route", "verify", "segment_rate_limit", "rudderstack_rate_limit", "rule"];
