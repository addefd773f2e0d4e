//! Who else can get at the data directory: it holds what clients sent, with their write keys.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::names::Name;
use crate::model::{Custody, Exposure};

/// Something in or around the data directory that is open to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The directory, or the first of the files.
    pub path: PathBuf,
    /// What is wrong with it, a sentence's end.
    pub how: String,
    /// What to do, a sentence.
    pub fix: String,
    /// Whether the journal is opened all the same.
    pub gravity: Gravity,
}

/// Whether an exposed directory is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gravity {
    /// It is not: what segue owns, others must not reach.
    Refused,
    /// It is: somebody else's doing, as of Docker, which mounts volumes 0755, and of Kubernetes, which mounts them 0777 or gives
    /// them to a group (`fsGroup`).
    Tolerated,
}

/// What of the data directory others can get at, for the user that runs this; nothing when it does not exist. It changes nothing.
///
/// # Errors
/// When the directory cannot be read.
pub fn exposed(dir: &Path) -> io::Result<Vec<Exposed>> {
    match File::open(dir) {
        Ok(handle) => exposed_of(&handle, dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// As [`exposed`], for a directory that is open.
pub(super) fn exposed_of(handle: &File, dir: &Path) -> io::Result<Vec<Exposed>> {
    let own = rustix::process::geteuid().as_raw();
    let metadata = handle.metadata()?;
    let place = if is_mount(dir, &metadata) { Place::Mount } else { Place::Within };
    let mut found: Vec<Exposed> = directory(&metadata, place, dir, own).into_iter().collect();
    let shared_by_group = metadata.mode() & SETGID != 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| Name::of(name) == Name::Foreign) {
            continue;
        }
        let file = match fs::symlink_metadata(entry.path()) {
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read?,
        };
        // One is told: what is wrong with one is mostly wrong with all.
        if let Some(fault) = file_fault(&file, shared_by_group, own) {
            found.push(Exposed { fix: fix(fault, dir), how: fault.to_string(), path: entry.path(), gravity: Gravity::Refused });
            break;
        }
    }
    Ok(found)
}

/// Whose doing the directory's mode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the root of a file system: of whoever mounted it.
    Mount,
    /// It was made where it is.
    Within,
}

/// Whether the directory is on another device than the one above it.
fn is_mount(dir: &Path, metadata: &Metadata) -> bool {
    fs::metadata(dir.join("..")).is_ok_and(|above| above.dev() != metadata.dev())
}

fn directory(metadata: &Metadata, place: Place, dir: &Path, own: u32) -> Option<Exposed> {
    let (mode, owner) = (metadata.mode(), metadata.uid());
    let told = |how: String, fix: String, gravity| Some(Exposed { path: dir.to_owned(), how, fix, gravity });
    if owner != own && owner != 0 {
        let fault = Fault::Exposed(Exposure::Foreign(owner));
        return told(fault.to_string(), fix(fault, dir), Gravity::Refused);
    }
    if mode & 0o077 == 0 {
        return None;
    }
    let how = format!("is open to others (mode {:04o})", mode & 0o7777);
    if owner != own || place == Place::Mount {
        let fix = format!("set [journal] dir = \"{}\", which segue makes for itself alone", dir.join("journal").display());
        return told(how, fix, Gravity::Tolerated);
    }
    let given_by_group = mode & SETGID != 0 && !open_to_all(mode);
    let gravity = if given_by_group { Gravity::Tolerated } else { Gravity::Refused };
    told(how, format!("chmod -R go= {}", dir.display()), gravity)
}

/// Whether users that are neither the owner nor in the group have any rights.
const fn open_to_all(mode: u32) -> bool {
    mode.trailing_zeros() < 3
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is a link: whoever put it there chooses what segue writes to.
    Link,
    /// Others can get at it.
    Exposed(Exposure),
}

fn file_fault(metadata: &Metadata, shared_by_group: bool, own: u32) -> Option<Fault> {
    if metadata.is_symlink() {
        return Some(Fault::Link);
    }
    if metadata.uid() != own {
        return Some(Fault::Exposed(Exposure::Foreign(metadata.uid())));
    }
    // Kubernetes gives every file of such a directory to the group again at each mount.
    let mode = if shared_by_group { metadata.mode() & !0o070 } else { metadata.mode() };
    Custody { mode, owner: own }.exposure(own).map(Fault::Exposed)
}

fn fix(fault: Fault, dir: &Path) -> String {
    match fault {
        Fault::Link => "remove the link, or put the file itself there".to_owned(),
        Fault::Exposed(Exposure::Foreign(_)) => format!("chown -R {} {}", rustix::process::geteuid().as_raw(), dir.display()),
        Fault::Exposed(_) => format!("chmod -R go= {}", dir.display()),
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link => f.write_str("is a symbolic link"),
            Self::Exposed(exposure) => exposure.fmt(f),
        }
    }
}

/// New entries get the directory's group: `fsGroup` leaves it on the volumes of a pod.
const SETGID: u32 = 0o2000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_is_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let table = [
            (0o700, None),
            (0o755, Some(Gravity::Refused)),
            (0o701, Some(Gravity::Refused)),
            (0o750, Some(Gravity::Refused)),
            (0o2770, Some(Gravity::Tolerated)),
            (0o2777, Some(Gravity::Refused)),
        ];
        for (mode, want) in table {
            chmod(dir, mode);
            let found = exposed(dir).unwrap();
            assert_eq!(found.first().map(|found| found.gravity), want, "{mode:o}: {found:?}");
            assert!(found.iter().all(|found| found.fix.starts_with("chmod -R go= /")), "{found:?}");
        }
        assert_eq!(exposed(&dir.join("absent")).unwrap(), []);
    }

    #[test]
    fn files_of_ours_are_looked_at_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        chmod(dir, 0o700);
        let (volume, notes) = (dir.join(super::super::names::volume(1)), dir.join("notes.txt"));
        fs::write(&volume, "").unwrap();
        fs::write(&notes, "").unwrap();
        chmod(&notes, 0o666);
        chmod(&volume, 0o600);
        assert_eq!(exposed(dir).unwrap(), []);
        chmod(&volume, 0o640);
        let found = exposed(dir).unwrap();
        assert_eq!((found.len(), &found[0].path, found[0].gravity), (1, &volume, Gravity::Refused));
        assert!(found[0].how.contains("read by its group"), "{found:?}");
        // As Kubernetes leaves them.
        chmod(dir, 0o2770);
        chmod(&volume, 0o660);
        assert!(exposed(dir).unwrap().iter().all(|found| found.gravity == Gravity::Tolerated));
        chmod(dir, 0o700);
        fs::remove_file(&volume).unwrap();
        symlink(&notes, &volume).unwrap();
        assert!(exposed(dir).unwrap()[0].how.contains("symbolic link"));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_and_what_root_mounted_is_not() {
        if !rustix::process::geteuid().is_root() {
            println!("not root: nothing can be given to another user");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::os::unix::fs::chown(dir, Some(1_234), None).unwrap();
        let found = exposed(dir).unwrap();
        assert!(found[0].gravity == Gravity::Refused && found[0].fix.starts_with("chown -R 0 /"), "{found:?}");
        // Seen by that user, a directory that root mounted for a pod.
        std::os::unix::fs::chown(dir, Some(0), None).unwrap();
        chmod(dir, 0o777);
        for (place, user) in [(Place::Within, 1_234), (Place::Mount, 0)] {
            let seen = directory(&fs::metadata(dir).unwrap(), place, dir, user).unwrap();
            assert!(seen.gravity == Gravity::Tolerated && seen.fix.contains("/journal\""), "{seen:?}");
        }
    }
}
