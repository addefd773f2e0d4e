//! One file's text: where things are in it, and what of it may be shown.

use std::{ops::Range, path::PathBuf};

use toml::de::DeTable;

use super::{
    Code, Place, Problem, Severity,
    mask::{key_like, masked},
    tree::{HARMLESS, Table, secret_spans},
};

/// A file that was read.
#[derive(Debug)]
pub(super) struct Document {
    path: PathBuf,
    text: String,
    /// Bytes that must not be shown, ascending.
    secrets: Vec<Range<usize>>,
}

/// A place in one of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The document's index.
    pub document: usize,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Document {
    /// Takes a file's text as the document of that index. The tree is there even after syntax errors, so that later files can be looked at,
    /// but what it says is then not to be trusted.
    pub(super) fn parse(path: PathBuf, text: String, index: usize) -> (Self, Table, Vec<Problem>) {
        let (parsed, errors) = DeTable::parse_recoverable(&text);
        let tree = Table::of(parsed.get_ref(), Spot { document: index, start: 0, end: 0 });
        let mut secrets = Vec::new();
        secret_spans(parsed.get_ref(), &mut secrets);
        if !errors.is_empty() {
            secrets.extend(likely_secrets(&text));
        }
        secrets.extend(key_like(&text));
        secrets.sort_by_key(|span| span.start);
        let faults: Vec<(Range<usize>, String)> =
            errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
        let document = Self { path, text, secrets };
        let problems = document.syntax_problems(&faults);
        (document, tree, problems)
    }

    /// The file's path, as it was named.
    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.text[..floor_char(&self.text, byte)].matches('\n').count() + 1
    }

    /// A span as people look for it.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let start = floor_char(&self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let (excerpt, carets) = self.excerpt(line_start..line_end, start..span.end.min(line_end));
        Place {
            file: self.path.clone(),
            line: self.line_of(start),
            column: self.text[line_start..start].chars().count() + 1,
            excerpt,
            carets,
        }
    }

    /// The line with secrets masked, and where `marked` came to be in it.
    fn excerpt(&self, line: Range<usize>, marked: Range<usize>) -> (String, (usize, usize)) {
        let (mut shown, mut count, mut masking) = (String::new(), 0, false);
        let (mut first, mut end) = (None, 0);
        for (offset, char) in self.text[line.clone()].char_indices() {
            let byte = line.start + offset;
            let secret = self.secrets.iter().any(|span| span.contains(&byte));
            let text = match (secret, masking) {
                (true, true) => "",
                (true, false) => "***",
                (false, _) => "x",
            };
            masking = secret;
            if marked.contains(&byte) || (marked.start == byte && first.is_none()) {
                first.get_or_insert(count - if text.is_empty() { 3 } else { 0 });
                end = count + text.len();
            }
            if count < EXCERPT_CHARS_MAX {
                match text {
                    "x" if char.is_control() => shown.push(' '),
                    "x" => shown.push(char),
                    mask => shown.push_str(mask),
                }
                count += text.len();
            }
        }
        let first = first.unwrap_or(count);
        (shown.trim_end().to_owned(), (first, end.saturating_sub(first).max(1)))
    }

    /// At most one problem a line: the parser's later complaints about a line follow from its first.
    fn syntax_problems(&self, faults: &[(Range<usize>, String)]) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        for (span, message) in faults {
            let place = self.place(span.clone());
            if problems.iter().any(|other| other.place.as_ref().is_some_and(|known| known.line == place.line)) {
                continue;
            }
            let (what, expected) = message.split_once(", ").unwrap_or((message, "see https://toml.io"));
            let number = ["quoted", "float", "integer", "leading zero", "date"].iter().any(|word| what.contains(word));
            let fix = if number { "put texts in quotes, also those with a unit" } else { expected };
            problems.push(Problem {
                code: Code::Syntax,
                severity: Severity::Error,
                place: Some(place),
                what: masked(format!("this is not TOML: {what}")),
                fix: masked(fix.to_owned()),
            });
        }
        problems
    }
}

/// What may be a key in a file that does not parse, where nothing says what belongs to what: everything but the headers of tables that
/// are known, the names of keys, and one value behind a name that is known to be harmless.
fn likely_secrets(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let shown = shown_bytes(line.trim_end());
        spans.push(start + shown..start + line.trim_end().len());
        start += line.len();
    }
    spans.retain(|span| !span.is_empty());
    spans
}

/// How much of a line of a broken file may be shown.
fn shown_bytes(line: &str) -> usize {
    let header = line.trim_start_matches([' ', '[']);
    if header.len() < line.trim_start().len() {
        let table = header.trim_end_matches([' ', ']']);
        return if TABLES.contains(&table) { line.len() } else { line.len() - header.len() };
    }
    let Some((name, value)) = line.split_once('=') else { return 0 };
    if !is_name(name.trim()) {
        return 0;
    }
    let reference = ["{ env", "{ file"].iter().any(|form| value.trim_start().starts_with(form));
    let value_bytes = if reference {
        // As far as the text after `env =` ends.
        value.match_indices('"').nth(1).map_or(0, |(quote, _)| quote + 1)
    } else if HARMLESS.contains(&name.trim()) || PUBLIC.contains(&name.trim()) {
        value.find('=').unwrap_or(value.len())
    } else {
        value.len() - value.trim_start().len()
    };
    name.len() + 1 + value_bytes
}

fn is_name(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The last character boundary at or before `byte`.
fn floor_char(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

/// Headers that are shown whole.
const TABLES: [&str; 13] = [
    "admin",
    "tls",
    "journal",
    "segment",
    "segment.retry",
    "rudderstack",
    "rudderstack.retry",
    "rudderstack.batch",
    "log",
    "limits",
    "source",
    "source.route",
    "source.rule",
];
/// Keys outside of sources whose values are shown even where the file is broken.
const PUBLIC: [&str; 9] = ["listen", "listen_tls", "metrics", "drain_timeout", "dir", "size_max", "keep_delivered", "rate_limit", "level"];
/// More of a line than this is not shown.
const EXCERPT_CHARS_MAX: usize = 160;
