//! From files to a checked [`Config`].

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    Code, Config, Environment, Origin, Override, Problems, Setting,
    document::Document,
    read,
    section::Section,
    session::{Session, Source},
    tree::Table,
};
use crate::tls;

/// A configuration that may be started.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed but looks wrong. Never an error.
    pub warnings: Problems,
    /// Every value in force and where it came from.
    pub settings: Vec<Setting>,
    /// The files that were read, the main one first.
    pub files: Vec<PathBuf>,
}

/// Finds, reads and checks the configuration. `path` is the file that the user named; None searches `$SEGUE_CONFIG`,
/// `./sidecar.toml` and `/etc/segue/sidecar.toml`. Every `conf.d/*.toml` beside the file is read after it, in the order of
/// names. Blocking: it reads files.
///
/// # Errors
/// With all problems of all files at once.
pub fn load(path: Option<&Path>, environment: &Environment, overrides: &[Override]) -> Result<Loaded, Problems> {
    let mut session = Session::new(environment, overrides);
    let files = read_all(&mut session, path);
    // A broken file's tree would only give problems that follow from the first.
    let config = match files {
        Some((_, ref tree)) if !session.failed() => read::config(&mut session, Section::root(tree.clone())),
        _ => Config::default(),
    };
    let failed = session.failed();
    let (problems, settings) = session.finish();
    match files {
        Some((files, _)) if !failed => Ok(Loaded { config, warnings: Problems::new(problems), settings, files }),
        _ => Err(Problems::new(problems)),
    }
}

/// What `[tls]` says, whether or not the TLS listener is on and its certificates are there: for making them. Without any
/// configuration, the defaults.
///
/// # Errors
/// With the problems of the files' form and of `[tls]`.
pub fn tls_section(path: Option<&Path>, environment: &Environment) -> Result<tls::Settings, Problems> {
    let mut session = Session::new(environment, &[]);
    if path.is_none() && find(None, environment).is_none() {
        return Ok(tls::Settings::default());
    }
    let settings = match read_all(&mut session, path) {
        Some((_, tree)) if !session.failed() => read::tls(&mut session, &mut Section::root(tree)),
        _ => None,
    };
    let failed = session.failed();
    let (problems, _) = session.finish();
    settings.filter(|_| !failed).ok_or_else(|| Problems::new(problems))
}

/// Where the configuration is; None when it is nowhere.
#[must_use]
pub fn find(path: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = path.map(Path::to_owned).or_else(|| environment.get("SEGUE_CONFIG").map(PathBuf::from));
    named.filter(|path| !path.as_os_str().is_empty()).or_else(|| SEARCHED.iter().map(PathBuf::from).find(|path| path.exists()))
}

/// Reads and joins all files. None when there is no main one; its problem is noted.
fn read_all(session: &mut Session<'_>, path: Option<&Path>) -> Option<(Vec<PathBuf>, Table)> {
    let Some(main) = find(path, session.environment) else {
        let what = format!(
            "there is no configuration: neither --config nor $SEGUE_CONFIG names one, and there is no {}",
            SEARCHED.join(" and no ")
        );
        session.error(&Source::Outside(Origin::Default), Code::NoFile, what, "Write a first one: segue config init");
        return None;
    };
    let mut tree = read_file(session, &main)?;
    let mut files = vec![main];
    for addition in additions(session, &files[0]) {
        if let Some(other) = read_file(session, &addition) {
            for clash in tree.merge(other) {
                let first = session.origin(clash.first);
                session.error(
                    &Source::File(clash.second),
                    Code::SetTwice,
                    format!("`{}` is already set in {first}", clash.key),
                    "remove one of the two",
                );
            }
            files.push(addition);
        }
    }
    Some((files, tree))
}

/// The files of `conf.d` beside the main one, by name; hidden ones, as editors leave them, are not read.
fn additions(session: &mut Session<'_>, main: &Path) -> Vec<PathBuf> {
    let directory = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries.take(ADDITIONS_MAX),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let what = format!("{} cannot be read: {error}", directory.display());
            session.error(&Source::Outside(Origin::Default), Code::NoFile, what, "Make it readable by segue's user, or remove it.");
            return Vec::new();
        }
    };
    let visible = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "toml")
            && path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    };
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(visible).collect();
    files.sort();
    files
}

/// Reads one file into the session; None when there is no text to speak of.
fn read_file(session: &mut Session<'_>, path: &Path) -> Option<Table> {
    match read_text(path) {
        Ok(text) => {
            let (document, tree, problems) = Document::parse(path.to_owned(), text, session.documents_count());
            session.add_document(document);
            session.extend(problems);
            Some(tree)
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            let fix = if error.kind() == io::ErrorKind::NotFound {
                "Check the path, or write a first one: segue config init"
            } else {
                "It must be a text file that segue's user may read."
            };
            session.error(&Source::Outside(Origin::Default), Code::NoFile, what, fix);
            None
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

/// Where a configuration is looked for, after the names that the user gave.
const SEARCHED: [&str; 2] = ["sidecar.toml", "/etc/segue/sidecar.toml"];
/// A larger file is refused.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// More entries of `conf.d` are not looked at.
const ADDITIONS_MAX: usize = 10_000;
