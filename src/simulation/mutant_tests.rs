//! The simulation with one promise broken on purpose: some seed must turn red, otherwise the green ones would prove nothing.

use super::{
    script::{Broken, Script},
    world::run,
};
use crate::{delivery, journal::Lie};

/// So many seeds have to be enough.
const SEEDS_MAX: u64 = 60;

/// Asserts that some seed turns red, and for that reason.
fn assert_found(broken: Broken, reason: &str) {
    let found = (1..=SEEDS_MAX).find_map(|seed| {
        let report = run(Script { broken, ..Script::of(seed) });
        let fault = report.faults.into_iter().find(|fault| fault.contains(reason))?;
        Some((seed, fault.chars().take(160).collect::<String>()))
    });
    println!("{broken:?}: {found:?}");
    assert!(found.is_some(), "{broken:?} goes unnoticed by {SEEDS_MAX} seeds: they prove nothing about it");
}

#[test]
fn an_answer_before_the_sync_is_noticed() {
    assert_found(Broken::Disk(Lie::NoDataSync), "never came");
}

#[test]
fn a_directory_that_is_not_synced_is_noticed() {
    assert_found(Broken::Disk(Lie::NoDirSync), "never came");
}

#[test]
fn a_retry_that_is_dropped_after_a_reset_is_noticed() {
    assert_found(Broken::Delivery(delivery::Sabotage::RetryDropped), "never came");
}

#[test]
fn a_sent_at_that_is_not_shifted_is_noticed() {
    assert_found(Broken::Delivery(delivery::Sabotage::SentAtKept), "ms off");
}

#[test]
fn a_person_out_of_order_is_noticed() {
    assert_found(Broken::Delivery(delivery::Sabotage::OrderBroken), "came at place");
}

#[test]
fn a_cursor_before_its_completion_is_noticed() {
    assert_found(Broken::Delivery(delivery::Sabotage::CompletedEarly), "never came");
}

#[test]
fn a_limit_that_is_ignored_is_noticed() {
    assert_found(Broken::Delivery(delivery::Sabotage::LimitIgnored), "in one second");
}
