//! A vendor is away for 72 hours, and comes back (reliability.md U12, U14, K4, H17).

use super::{
    script::{Place, Script},
    world::run,
};

const HOUR_S: i64 = 3_600;

/// Everything that the oracle asks of any run holds here too: nothing lost, nothing expired, each person in order, never above the
/// limit by more than 5 %, sums and memory as they should be at every look.
fn three_days_without(away: Place) {
    let begun = std::time::Instant::now();
    let report = run(Script::outage(7, away));
    let (met, other) = (report.met, 1 - away as usize);
    println!("72 hours without {}, and the drain, in {:?}: {met:?}", away.label(), begun.elapsed());
    assert!(report.faults.is_empty(), "{}\n{:#?}", report.trace.tail(), report.faults);
    assert!(met.taken > 10_000 && met.taken == met.events, "{met:?}: the app noticed");
    assert!(met.late_s_most[away as usize] > 71 * HOUR_S, "{met:?}: it was not away");
    assert!(met.late_s_most[other] < 3 * 60, "{met:?}: the other vendor waited too");
    assert!(met.off_ms_most <= 1_010, "{met:?}: an event was moved in time");
    assert!(met.refused < 72 * 3_600 / 3, "{met:?}: it was asked too often");
}

#[test]
fn rudderstack_is_away_for_three_days() {
    three_days_without(Place::RudderStack);
}

#[test]
fn segment_is_away_for_three_days() {
    three_days_without(Place::Segment);
}
