//! `segue certs rotate`: the next local CA for the present one, in three steps, so that no app is cut off.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    Exit,
    attach::unconfirmed,
    certs::{Origin, Place},
    certs_export::root,
    certs_flags::{CertsRotateFlags, Step},
    command::Manner,
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    tls::{self, Phase, RotateError, Standing},
};

/// Takes one step, or says what it would do.
pub fn rotate(manner: &Manner, flags: &CertsRotateFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let place = match Place::find(manner, flags.dir.clone(), talk) {
        Ok(place) => place,
        Err(exit) => return Ok(exit),
    };
    let dir = match place.authority(talk) {
        Ok(dir) => dir,
        Err(exit) => return Ok(exit),
    };
    let now = Clock::system().now();
    let standing = Standing::read(&dir, now)?;
    let names = names(flags, &place, &standing);
    if let Some(left_out) = left_out(flags, &place, &names) {
        talk.error(&anyhow::anyhow!(
            "the next authority would not be for {left_out}, which [tls] names: it could not be served\n  Nothing was changed.\n  Add --name {left_out}, or take it out of [tls] names first"
        ));
        return Ok(Exit::Usage);
    }
    if let Some(refusal) = refusal(flags.step(), standing.phase, &dir) {
        return Err(refusal.into());
    }
    if flags.dry_run {
        let would = would(flags.step(), &names);
        match talk.form() {
            Form::Json => talk.json(&json!({ "schema": "segue.certs-rotate/v1", "dry_run": true, "would": would }))?,
            Form::Text => talk.result(&format!("{would} Nothing was changed."))?,
        }
        return Ok(Exit::Done);
    }
    if let Some(question) = question(flags.step())
        && let Some(exit) = unconfirmed(question, flags.yes, talk)?
    {
        return Ok(exit);
    }
    let dropped = match flags.step() {
        Step::Prepare => tls::prepare(&dir, Some(&names), now).map(|_| None)?,
        Step::Switch => tls::switch(&dir, now).map(|_| None)?,
        Step::Finish => tls::finish(&dir, now)?,
        Step::Cancel => tls::cancel(&dir, now)?,
    };
    let standing = Standing::read(&dir, now)?;
    match talk.form() {
        Form::Json => talk.json(&json!({
            "schema": "segue.certs-rotate/v1",
            "dir": dir.display().to_string(),
            "phase": standing.phase.word(),
            "names": standing.names,
            "roots": standing.roots.iter().map(root).collect::<Vec<_>>(),
            "dropped": dropped.as_ref().map_or(Value::Null, root),
        }))?,
        Form::Text => talk.result(&done(flags.step(), &standing, &names))?,
    }
    if let (Step::Finish, Some(dropped)) = (flags.step(), dropped) {
        talk.note(&format!(
            "Where `segue certs trust` put the old root into a store, take it out: segue certs untrust --fingerprint {}",
            dropped.short()
        ));
    }
    Ok(Exit::Done)
}

/// The names of the next authority: as asked, else as configured, else as they are.
fn names(flags: &CertsRotateFlags, place: &Place, standing: &Standing) -> Vec<String> {
    match place.origin {
        _ if !flags.names.is_empty() => flags.names.clone(),
        Origin::Configured => place.names.clone(),
        Origin::Named => standing.names.clone(),
    }
}

/// A name that the running sidecar serves by its configuration and the next authority could not.
fn left_out<'a>(flags: &CertsRotateFlags, place: &'a Place, names: &[String]) -> Option<&'a String> {
    let is_asked = place.origin == Origin::Configured && flags.step() == Step::Prepare;
    place.names.iter().filter(|_| is_asked).find(|name| *name != "localhost" && !names.iter().any(|given| given.eq_ignore_ascii_case(name)))
}

/// What speaks against the step at once, before anybody is asked. The step itself looks again.
fn refusal(step: Step, phase: Phase, dir: &Path) -> Option<RotateError> {
    let dir = dir.to_owned();
    match (step, phase) {
        (Step::Prepare, Phase::Settled)
        | (Step::Switch, Phase::Prepared | Phase::Halfway)
        | (Step::Finish, Phase::Overlap { .. })
        | (Step::Cancel, Phase::Prepared) => None,
        (Step::Prepare, Phase::Prepared) => Some(RotateError::Prepared { dir }),
        (Step::Prepare, Phase::Overlap { .. }) => Some(RotateError::Unfinished { dir }),
        (Step::Prepare | Step::Finish | Step::Cancel, Phase::Halfway) => Some(RotateError::Halfway { dir }),
        (Step::Switch | Step::Cancel, Phase::Settled | Phase::Overlap { .. }) => Some(RotateError::NothingPrepared { dir }),
        (Step::Finish, Phase::Prepared) => Some(RotateError::NotSwitched { dir }),
        (Step::Finish, Phase::Settled) => Some(RotateError::NothingToFinish { dir }),
    }
}

/// What is asked before a step that apps can notice.
const fn question(step: Step) -> Option<&'static str> {
    match step {
        Step::Switch => Some(
            "Put the next authority in service? Every app that was not started again with `segue certs export` since it was prepared will refuse segue.",
        ),
        Step::Finish => Some("Hand out the old root no longer?"),
        Step::Prepare | Step::Cancel => None,
    }
}

fn would(step: Step, names: &[String]) -> String {
    match step {
        Step::Prepare => format!("The next authority would be made for {}; the present one would go on serving.", names.join(", ")),
        Step::Switch => "The next authority would be put in service, and both roots still handed out.".to_owned(),
        Step::Finish => "The old root would be handed out no longer.".to_owned(),
        Step::Cancel => "The next authority would be given up; the present one serves.".to_owned(),
    }
}

fn done(step: Step, standing: &Standing, names: &[String]) -> String {
    let serving = &standing.serving().fingerprint;
    match step {
        Step::Prepare => format!(
            "The next authority is prepared, for {}; the present one goes on serving.\n  Now give every app both roots (segue certs export --for ...) and start it again.\n  When all have them: segue certs rotate --switch",
            names.join(", ")
        ),
        Step::Switch => format!(
            "The next authority serves: SHA-256 {serving}. A running segue shows it within 5 seconds, by itself.\n  The old root is still handed out.\n  When every app is well: segue certs rotate --finish"
        ),
        Step::Finish => format!(
            "The rotation is finished. Only the root that serves is handed out: SHA-256 {serving}\n  Exports made before still hold the old one, which does no harm: it signed nothing that serves, and its key was never stored."
        ),
        Step::Cancel => format!("The next authority is given up. The present one serves on: SHA-256 {serving}"),
    }
}
