//! What one reading of the configuration gathers: problems, and every value with its origin.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{
    Code, Environment, Origin, Override, Place, Problem, Setting, Severity,
    document::{Document, Spot},
    mask::masked,
};

/// One reading of the configuration.
pub(super) struct Session<'a> {
    pub environment: &'a Environment,
    overrides: &'a [Override],
    documents: Vec<Document>,
    problems: Vec<Problem>,
    settings: Vec<Setting>,
    asked: Vec<Asked>,
}

/// A key that the reader asked for, whether it is there or not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// The dotted key.
    pub key: String,
    /// What a JSON Schema says of its values.
    pub schema: Json,
    /// Its default, as a file would write it; None: it has none.
    pub default: Option<String>,
}

/// Where a value stands: in a file, or outside of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// In a file.
    File(Spot),
    /// A flag, a variable or a default.
    Outside(Origin),
}

impl Source {
    /// The first of two places that is in a file: a default stands in nobody's, and the user looks for what was written.
    pub(super) fn or<'s>(&'s self, other: &'s Self) -> &'s Self {
        if matches!(self, Self::File(_)) { self } else { other }
    }
}

impl<'a> Session<'a> {
    pub(super) const fn new(environment: &'a Environment, overrides: &'a [Override]) -> Self {
        Self { environment, overrides, documents: Vec::new(), problems: Vec::new(), settings: Vec::new(), asked: Vec::new() }
    }

    /// Notes a file's text; its spots name it by its index, the number of documents before it.
    pub(super) fn add_document(&mut self, document: Document) {
        self.documents.push(document);
    }

    /// How many documents there are.
    pub(super) fn documents_count(&self) -> usize {
        self.documents.len()
    }

    /// The directory that relative paths start from: the main file's.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        let base = self.documents.first().and_then(|main| main.path().parent()).unwrap_or(Path::new(""));
        base.join(path)
    }

    /// The value that a flag or variable gives to a key.
    pub(super) fn override_of(&self, key: &str) -> Option<&'a Override> {
        self.overrides.iter().find(|given| given.key == key)
    }

    /// Whether an error was found so far.
    pub(super) fn failed(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Notes an error at a place.
    pub(super) fn error(&mut self, at: &Source, code: Code, what: impl Into<String>, fix: impl Into<String>) {
        self.note(Severity::Error, at, code, what.into(), fix.into());
    }

    /// Notes a warning at a place.
    pub(super) fn warn(&mut self, at: &Source, code: Code, what: impl Into<String>, fix: impl Into<String>) {
        self.note(Severity::Warning, at, code, what.into(), fix.into());
    }

    /// Notes what was found elsewhere.
    pub(super) fn extend(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// Notes that a key was asked for.
    pub(super) fn ask(&mut self, key: String, schema: Json, default: Option<String>) {
        self.asked.push(Asked { key, schema, default });
    }

    /// Every key that was asked for so far.
    pub(super) fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Notes a value that is in force.
    pub(super) fn record(&mut self, key: String, value: String, from: &Source) {
        let origin = match from {
            Source::File(spot) => self.origin(*spot),
            Source::Outside(origin) => origin.clone(),
        };
        self.settings.push(Setting { key, value, origin });
    }

    /// `FILE:LINE` of a spot.
    pub(super) fn origin(&self, spot: Spot) -> Origin {
        match self.documents.get(spot.document) {
            Some(document) => Origin::File(document.path().clone(), document.line_of(spot.start)),
            None => Origin::Default,
        }
    }

    /// What was gathered: problems in the order of files and lines, what is nowhere first; and the values.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Setting>) {
        let documents: Vec<PathBuf> = self.documents.iter().map(|document| document.path().clone()).collect();
        let order = |place: &Place| (documents.iter().position(|path| *path == place.file), place.line, place.column);
        self.problems.sort_by_key(|problem| problem.place.as_ref().map(order));
        (self.problems, self.settings)
    }

    fn note(&mut self, severity: Severity, at: &Source, code: Code, what: String, fix: String) {
        let (place, what) = match at {
            Source::File(spot) => (self.documents.get(spot.document).map(|document| document.place(spot.start..spot.end)), what),
            Source::Outside(Origin::Default) => (None, what),
            Source::Outside(origin) => (None, format!("{origin}: {what}")),
        };
        let (what, fix) = (masked(what), masked(fix));
        self.problems.push(Problem { code, severity, place, what, fix });
    }
}
