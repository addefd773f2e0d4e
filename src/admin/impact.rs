//! What a change of a route means for a source's events, at the pace of the last minute.

use super::{rates::told, server::Hub};
use crate::{
    control::{Flipped, SourceStanding},
    journal::LaneId,
    model::{Destination, Percent, RateLimit},
    routing::Route,
    wire::{Impact, Shift},
};

/// Of a change that was made, or that would be.
pub(super) fn of(hub: &Hub, flipped: &Flipped) -> Impact {
    let paces = hub.live.rates.paces(&hub.journal, &hub.counters);
    let Flipped { before, after } = flipped;
    let received = paces.received(&before.id);
    let shift =
        |share: fn(Route) -> f64| Shift { before: told(received * share(before.route)), after: told(received * share(after.route)) };
    let (segment, rudderstack) = (shift(to_segment), shift(to_rudderstack));
    let lane = LaneId { source: before.id.clone(), destination: Destination::RudderStack };
    let waiting = hub.journal.ledger().into_iter().find(|(id, _)| *id == lane).map_or(0, |(_, ledger)| ledger.pending);
    let mut notes = limits(hub, flipped, [segment, rudderstack]);
    notes.extend(not_undone(before, after));
    if !before.rules.is_empty() {
        notes.push(format!("{} rules stand above the route: what they match keeps its own.", before.rules.len()));
    }
    Impact { received_per_second: told(received), segment, rudderstack, waiting_for_rudderstack: waiting, recent: None, notes }
}

/// The share of a source's events that Segment gets: its own, and those for comparison.
fn to_segment(route: Route) -> f64 {
    let only_rudder = Percent::FULL.hundredths() - route.segment().hundredths();
    f64::from(route.segment().hundredths() + route.verify().hundredths().min(only_rudder)) / 10_000.0
}

fn to_rudderstack(route: Route) -> f64 {
    f64::from(route.rudderstack().hundredths()) / 10_000.0
}

/// Limits that would be hit by what comes more.
fn limits(hub: &Hub, flipped: &Flipped, shifts: [Shift; 2]) -> Vec<String> {
    let limits = hub.switchboard.limits();
    let paces = hub.live.rates.paces(&hub.journal, &hub.counters);
    let mut notes = Vec::new();
    for (destination, shift) in Destination::ALL.into_iter().zip(shifts) {
        let more = shift.after - shift.before;
        let now: f64 = hub.journal.ledger().iter().filter(|(id, _)| id.destination == destination).map(|(id, _)| paces.delivered(id)).sum();
        for limit in limits.iter().filter(|limit| limit.destination == destination) {
            let RateLimit::PerSecond(rate) = limit.limit else { continue };
            let (whose, would_be) = match &limit.source {
                None => ("all sources together", now + more),
                Some(source) if *source == flipped.before.id => ("this source", shift.after),
                Some(_) => continue,
            };
            if more > 0.0 && would_be > f64::from(rate.get()) {
                let (name, would_be) = (name(destination), told(would_be));
                notes.push(format!(
                    "{name} takes at most {rate} a second of {whose}, and about {would_be} would come: the rest waits in the journal."
                ));
            }
        }
    }
    notes
}

fn not_undone(before: &SourceStanding, after: &SourceStanding) -> Vec<String> {
    let mut notes = Vec::new();
    if to_segment(after.route) < to_segment(before.route) {
        notes.push("Segment misses what goes to RudderStack alone from now on; an undo does not bring it there.".to_owned());
    }
    if to_rudderstack(after.route) < to_rudderstack(before.route) {
        notes.push("RudderStack misses what goes to Segment alone from now on; what waits for it is still sent.".to_owned());
    }
    notes
}

const fn name(destination: Destination) -> &'static str {
    match destination {
        Destination::Segment => "Segment",
        Destination::RudderStack => "RudderStack",
    }
}
