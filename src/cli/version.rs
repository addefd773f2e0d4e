//! `segue version`.

use serde_json::json;

use super::{
    Exit,
    talk::{Form, Talk},
};

/// Prints what this program is.
pub fn version(talk: &Talk) -> anyhow::Result<Exit> {
    let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    match talk.form() {
        Form::Json => talk.json(&json!({ "schema": "segue.version/v1", "version": version, "os": os, "arch": arch, "build": build }))?,
        Form::Text => talk.result(&format!("segue {version} ({arch} {os}, {build})"))?,
    }
    Ok(Exit::Done)
}
