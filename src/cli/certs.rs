//! `segue certs`.

use std::path::PathBuf;

use serde_json::json;

use super::{
    Exit,
    command::{CertsInitFlags, Manner},
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    config::{self, Environment},
    tls::{self, Existing, Mode},
};

/// Makes the local CA and says what to do with it.
pub fn init(manner: &Manner, flags: &CertsInitFlags, talk: &Talk) -> anyhow::Result<Exit> {
    // The configuration cannot be loaded as a whole yet: a TLS listener without certificates is an error of it.
    let configured = match config::tls_section(manner.config(), &Environment::of_process()) {
        Ok(settings) => settings,
        Err(problems) => {
            talk.problems(&problems);
            return Ok(Exit::Config);
        }
    };
    let dir = match (&flags.dir, &configured.mode) {
        (Some(dir), _) | (None, Mode::LocalCa { dir }) => dir.clone(),
        (None, Mode::Files { .. }) => PathBuf::from("certs"),
    };
    let names = if flags.names.is_empty() { configured.names } else { flags.names.clone() };
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
        "Its root key was never stored. Let the app trust it, for example:\n  NODE_EXTRA_CA_CERTS={0}   (Node)\n  REQUESTS_CA_BUNDLE={0}    (Python: replaces the usual roots)\n  SSL_CERT_FILE={0}         (Go, Ruby: replaces the usual roots)",
        made.root.display()
    ));
    Ok(Exit::Done)
}
