//! Files of the configuration, and the journal's directory, that other users of the machine can get at.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::{Code, Loaded, Origin, Place, Problem, Severity};
use crate::{
    journal::{self, Gravity},
    model::{Custody, Exposure},
};

/// A warning for each file that holds a write key itself and can be read by other users.
#[must_use]
pub fn exposed_files(loaded: &Loaded) -> Vec<Problem> {
    let own = rustix::process::geteuid().as_raw();
    let warning = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        // The file is its author's; what counts is who else can get at it.
        let owner = if metadata.uid() == 0 { 0 } else { own };
        let exposure = Custody { mode: metadata.mode(), owner }.exposure(own)?;
        let line = loaded.settings.iter().find_map(|setting| literal_key(setting.key.as_str(), &setting.value, &setting.origin, path))?;
        Some(Problem {
            code: Code::OpenConfig,
            severity: Severity::Warning,
            place: Some(Place { file: path.to_owned(), line, column: 1, excerpt: "...".to_owned(), carets: (0, 3) }),
            what: format!("write keys stand in a file that {} (mode {:04o})", read(exposure), metadata.mode() & 0o7777),
            fix: format!("chmod 600 {}, or take the key from {{ env = \"NAME\" }}", path.display()),
        })
    };
    loaded.files.iter().filter_map(|path| warning(path)).collect()
}

/// What of the journal's directory others can get at.
pub(super) fn exposed_journal(loaded: &Loaded) -> Vec<Problem> {
    let found = journal::exposed(&loaded.config.journal.dir).unwrap_or_default();
    // Root may check what another user will run.
    let foreign_to_root = |how: &str| rustix::process::geteuid().is_root() && how.starts_with("belongs to another user");
    let problem = |exposed: journal::Exposed| Problem {
        code: Code::JournalExposed,
        severity: match exposed.gravity {
            Gravity::Refused if !foreign_to_root(&exposed.how) => Severity::Error,
            Gravity::Refused | Gravity::Tolerated => Severity::Warning,
        },
        place: None,
        what: format!("{} {}", exposed.path.display(), exposed.how),
        fix: exposed.fix,
    };
    found.into_iter().map(problem).collect()
}

/// The line of a setting that is a write key written out in that file.
fn literal_key(key: &str, value: &str, origin: &Origin, path: &Path) -> Option<usize> {
    match origin {
        Origin::File(file, line) if file == path && key.ends_with("write_key") && !value.contains(" in ") => Some(*line),
        _ => None,
    }
}

const fn read(exposure: Exposure) -> &'static str {
    match exposure {
        Exposure::Changeable | Exposure::Foreign(_) => "other users can change",
        Exposure::Readable => "every user of this machine can read",
        Exposure::GroupReadable => "its group can read",
    }
}
