//! `segue certs`: the local CA and the trust in it. All but `init` stand in files of their own.

use std::path::PathBuf;

use serde_json::json;

use super::{
    Exit,
    certs_export::export,
    certs_flags::{CertsCommand, CertsInitFlags},
    certs_rotate::rotate,
    certs_status::status,
    certs_trust::{trust, untrust},
    command::Manner,
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    config::{self, Environment},
    tls::{self, Existing, Mode},
};

/// Carries it out.
pub fn certs(manner: &Manner, command: CertsCommand, talk: &Talk) -> anyhow::Result<Exit> {
    match command {
        CertsCommand::Init(flags) => init(manner, &flags, talk),
        CertsCommand::Export(flags) => export(manner, &flags, talk),
        CertsCommand::Trust(flags) => trust(manner, &flags, talk),
        CertsCommand::Untrust(flags) => untrust(manner, &flags, talk),
        CertsCommand::Status(flags) => status(manner, flags, talk),
        CertsCommand::Rotate(flags) => rotate(manner, &flags, talk),
    }
}

/// Makes the local CA and says what to do with it.
fn init(manner: &Manner, flags: &CertsInitFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let place = match Place::find(manner, flags.dir.clone(), talk) {
        Ok(place) => place,
        Err(exit) => return Ok(exit),
    };
    let dir = match place.mode {
        Mode::LocalCa { dir } => dir,
        Mode::Files { .. } => PathBuf::from("certs"),
    };
    let names = if flags.names.is_empty() { place.names } else { flags.names.clone() };
    let existing = if flags.force { Existing::Replace } else { Existing::Refuse };
    let made = tls::init(&dir, &names, existing, Clock::system().now())?;
    match talk.form() {
        Form::Json => talk.json(&json!({
            "schema": "segue.certs-init/v1",
            "root": made.root.display().to_string(),
            "intermediate": made.intermediate.display().to_string(),
            "subject": made.subject,
            "fingerprint": made.fingerprint,
            "names": made.names,
            "expires_at": made.expires_at.to_string(),
        }))?,
        Form::Text => talk.result(&format!(
            "{}\n  subject      {}\n  SHA-256      {}\n  names        {}\n  expires      {}",
            made.root.display(),
            made.subject,
            made.fingerprint,
            made.names.join(", "),
            made.expires_at
        ))?,
    }
    talk.note(&format!(
        "Its root key was never stored. Let an app trust it: segue certs export --dir {} --for node (or python, go, ruby, php, java, curl, debian, alpine, browser, k8s)",
        dir.display()
    ));
    Ok(Exit::Done)
}

/// Which certificates a command is about.
pub(super) struct Place {
    /// Where they are.
    pub(super) mode: Mode,
    /// The names of [tls].
    pub(super) names: Vec<String>,
    /// Whether a configuration says so, or nobody does and it is the default.
    pub(super) origin: Origin,
}

/// Where a [`Place`] was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From a configuration.
    Configured,
    /// From a flag that names another directory than the configuration, or from nobody.
    Named,
}

impl Place {
    /// Reads [tls] alone: the configuration cannot be loaded as a whole yet where a TLS listener has no certificates.
    pub(super) fn find(manner: &Manner, dir: Option<PathBuf>, talk: &Talk) -> Result<Self, Exit> {
        let environment = Environment::of_process();
        let configured = config::tls_section(manner.config(), &environment).map_err(|problems| {
            talk.problems(&problems);
            Exit::Config
        })?;
        let is_there = config::find(manner.config(), &environment).is_some();
        let mode = dir.map_or_else(|| configured.mode.clone(), |dir| Mode::LocalCa { dir });
        let origin = if is_there && mode == configured.mode { Origin::Configured } else { Origin::Named };
        Ok(Self { mode, names: configured.names, origin })
    }

    /// The directory of the local CA; a word about it where the user's own certificates are served.
    pub(super) fn authority(&self, talk: &Talk) -> Result<PathBuf, Exit> {
        match &self.mode {
            Mode::LocalCa { dir } => Ok(dir.clone()),
            Mode::Files { cert, .. } => {
                talk.error(&anyhow::anyhow!(
                    "[tls] has mode = \"files\": {} is your own, and so is the trust in it\n  Nothing was changed.\n  Of a local CA elsewhere: --dir DIR",
                    cert.display()
                ));
                Err(Exit::Failed)
            }
        }
    }
}
