//! Where a walk is: the exact path, and the one that stands for its like.

use std::fmt::Write as _;

use crate::model::json::push_string;

/// A name of more bytes is told as `*`: nobody reads it, and a thousand findings below it must not be a thousand copies of it.
const NAME_BYTES_MAX: usize = 128;
/// Beyond a path of so many bytes nothing is told apart any more.
const PATH_BYTES_MAX: usize = 1024;
/// Nor beyond so many levels: each costs one more reading of what is in it.
const DEPTH_MAX: usize = 64;

/// The place of a value, written as a [`super::Pattern`] reads it.
#[derive(Debug, Default)]
pub(super) struct Place {
    path: String,
    group: String,
    /// How long both were at each level above.
    above: Vec<(usize, usize)>,
}

impl Place {
    /// The exact path; empty for the whole event.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path with `*` for every index; empty for the whole event.
    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// How many steps lead here.
    pub(super) fn depth(&self) -> usize {
        self.above.len()
    }

    /// Whether what is in here is not told apart.
    pub(super) fn is_too_deep(&self) -> bool {
        self.above.len() >= DEPTH_MAX || self.path.len() >= PATH_BYTES_MAX
    }

    pub(super) fn enter_member(&mut self, name: &str) {
        self.above.push((self.path.len(), self.group.len()));
        let dot = if self.path.is_empty() { "" } else { "." };
        let step = if name.len() > NAME_BYTES_MAX {
            format!("{dot}*")
        } else if is_plain(name) && !(self.path.is_empty() && name.starts_with('$')) {
            format!("{dot}{name}")
        } else {
            let mut quoted = vec![b'['];
            push_string(&mut quoted, name);
            quoted.push(b']');
            String::from_utf8_lossy(&quoted).into_owned()
        };
        self.path.push_str(&step);
        self.group.push_str(&step);
    }

    pub(super) fn enter_item(&mut self, index: usize) {
        self.above.push((self.path.len(), self.group.len()));
        // Writing to a String cannot fail.
        let _ = write!(self.path, "[{index}]");
        self.group.push_str("[*]");
    }

    pub(super) fn leave(&mut self) {
        let (path, group) = self.above.pop().expect("whoever leaves has entered");
        self.path.truncate(path);
        self.group.truncate(group);
    }
}

/// Whether a name can stand in a path without quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains(is_sign)
}

/// Whether a character of a path is more than a letter of a name.
pub(super) fn is_sign(character: char) -> bool {
    matches!(character, '.' | '[' | ']' | '"' | '\'' | '*') || character.is_control()
}
