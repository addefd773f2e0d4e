//! `segue certs export`: what an app needs to trust the local CA, and the lines that make it so.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    Exit,
    certs::Place,
    certs_flags::CertsExportFlags,
    certs_lines::{Recipe, parts, quoted},
    command::Manner,
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    tls::{self, Part, Phase, Root, Standing, Usual},
};

/// Writes it and prints the lines on stdout, fit for an env file or a shell.
pub fn export(manner: &Manner, flags: &CertsExportFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let dir = match Place::find(manner, flags.dir.clone(), talk).and_then(|place| place.authority(talk)) {
        Ok(dir) => dir,
        Err(exit) => return Ok(exit),
    };
    let now = Clock::system().now();
    let standing = Standing::read(&dir, now)?;
    let parts = parts(flags.runtime);
    let usual = if parts.iter().copied().any(Part::needs_usual) { Some(Usual::read(flags.roots.as_deref())?) } else { None };
    let out = flags.out.clone().unwrap_or_else(|| dir.join("export"));
    let exported = tls::export(&standing, usual.as_ref(), &out, parts, now)?;
    let recipe = Recipe::of(flags.runtime, &exported, &standing);
    match talk.form() {
        Form::Json => talk.json(&json!({
            "schema": "segue.certs-export/v1",
            "for": recipe.name,
            "phase": standing.phase.word(),
            "roots": standing.roots.iter().map(root).collect::<Vec<_>>(),
            "usual_roots": usual.as_ref().map(|usual| usual.path.display().to_string()),
            "files": exported.written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "env": recipe.env.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect::<Map<_, _>>(),
            "lines": recipe.lines(),
        }))?,
        Form::Text => talk.result(&recipe.lines().join("\n"))?,
    }
    talk.note(&told(&standing, &exported.written));
    if let Some(closed) = closed_above(&out) {
        talk.note(&format!(
            "Only its owner can enter {}. For apps of other users: --out DIR, somewhere they can read.",
            quoted(&closed.display().to_string())
        ));
    }
    Ok(Exit::Done)
}

/// A root as JSON.
pub(super) fn root(root: &Root) -> Value {
    json!({
        "role": root.role.word(),
        "subject": root.subject,
        "fingerprint": root.fingerprint,
        "made_at": root.made_at.to_string(),
        "expires_at": root.expires_at.to_string(),
    })
}

fn told(standing: &Standing, written: &[std::path::PathBuf]) -> String {
    let files = written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let rotation = match standing.phase {
        Phase::Settled => "",
        Phase::Prepared | Phase::Halfway | Phase::Overlap { .. } => {
            " A rotation is going on, so both roots are in it: start the apps again with it before the next step."
        }
    };
    format!("Wrote {files}; no key is in it. It holds until {}.{rotation}", standing.expires_at())
}

/// The directory above that other users cannot enter.
fn closed_above(out: &Path) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;

    let out = out.canonicalize().ok()?;
    let is_closed = |dir: &Path| dir.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0);
    out.ancestors().find(|dir| is_closed(dir)).map(Path::to_owned)
}
