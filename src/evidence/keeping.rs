//! How evidence is kept over a restart.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{findings::Findings, handle::Evidence, ledger::Ledger, tallies::Tallies};

/// What earlier runs knew.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) ledger: Ledger,
    pub(super) findings: Findings,
    pub(super) tallies: Tallies,
}

const LEDGER: &str = "ledger.json";
const FINDINGS: &str = "findings.json";
const TALLIES: &str = "tallies.json";
/// The form of these files.
const VERSION: u32 = 1;

/// A file as it is written.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Form<T> {
    version: u32,
    rows: Vec<T>,
}

/// Reads what there is; None: there is nothing.
pub(super) fn load(dir: Option<&Path>) -> Known {
    let Some(dir) = dir else { return Known::default() };
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        tracing::error!(event = "evidence_dir", %error, dir = %dir.display(), "evidence cannot be kept over a restart");
        return Known::default();
    }
    Known {
        ledger: rows(dir, LEDGER).map(Ledger::load).unwrap_or_default(),
        findings: rows(dir, FINDINGS).map(Findings::load).unwrap_or_default(),
        tallies: rows(dir, TALLIES).map(Tallies::load).unwrap_or_default(),
    }
}

/// The rows of a file; None when there is none that can be read: then it is put aside.
fn rows<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<Vec<T>> {
    let path = dir.join(name);
    let read = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Form<T>>(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error),
    };
    match read {
        Ok(form) if form.version == VERSION => Some(form.rows),
        Ok(form) => {
            let aside = put_aside(&path);
            tracing::error!(
                event = "evidence_newer",
                file = name,
                version = form.version,
                aside,
                "another segue wrote this evidence; it begins anew"
            );
            None
        }
        Err(error) => {
            let aside = put_aside(&path);
            tracing::error!(event = "evidence_damaged", file = name, %error, aside, "evidence cannot be read and begins anew; no event is touched by that");
            None
        }
    }
}

fn put_aside(path: &Path) -> bool {
    fs::rename(path, path.with_extension("json.damaged")).is_ok()
}

impl Evidence {
    /// Saves what has changed. Blocks on the disk. After a failure everything is saved again with the next one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self) -> io::Result<()> {
        let Some(dir) = self.settings.dir.as_deref() else { return Ok(()) };
        let ledger = {
            let mut ledger = self.ledger();
            std::mem::take(&mut ledger.is_changed).then(|| ledger.save())
        };
        let (findings, tallies) = {
            let mut state = self.state();
            let findings = std::mem::take(&mut state.findings.is_changed).then(|| state.findings.save());
            (findings, std::mem::take(&mut state.tallies.is_changed).then(|| state.tallies.save()))
        };
        let saved = [
            ledger.map_or(Ok(()), |rows| write(dir, LEDGER, rows)),
            findings.map_or(Ok(()), |rows| write(dir, FINDINGS, rows)),
            tallies.map_or(Ok(()), |rows| write(dir, TALLIES, rows)),
        ];
        if saved.iter().any(Result::is_err) {
            self.ledger().is_changed = true;
            let mut state = self.state();
            (state.findings.is_changed, state.tallies.is_changed) = (true, true);
        }
        saved.into_iter().collect()
    }
}

/// Writes a file anew, so that it is the old one or the new one at any time.
fn write<T: Serialize>(dir: &Path, name: &str, rows: Vec<T>) -> io::Result<()> {
    let unfinished = dir.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&serde_json::to_vec(&Form { version: VERSION, rows })?)?;
    file.sync_data()?;
    fs::rename(&unfinished, dir.join(name))?;
    File::open(dir)?.sync_all()
}
