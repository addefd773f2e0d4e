//! The rules of the house that a machine judges better than a reader: imports point down the floors of `src/lib.rs`, and files
//! keep the shape that readers count on.
//!
//! The table in the documentation of `src/lib.rs` is the only list of floors; this test reads it, and fails when it and the
//! modules disagree.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A file longer than this, tests not counted, is worth a look.
const LINES_USUAL_MAX: usize = 330;
/// A longer file, tests not counted, is refused.
const LINES_MAX: usize = 500;
/// `main.rs` is a caller of the library and nothing more.
const MAIN_LINES_MAX: usize = 19;

#[test]
fn every_module_stands_on_one_floor_of_the_table() {
    let library = read(&sources().join("lib.rs"));
    let floors = Floors::from_documentation(&library);
    let declared = declared_modules(&library);
    assert!(floors.0.len() >= 10, "the table of floors was not understood: {floors:?}");
    for module in &declared {
        assert!(floors.0.contains_key(module), "`{module}` is missing from the table of floors in src/lib.rs");
    }
    for module in floors.0.keys() {
        assert!(declared.contains(module), "the table of floors in src/lib.rs names `{module}`, which is no module");
    }
}

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let house = House::read();
    let mut faults = Vec::new();
    let mut files = 0;
    for file in rust_files(&sources()) {
        let name = file.strip_prefix(sources()).expect("the file was found there").to_string_lossy().into_owned();
        files += 1;
        faults.extend(house.faults(&name, &read(&file)));
    }
    assert!(files > 20, "only {files} files were found");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn long_files_are_named() {
    for file in rust_files(&sources()) {
        let lines = lines_without_tests(&read(&file));
        if lines > LINES_USUAL_MAX {
            println!("{}: {lines} lines without its tests; {LINES_USUAL_MAX} is usual", file.display());
        }
    }
}

/// `name@<1.2.3` reads like a floor, but cargo-deny takes what follows `@` for one exact version and refuses nothing else.
#[test]
fn floors_of_versions_are_written_so_that_they_hold() {
    let deny = read(&sources().join("../deny.toml"));
    let entries: Vec<&str> = deny.split("crate = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let floors = entries.iter().filter(|entry| entry.contains(":<")).count();
    assert!(floors >= 10, "only {floors} floors in deny.toml: {entries:?}");
    assert!(entries.iter().all(|entry| !entry.contains('@')), "write name:<version in deny.toml: {entries:?}");
}

/// What each snippet, as a file of `journal` (floor 2), is blamed for; None: nothing.
#[test]
fn bad_snippets_are_refused_and_good_ones_are_not() {
    let cases: [(&str, Option<&str>); 34] = [
        ("use crate::model::SourceId;", None),
        ("use crate::model::{SourceId, json};", None),
        ("use crate::model::json::{Raw, Reader};", None),
        ("use crate::{model::{Envelope, Plan}, policy::Backoff};", None),
        ("use crate::policy::Backoff as Pause;", None),
        ("use crate::journal::disk::deep::Disk;", None),
        ("use super::{Journal, words::Position};", None),
        ("fn f() -> crate::model::SourceId { crate::model::SourceId::parse(1) }", None),
        ("pub(crate) fn f() {}", None),
        ("fn f() { let text = \"use crate::app::Sidecar; /* \"; }", None),
        ("// use crate::app::Sidecar;\nfn f<'a>(x: &'a str) -> char { '\"' }", None),
        ("/* use crate::app::X; /* nested */ use crate::cli::Y; */", None),
        ("fn f() { let text = r#\"crate::app::X \"quoted\" \"#; }", None),
        ("fn f() -> impl Fn() + use<'_> {}", None),
        ("#[cfg(test)]\nmod tests { use super::*; use proptest::prelude::*; }", None),
        ("#[cfg(test)]\nmod tests { use super::super::words::Position; }", None),
        ("use std::{fmt, io::{self, Read as _}};", None),
        ("use crate::clock::Clock;", Some("its own floor")),
        ("use crate::ingress::Settings;", Some("a higher floor")),
        ("use crate::{model::Plan, delivery::Delivery};", Some("a higher floor")),
        ("fn f() { crate::app::Sidecar::start(); }", Some("a higher floor")),
        ("#[cfg(test)]\nmod tests { use crate::standin::SegmentStandin; }", Some("a higher floor")),
        ("use super::super::app::Sidecar;", Some("a higher floor")),
        ("use super::super::super::app::Sidecar;", Some("leaves the crate")),
        ("use crate::model::envelope::Envelope;", Some("more than two deep")),
        ("use crate::Sidecar;", Some("is no module")),
        ("use segue::model::Plan;", Some("by its own name")),
        ("use crate::model::*;", Some("glob")),
        ("pub use words::*;", Some("glob")),
        ("use std::{fmt::*, io};", Some("glob")),
        ("const MU: char = '\u{b5}';", Some("not ASCII")),
        ("#[allow(dead_code)]\nfn f() {}", Some("#[expect(")),
        ("#![allow(clippy::pedantic)]", Some("#[expect(")),
        ("#[cfg_attr(test, allow(dead_code))]\nfn f() {}", Some("#[expect(")),
    ];
    let house = House::read();
    for (code, blame) in cases {
        let faults = house.faults("journal/words.rs", &format!("//! Words.\n\n{code}\n"));
        match blame {
            None => assert!(faults.is_empty(), "`{code}` was blamed: {faults:?}"),
            Some(reason) => {
                assert!(faults.len() == 1 && faults[0].contains(reason), "`{code}` should be blamed for {reason:?}: {faults:?}");
            }
        }
    }
}

#[test]
fn bad_shapes_are_refused() {
    let house = House::read();
    assert_eq!(house.faults("journal/mod.rs", "use std::fmt;\n").len(), 1, "no module documentation");
    assert_eq!(house.faults("main.rs", &format!("//! It.\n{}", "// a line\n".repeat(MAIN_LINES_MAX))).len(), 1, "a long main");
    let long = format!("//! It.\n{}", "fn f() {}\n".repeat(LINES_MAX));
    assert_eq!(house.faults("journal/mod.rs", &long).len(), 1, "a long file");
    let tested = format!("//! It.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(LINES_MAX));
    assert_eq!(house.faults("journal/mod.rs", &tested), Vec::<String>::new(), "a long test is no long file");
    assert_eq!(house.faults("journal/tests.rs", &long), Vec::<String>::new(), "nor is a file of tests");
    assert_eq!(house.faults("journal/mod.rs", "//! It.\nuse super::app::Sidecar;\n").len(), 1, "super of a top module is the crate");
}

/// A module of tests that stands in a file of its own, beside what it tests.
fn is_test_file(name: &str) -> bool {
    Path::new(name).file_name().and_then(|file| file.to_str()).is_some_and(|file| file == "tests.rs" || file.ends_with("_tests.rs"))
}

/// Which floor each top module stands on.
#[derive(Debug)]
struct Floors(BTreeMap<String, u32>);

impl Floors {
    /// Reads the rows `//! | 2 resources | [`clock`] [`journal`] | ... |`.
    fn from_documentation(library: &str) -> Self {
        let mut floors = BTreeMap::new();
        for row in library.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let mut cells = row.split('|');
            let floor = cells.next().and_then(|cell| cell.split_whitespace().next()).and_then(|number| number.parse().ok());
            let (Some(floor), Some(modules)) = (floor, cells.next()) else { continue };
            for module in modules.split("[`").skip(1).filter_map(|rest| rest.split_once("`]")) {
                let twice = floors.insert(module.0.to_owned(), floor);
                assert!(twice.is_none(), "the table of floors names `{}` twice", module.0);
            }
        }
        Self(floors)
    }
}

/// What the rules are about.
struct House {
    floors: Floors,
    /// The public modules inside each top module: `model` has `json`.
    inner: BTreeMap<String, Vec<String>>,
}

impl House {
    fn read() -> Self {
        let floors = Floors::from_documentation(&read(&sources().join("lib.rs")));
        let inside = |module: &String| {
            let file =
                [sources().join(module).join("mod.rs"), sources().join(format!("{module}.rs"))].into_iter().find(|file| file.exists());
            (module.clone(), file.map(|file| declared_modules(&read(&file))).unwrap_or_default())
        };
        let inner = floors.0.keys().map(inside).collect();
        Self { floors, inner }
    }

    /// Everything that is wrong with one file; `name` is its path under `src`.
    fn faults(&self, name: &str, source: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (index, line) in source.lines().enumerate() {
            if !line.is_ascii() {
                faults.push(format!("{name}:{}: a character that is not ASCII", index + 1));
            }
        }
        if !source.starts_with("//!") {
            faults.push(format!("{name}:1: the file does not open with `//!`: what it owns, promises, never does"));
        }
        let lines = if is_test_file(name) { 0 } else { lines_without_tests(source) };
        if lines > LINES_MAX {
            faults.push(format!("{name}: {lines} lines without its tests, {LINES_MAX} at most"));
        }
        if name == "main.rs" && source.lines().count() > MAIN_LINES_MAX {
            faults.push(format!("{name}: more than {MAIN_LINES_MAX} lines"));
        }
        let tokens = tokens(source);
        faults.extend(
            allowances(&tokens).into_iter().map(|line| format!("{name}:{line}: write #[expect(lint, reason = \"...\")], never allow")),
        );
        for reference in references(&tokens) {
            if let Some(fault) = self.fault_of(name, &reference) {
                faults.push(format!("{name}:{}: `{}` {fault}", reference.line, reference.path.join("::")));
            }
        }
        faults
    }

    /// What is wrong with one import or path.
    fn fault_of(&self, name: &str, reference: &Reference) -> Option<String> {
        if reference.path.last().is_some_and(|last| last == "*")
            && !is_test_file(name)
            && !reference.inside.iter().any(|module| module == "tests" || module.ends_with("_tests"))
        {
            return Some("is a glob: name what is used".to_owned());
        }
        if name == "main.rs" || name == "lib.rs" {
            return None;
        }
        if reference.path[0] == "segue" {
            return Some("names the crate by its own name".to_owned());
        }
        let own = module_of(name);
        let (target, rest) = match absolute(&own, reference) {
            Absolute::Elsewhere => return None,
            Absolute::Outside => return Some("leaves the crate".to_owned()),
            Absolute::Crate(path) => (path.first()?.clone(), path[1..].to_vec()),
        };
        if target == own[0] {
            return None;
        }
        let (Some(from), Some(to)) = (self.floors.0.get(&own[0]), self.floors.0.get(&target)) else {
            return Some(format!("is no module of the table in lib.rs (in `{}`)", own[0]));
        };
        if to >= from {
            let which = if to == from { "its own floor" } else { "a higher floor" };
            return Some(format!("is on {which}: `{}` stands on {from}, `{target}` on {to}", own[0]));
        }
        // Lower-case names are modules or functions; what follows a type is a part of it, not a deeper module.
        let deep = rest.iter().position(|part| part.starts_with(|first: char| first.is_ascii_uppercase())).map_or(rest.len(), |at| at + 1);
        let through_inner = rest.len() > 1 && self.inner.get(&target).is_some_and(|inner| inner.contains(&rest[0]));
        (deep > if through_inner { 2 } else { 1 }).then(|| "is more than two deep".to_owned())
    }
}

/// Where a path leads.
enum Absolute {
    /// To another crate, or to a name of this file.
    Elsewhere,
    /// Above the root of the crate.
    Outside,
    /// To this place, counted from the root of the crate.
    Crate(Vec<String>),
}

fn absolute(own: &[String], reference: &Reference) -> Absolute {
    let mut at: Vec<String> = own.iter().chain(&reference.inside).cloned().collect();
    let mut path = reference.path.as_slice();
    match path[0].as_str() {
        "crate" => at.clear(),
        "self" | "super" => {}
        _ => return Absolute::Elsewhere,
    }
    while let Some((first, rest)) = path.split_first() {
        match first.as_str() {
            "super" if at.pop().is_none() => return Absolute::Outside,
            "crate" | "self" | "super" => path = rest,
            _ => break,
        }
    }
    at.extend(path.iter().cloned());
    Absolute::Crate(at)
}

/// `journal/disk.rs` is `journal::disk`.
fn module_of(name: &str) -> Vec<String> {
    let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// An import or a path in the text that begins with `crate`, `self` or `super`.
#[derive(Debug)]
struct Reference {
    path: Vec<String>,
    /// The modules written inside the file around it: `tests`.
    inside: Vec<String>,
    line: usize,
}

/// Every import, and every path from `crate` or `super`.
fn references(tokens: &[Token<'_>]) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut scopes: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
        let inside = || scopes.iter().flatten().cloned().collect::<Vec<_>>();
        match token.text {
            "mod" if next(2) == "{" => {
                scopes.push(Some(next(1).to_owned()));
                at += 3;
            }
            "{" => {
                scopes.push(None);
                at += 1;
            }
            "}" => {
                scopes.pop();
                at += 1;
            }
            "use" if next(1) != "<" => {
                at += 1;
                let mut paths = Vec::new();
                at = use_tree(tokens, at, &[], &mut paths);
                found.extend(paths.into_iter().map(|path| Reference { path, inside: inside(), line: token.line }));
            }
            "crate" | "super" if next(1) == "::" => {
                let mut path = vec![token.text.to_owned()];
                at += 1;
                while let [colons, name, ..] = &tokens[at..] {
                    if colons.text != "::" || !name.is_name() {
                        break;
                    }
                    path.push(name.text.to_owned());
                    at += 2;
                }
                found.push(Reference { path, inside: inside(), line: token.line });
            }
            _ => at += 1,
        }
    }
    found
}

/// Reads one tree of a `use` and gives the place behind it.
fn use_tree(tokens: &[Token<'_>], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &path, paths);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "as" => at += 2,
            "::" => at += 1,
            "*" => {
                path.push("*".to_owned());
                at += 1;
            }
            name if token.is_name() => {
                path.push(name.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    // `use a::{self}` is an import of `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if path.is_empty() {
        return at + 1;
    }
    paths.push(path);
    at
}

/// The lines of `#[allow(..)]` and its like.
fn allowances(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut lines = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
        let opens = token.text == "#" && (text(index + 1) == "[" || text(index + 1) == "!" && text(index + 2) == "[");
        if opens {
            let attribute = tokens[index..].iter().skip(1).take_while(|token| token.text != "]");
            let allows = attribute.collect::<Vec<_>>().windows(2).any(|pair| pair[0].text == "allow" && pair[1].text == "(");
            lines.extend(allows.then_some(token.line));
        }
    }
    lines
}

/// A word or sign of Rust; comments and literals are left out.
#[derive(Debug)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

impl Token<'_> {
    fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
    }
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment_length(rest),
            '"' => string_length(rest),
            'r' | 'b' | 'c' if literal_prefix(rest).is_some() => {
                let prefix = literal_prefix(rest).unwrap_or(0);
                if rest[..prefix].contains('r') { prefix + raw_length(&rest[prefix..]) } else { prefix + string_length(&rest[prefix..]) }
            }
            '\'' => quote_length(rest),
            _ if first.is_whitespace() || !first.is_ascii() => first.len_utf8(),
            _ => {
                let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let length = if word > 0 { word } else { 1 + usize::from(rest.starts_with("::")) };
                tokens.push(Token { text: &rest[..length], line });
                length
            }
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn block_comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        match here {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of what stands before the quote of `b"`, `r#"`, `br"` and their like, signs `#` not counted.
fn literal_prefix(text: &str) -> Option<usize> {
    ["br", "cr", "r", "b", "c"]
        .into_iter()
        .find(|prefix| {
            let Some(after) = text.strip_prefix(prefix) else { return false };
            let after = if prefix.ends_with('r') { after.trim_start_matches('#') } else { after };
            after.starts_with('"')
        })
        .map(str::len)
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_length(text: &str) -> usize {
    let hashes = text.find('"').unwrap_or(0);
    let end = format!("\"{}", "#".repeat(hashes));
    text[hashes + 1..].find(&end).map_or(text.len(), |at| hashes + 1 + at + end.len())
}

/// A character literal is skipped whole; of a lifetime only its quote.
fn quote_length(text: &str) -> usize {
    let mut inside = text[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), Some(escape)) => text[2 + escape.len_utf8()..].find('\'').map_or(text.len(), |at| 3 + escape.len_utf8() + at),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// The modules that a file declares as `pub mod name;`.
fn declared_modules(source: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    source.lines().filter_map(name).collect()
}

fn lines_without_tests(source: &str) -> usize {
    source.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a source can be read")
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).expect("src is there").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
