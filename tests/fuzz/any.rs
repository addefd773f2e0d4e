//! One binary for all targets: `SEGUE_FUZZ_TARGET` names the one to run.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[path = "targets.rs"]
mod targets;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    TARGET.get_or_init(chosen)(data);
});

fn chosen() -> fn(&[u8]) {
    let name = std::env::var("SEGUE_FUZZ_TARGET").expect("SEGUE_FUZZ_TARGET names a target");
    let all = targets::ALL.iter().chain(segue::journal::trial::ALL);
    all.copied().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no target is called {name}")).1
}
