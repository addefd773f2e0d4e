//! The fuzz targets without libFuzzer: each kept input, and random changes of it, through the same bodies. Those of the journal's inside are
//! replayed beside it (`src/journal/trial.rs`). `scripts/fuzz` runs them all in earnest.

#![expect(clippy::expect_used, clippy::panic, reason = "a target that is not satisfied fails by panicking")]

#[path = "fuzz/replay.rs"]
mod replay;
#[path = "fuzz/targets.rs"]
mod targets;

#[test]
fn kept_inputs_and_changes_of_them_satisfy_every_target() {
    let seed = replay::seed();
    for (name, target) in targets::ALL {
        replay::replay(name, *target, seed);
    }
}
