//! The runs of the model with one promise broken on purpose: they must fail, otherwise they would prove nothing.

use super::{
    model_disk::Lie,
    model_tests::{Broken, LIVES, SOUND, run},
    sabotage::Sabotage,
};

/// Asserts that the model sees this fault within some hundreds of crashes.
fn assert_found(broken: Broken) {
    let found = (1..60).find_map(|seed| run(seed, broken, LIVES).err());
    println!("{broken:?}: {found:?}");
    assert!(found.is_some(), "{broken:?} goes unnoticed: the model proves nothing about it");
}

#[test]
fn the_model_notices_a_disk_that_does_not_sync_files() {
    assert_found(Broken { lie: Lie::NoDataSync, ..SOUND });
}

#[test]
fn the_model_notices_a_disk_that_does_not_sync_its_directory() {
    assert_found(Broken { lie: Lie::NoDirSync, ..SOUND });
}

#[test]
fn the_model_notices_acknowledgement_before_the_sync() {
    assert_found(Broken { sabotage: Sabotage::AckBeforeSync, ..SOUND });
}

#[test]
fn the_model_notices_volumes_freed_before_the_cursor_is_durable() {
    assert_found(Broken { sabotage: Sabotage::FreeBeforeCursor, ..SOUND });
}

#[test]
fn the_model_notices_spills_that_leave_out_what_no_durable_cursor_knows() {
    assert_found(Broken { sabotage: Sabotage::SpillBeforeCursor, ..SOUND });
}

#[test]
fn the_model_notices_volumes_that_go_before_their_spill_is_synced() {
    assert_found(Broken { sabotage: Sabotage::SpillUnsynced, ..SOUND });
}

#[test]
fn the_model_notices_a_failed_sync_that_is_tried_again_on_the_same_file() {
    assert_found(Broken { sabotage: Sabotage::SyncRetried, ..SOUND });
}

#[test]
fn the_model_notices_a_torn_tail_that_is_accepted() {
    assert_found(Broken { sabotage: Sabotage::TornTailAccepted, ..SOUND });
}

#[test]
fn the_model_notices_blocks_of_older_volumes_that_are_accepted() {
    assert_found(Broken { sabotage: Sabotage::StaleBlocksAccepted, ..SOUND });
}
