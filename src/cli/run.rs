//! The commands that start something: `run`, `demo` and `standin`.

use super::{
    Exit,
    command::{DemoFlags, StandinFlags, Vendor},
    talk::Talk,
};
use crate::config::Loaded;

/// Runs the sidecar until it is asked to stop.
pub fn sidecar(loaded: Loaded, talk: &Talk) -> anyhow::Result<Exit> {
    let _ = (loaded, talk);
    anyhow::bail!("the sidecar is not wired to the command line yet")
}

/// Runs the demo.
pub fn demo(flags: &DemoFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let _ = (flags, talk);
    anyhow::bail!("the demo is not wired to the command line yet")
}

/// Runs a stand-in until it is asked to stop.
pub fn standin(vendor: Vendor, flags: &StandinFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let _ = (vendor, flags, talk);
    anyhow::bail!("the stand-ins are not wired to the command line yet")
}
