//! Write keys: by value, from an environment variable, or from a file. Never shown.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::{
    Code, Origin,
    session::{Session, Source},
    tree::{Item, Node, Table},
};
use crate::model::{Custody, Exposure, Secret};

/// A key, and where it stands in the file.
pub(super) struct Key {
    pub secret: Secret,
    pub at: Source,
}

/// Reads one key or a list of them; what cannot be read is told. `name` is the dotted key.
pub(super) fn read(session: &mut Session<'_>, name: &str, item: Item) -> Vec<Key> {
    match item.node {
        Node::List(items) => items.into_iter().filter_map(|item| read_one(session, name, item)).collect(),
        node => read_one(session, name, Item { spot: item.spot, node }).into_iter().collect(),
    }
}

fn read_one(session: &mut Session<'_>, name: &str, item: Item) -> Option<Key> {
    let at = Source::File(item.spot);
    let (secret, shown, from) = match item.node {
        Node::Text(text) => (Secret::new(text), String::new(), at.clone()),
        Node::Table(table) => match reference(&table) {
            Some(("env", variable)) => {
                (from_variable(session, &at, variable)?, String::new(), Source::Outside(Origin::Variable(variable.to_owned())))
            }
            Some((_, path)) => (from_file(session, &at, Path::new(path))?, format!(" in {path}"), at.clone()),
            None => {
                session.error(&at, Code::WrongType, format!("`{name}` is neither a key, nor an environment variable, nor a file"), FORMS);
                return None;
            }
        },
        other => {
            session.error(&at, Code::WrongType, format!("`{name}` takes a key, not {}", other.kind()), FORMS);
            return None;
        }
    };
    if let Some(what) = oddity(secret.expose()) {
        session.error(&at, Code::BadKey, format!("the key of `{name}` {what}"), "copy the key again");
        return None;
    }
    session.record(name.to_owned(), format!("{}{shown}", secret.hint()), &from);
    Some(Key { secret, at })
}

/// `{ env = "X" }` or `{ file = "path" }`, and nothing else beside it.
fn reference(table: &Table) -> Option<(&str, &str)> {
    let [entry] = table.entries.as_slice() else { return None };
    match (&entry.item.node, entry.key.as_str()) {
        (Node::Text(text), "env" | "file") => Some((&entry.key, text)),
        _ => None,
    }
}

fn from_variable(session: &mut Session<'_>, at: &Source, variable: &str) -> Option<Secret> {
    let value = session.environment.get(variable).map(|value| value.to_string_lossy().into_owned());
    let what = match value {
        Some(value) if !value.is_empty() => return Some(Secret::new(value)),
        Some(_) => "is empty",
        None => "is not set",
    };
    session.error(
        at,
        Code::NoVariable,
        format!("the environment variable {variable} {what}"),
        "set it in segue's own environment, not only in the app's",
    );
    None
}

fn from_file(session: &mut Session<'_>, at: &Source, path: &Path) -> Option<Secret> {
    let path = session.resolve(path);
    match read_text(&path) {
        Ok(text) => {
            check_mode(session, at, &path);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Some(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
        }
        Err(error) => {
            session.error(
                at,
                Code::NoKeyFile,
                format!("{} cannot be read: {error}", path.display()),
                "write a file that segue's user may read, with the key and nothing else",
            );
            None
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(KEY_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > KEY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 KiB"));
    }
    Ok(text)
}

/// Refuses a secret file that other users can get at. What an orchestrator mounts is not ours to judge: Docker and systemd mount each
/// secret into a place that only this service sees; where Kubernetes links to one that everybody in the container may read, that is told.
pub(super) fn check_mode(session: &mut Session<'_>, at: &Source, path: &Path) {
    let mounted = |directory: &Path| path.starts_with(directory);
    let credentials = session.environment.get("CREDENTIALS_DIRECTORY").is_some_and(|directory| mounted(Path::new(directory)));
    if credentials || ["/run/secrets", "/var/run/secrets"].iter().any(|directory| mounted(Path::new(directory))) {
        return;
    }
    let (Ok(named), Ok(found)) = (fs::symlink_metadata(path), fs::metadata(path)) else { return };
    let custody = Custody { mode: found.mode(), owner: found.uid() };
    let Some(exposure) = custody.exposure(rustix::process::geteuid().as_raw()) else { return };
    let what = format!("{} {exposure} (mode {:04o})", path.display(), found.mode() & 0o7777);
    match exposure {
        _ if named.is_symlink() => session.warn(at, Code::OpenKeyFile, what, "in Kubernetes: defaultMode: 0400, or 0440 with fsGroup"),
        Exposure::Foreign(_) => session.warn(at, Code::OpenKeyFile, what, "give it to root or to segue's user (chown)"),
        Exposure::Changeable | Exposure::Readable | Exposure::GroupReadable => {
            session.error(at, Code::OpenKeyFile, what, format!("chmod 600 {}", path.display()));
        }
    }
}

/// What is wrong with a key's text; None when nothing is.
fn oddity(key: &str) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    if key.is_empty() {
        Some("is empty")
    } else if key.chars().any(char::is_whitespace) {
        Some("has a blank or a line break in it")
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) || key.contains(':') {
        Some("has a character that no write key has")
    } else if key.len() > 256 {
        Some("is too long")
    } else if key.starts_with(['<', '$', '{'])
        || ["your_", "your-", "changeme", "xxxx", "write_key", "todo"].iter().any(|word| lower.starts_with(word))
    {
        Some("is a placeholder")
    } else {
        None
    }
}

/// How a key can be given.
const FORMS: &str = "write \"the key\", { env = \"NAME\" } or { file = \"/path\" }";
/// A larger key file is refused.
const KEY_BYTES_MAX: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_told_apart_from_real_ones() {
        for good in ["wk_test_abcdefgh9f2c", "2ZfK3y7sQpR", "a-b_c.d"] {
            assert_eq!(oddity(good), None, "{good}");
        }
        for bad in ["", " wk", "wk_test a", "wk:", "wk_\u{e9}", "<your key>", "YOUR_WRITE_KEY", "$KEY", "xxxxxxxx"] {
            assert!(oddity(bad).is_some(), "{bad}");
        }
        assert!(oddity(&"a".repeat(257)).is_some());
    }
}
