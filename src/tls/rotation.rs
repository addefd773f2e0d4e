//! A new authority for an old one, in three steps, so that no app is cut off.
//!
//! [`prepare`] makes the next authority in `next/` while the present one serves; both roots are handed out. [`switch`] puts it
//! in service; the old root is kept as `previous-root.pem` and still handed out. [`finish`] drops that.
//!
//! A switch is four renames, and one of them decides: with its key in its place the next authority serves, for whoever reads
//! the directory takes the certificate that the key was made for, in `next/` too. A crash before or after it leaves a directory that
//! can be served, and a switch that can be asked for again.

use std::{fs, io, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    model::WallTime,
    tls::{
        InitError, Mode, Phase, Role, Root, RotateError, Standing, TlsError,
        authority::{INTERMEDIATE, INTERMEDIATE_KEY, Made, NEXT, PREVIOUS_ROOT, ROOT, make},
        files, leaf,
        served::{self, Content},
        standing,
    },
};

/// Makes the next authority for `names`, None: for the same names as the present one. What is served does not change.
///
/// # Errors
///
/// When a rotation is going on already, when there is no CA, when files cannot be written.
pub fn prepare(dir: &Path, names: Option<&[String]>, now: WallTime) -> Result<Made, RotateError> {
    let standing = Standing::read(dir, now)?;
    match standing.phase {
        Phase::Settled => Ok(stage(dir, names.unwrap_or(&standing.names), now)?),
        Phase::Prepared => Err(RotateError::Prepared { dir: dir.to_owned() }),
        Phase::Halfway => Err(RotateError::Halfway { dir: dir.to_owned() }),
        Phase::Overlap { .. } => Err(RotateError::Unfinished { dir: dir.to_owned() }),
    }
}

/// Puts the prepared authority in service, after it was checked as a client would that trusts nothing but its root, for each of
/// its names. A running listener shows it within five seconds. One that was cut off is brought to its end.
///
/// # Errors
///
/// When nothing is prepared, when what is prepared cannot serve, when a file cannot be moved; what serves then goes on serving.
pub fn switch(dir: &Path, now: WallTime) -> Result<Standing, RotateError> {
    let standing = Standing::read(dir, now)?;
    match standing.phase {
        Phase::Prepared => {
            check(&dir.join(NEXT), now)?;
            keep_root(dir)?;
            promote(dir)?;
        }
        Phase::Halfway => promote(dir)?,
        Phase::Settled | Phase::Overlap { .. } => return Err(RotateError::NothingPrepared { dir: dir.to_owned() }),
    }
    Ok(Standing::read(dir, now)?)
}

/// Drops the previous root, which is returned; None when it had expired. From then on only the root that serves is handed out.
///
/// # Errors
///
/// When the next authority is not in service yet, or not for as long as a running listener takes to show it.
pub fn finish(dir: &Path, now: WallTime) -> Result<Option<Root>, RotateError> {
    let standing = Standing::read(dir, now)?;
    match standing.phase {
        Phase::Overlap { since } => {
            let age_ms = now.millis_since(since);
            if (0..SETTLED_AFTER_MS).contains(&age_ms) {
                return Err(RotateError::TooSoon { wait_s: (SETTLED_AFTER_MS - age_ms).div_euclid(1_000) + 1 });
            }
        }
        Phase::Prepared => return Err(RotateError::NotSwitched { dir: dir.to_owned() }),
        Phase::Halfway => return Err(RotateError::Halfway { dir: dir.to_owned() }),
        Phase::Settled => return Err(RotateError::NothingToFinish { dir: dir.to_owned() }),
    }
    let path = dir.join(PREVIOUS_ROOT);
    files::remove(&path).map_err(|source| InitError::Write { path, source })?;
    Ok(standing.root(Role::Previous).cloned())
}

/// Gives up what is prepared. What is served does not change.
///
/// # Errors
///
/// When nothing is prepared, or it is in service already.
pub fn cancel(dir: &Path, now: WallTime) -> Result<Option<Root>, RotateError> {
    let standing = Standing::read(dir, now)?;
    match standing.phase {
        Phase::Prepared => {}
        Phase::Halfway => return Err(RotateError::Halfway { dir: dir.to_owned() }),
        Phase::Settled | Phase::Overlap { .. } => return Err(RotateError::NothingPrepared { dir: dir.to_owned() }),
    }
    discard(dir, NEXT)?;
    // It is a copy of the root that serves: a switch that was cut off before it began.
    let path = dir.join(PREVIOUS_ROOT);
    files::remove(&path).map_err(|source| InitError::Write { path, source })?;
    Ok(standing.root(Role::Next).cloned())
}

/// A new authority at once, and no overlap: `segue certs init --force`.
pub(super) fn replace(dir: &Path, names: &[String], now: WallTime) -> Result<Made, InitError> {
    // What serves after a switch that was cut off is still in `next`, which is about to be used.
    if standing::phase(dir) == Phase::Halfway {
        promote(dir)?;
    }
    let made = stage(dir, names, now)?;
    promote(dir)?;
    let path = dir.join(PREVIOUS_ROOT);
    files::remove(&path).map_err(|source| InitError::Write { path, source })?;
    Ok(made.moved_to(dir))
}

/// Makes an authority in `next`, whole or not at all.
fn stage(dir: &Path, names: &[String], now: WallTime) -> Result<Made, InitError> {
    discard(dir, STAGED)?;
    let made = make(&dir.join(STAGED), names, now)?;
    discard(dir, NEXT)?;
    let next = dir.join(NEXT);
    files::rename(&dir.join(STAGED), &next).map_err(|source| InitError::Write { path: next.clone(), source })?;
    Ok(made.moved_to(&next))
}

fn discard(dir: &Path, name: &str) -> Result<(), InitError> {
    let path = dir.join(name);
    files::found(fs::remove_dir_all(&path)).map(|_| ()).map_err(|source| InitError::Write { path, source })
}

/// What apps trust today, kept before anything else happens.
fn keep_root(dir: &Path) -> Result<(), InitError> {
    let path = dir.join(PREVIOUS_ROOT);
    fs::read(dir.join(ROOT)).and_then(|root| files::write(&path, &root, 0o644)).map_err(|source| InitError::Write { path, source })
}

/// The renames. The key goes first and decides; what has gone already, before a crash, is passed over.
fn promote(dir: &Path) -> Result<(), InitError> {
    let next = dir.join(NEXT);
    for name in [INTERMEDIATE_KEY, INTERMEDIATE, ROOT] {
        let path = dir.join(name);
        files::found(files::rename(&next.join(name), &path)).map_err(|source| InitError::Write { path, source })?;
    }
    discard(dir, NEXT)
}

fn check(next: &Path, now: WallTime) -> Result<(), RotateError> {
    let unfit = |source| RotateError::Unfit { dir: next.to_owned(), source: Box::new(source) };
    let standing = Standing::read(next, now).map_err(unfit)?;
    let content = Content::read(&Mode::LocalCa { dir: next.to_owned() }).map_err(unfit)?;
    let served = leaf::issue(next, &content, &standing.names, now).map_err(unfit)?;
    let path = next.join(ROOT);
    let root = served::read_file(&path).map_err(unfit)?;
    let anchor = CertificateDer::from_pem_slice(&root).map_err(|_| {
        let source = io::Error::from(io::ErrorKind::InvalidData);
        unfit(TlsError::Read { path: path.clone(), source })
    })?;
    leaf::verify(&served, &anchor, &standing.names, now).map_err(|source| unfit(TlsError::Setup(source)))
}

/// Where an authority is made before it has its name.
const STAGED: &str = "next.new";
/// How long a running listener may go on showing what it showed before: two of its looks.
const SETTLED_AFTER_MS: i64 = 10_000;
