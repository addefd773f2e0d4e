//! What is said of a source that there is none of.

use super::{Exit, talk::Talk};
use crate::{config::nearest, model::inert};

/// Fewer sources than this are named.
const NAMES_SHOWN_MAX: usize = 12;

/// Tells that there is no such source, which one was meant perhaps, and which there are; returns how the command ends.
pub fn unknown_source(wanted: &str, names: &[&str], talk: &Talk) -> Exit {
    let hint = nearest(wanted, names.iter().copied()).map(|name| format!("Did you mean {}? ", inert(name))).unwrap_or_default();
    let all = if names.len() < NAMES_SHOWN_MAX {
        names.iter().map(|name| inert(name).into_owned()).collect::<Vec<_>>().join(", ")
    } else {
        format!("{} of them: segue route get", names.len())
    };
    talk.error(&anyhow::anyhow!("there is no source {wanted:?}\n  Nothing was changed.\n  {hint}Sources: {all}"));
    Exit::Usage
}
