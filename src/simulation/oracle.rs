//! What must be true at the end of a run: the invariants of reliability.md 2.0.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    client::BATCH_EVENTS_MAX,
    facts::{Fact, Told, name_of},
    script::{Kind, Place},
    world::Ending,
};
use crate::{
    model::{RateLimit, WallTime},
    standin::{Fault, TakenEvent, Verdict},
};

/// How far the time that a vendor computes may be off: a second by which a delivery may be late unnoticed, and the latencies.
const TIME_OFF_MS_MAX: i64 = 1_300;
/// An incident may show so much later: requests wait so long for their answers.
const AFTERMATH_MS: i64 = 25_000;

/// Everything that is wrong; empty when all invariants hold.
pub(super) fn judge(ending: &Ending) -> Vec<String> {
    let mut faults = ending.account.faults.clone();
    for vendor in Place::VENDORS {
        let seen = Seen::at(vendor, ending, &mut faults);
        nothing_lost(&seen, ending, &mut faults);
        duplicates_explained(&seen, ending, &mut faults);
        in_order(&seen, ending, &mut faults);
        within_the_limit(vendor, ending, &mut faults);
    }
    sums_are_true(ending, &mut faults);
    faults
}

/// What one vendor took of the clients' events, in its order.
struct Seen<'a> {
    vendor: Place,
    /// By the event's name: where in the order, and when.
    sightings: HashMap<&'a str, Vec<(usize, WallTime)>>,
}

impl<'a> Seen<'a> {
    fn at(vendor: Place, ending: &'a Ending, faults: &mut Vec<String>) -> Self {
        let mut sightings: HashMap<&str, Vec<(usize, WallTime)>> = HashMap::new();
        for (place, event) in ending.taken[vendor as usize].iter().enumerate() {
            let json = event.json.as_deref().unwrap_or_default();
            let Some((name, fact)) = name_of(json).and_then(|name| Some((name, ending.facts.get(name)?))) else {
                faults.push(format!("{}: nobody sent {json}", vendor.label()));
                continue;
            };
            faults.extend(misread(vendor, event, fact, ending).map(|why| format!("{}: {name}: {why}", vendor.label())));
            sightings.entry(name).or_default().push((place, event.at));
        }
        Self { vendor, sightings }
    }
}

/// What is wrong with one event as a vendor took it (I2, I3, I6, times).
fn misread(vendor: Place, event: &TakenEvent, fact: &Fact, ending: &Ending) -> Option<String> {
    if event.verdict != Verdict::Accepted {
        return Some(format!("dropped by the vendor: {:?}", event.verdict));
    }
    if *event.source != *ending.keys[vendor as usize][fact.source] {
        return Some(format!("came under the key {}", event.source));
    }
    // Relayed live, the request reaches Segment whole, whatever the plan of its events.
    let is_relayed = vendor == Place::Segment && (ending.account.relayed[fact.source] > 0 || ending.account.relay_failures > 0);
    if !fact.planned[vendor as usize] && !is_relayed {
        return Some("its plan does not have this vendor".to_owned());
    }
    if fact.message_id.as_deref().is_some_and(|id| *id != *event.message_id) || event.message_id.is_empty() {
        return Some(format!("came with the messageId {}", event.message_id));
    }
    let (sent, got) = (parse(&fact.json), parse(event.json.as_deref().unwrap_or_default()));
    let same = match vendor {
        Place::Segment => as_segment_should_see(sent.clone()) == as_segment_should_see(got),
        Place::RudderStack | Place::Clients => {
            // The numbers as they were written: a parsed one would have lost its last digits at both sides alike.
            let digits = event.json.as_deref().unwrap_or_default().contains("12345678901234567890");
            let traits = if got["traits"].is_null() { &got["context"]["traits"] } else { &got["traits"] };
            let same = ["type", "event", "userId", "anonymousId", "properties"].iter().all(|member| sent[*member] == got[*member]);
            digits && same && (sent["traits"].is_null() || sent["traits"] == *traits)
        }
    };
    if !same {
        return Some(format!("was {} and came as {}", fact.json, event.json.as_deref().unwrap_or_default()));
    }
    let times = event.times.as_ref()?;
    let off_ms = times.timestamp.millis_since(fact.happened);
    (ending.times_are_exact && off_ms.abs() > TIME_OFF_MS_MAX).then(|| format!("its timestamp is {off_ms} ms off: {times:?}"))
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}

/// Without what may be added or changed on the way to Segment: the key and sentAt of a single event, a missing messageId, the IP.
fn as_segment_should_see(mut event: Value) -> Value {
    if let Some(members) = event.as_object_mut() {
        for name in ["writeKey", "sentAt", "messageId"] {
            members.remove(name);
        }
        if let Some(context) = members.get_mut("context").and_then(Value::as_object_mut) {
            context.remove("ip");
        }
        if members.get("context").is_some_and(|context| context.as_object().is_some_and(serde_json::Map::is_empty)) {
            members.remove("context");
        }
    }
    event
}

/// I1: what a client was told to be taken has arrived at every destination of its plan, or stands in quarantine.
fn nothing_lost(seen: &Seen<'_>, ending: &Ending, faults: &mut Vec<String>) {
    let vendor = seen.vendor as usize;
    let mut missing: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (name, fact) in ending.facts.iter().filter(|(_, fact)| fact.told == Told::Taken && fact.planned[vendor]) {
        let is_refused = fact.is_poison && seen.vendor == Place::RudderStack && ending.quarantined.contains(name);
        if !is_refused && !seen.sightings.contains_key(name.as_str()) {
            missing.entry(fact.source).or_default().push(name);
        }
    }
    for (source, names) in missing {
        // What the journal could not take while Segment was served live is given up, and counted (promise 2).
        let given_up = if seen.vendor == Place::RudderStack { ending.account.unjournalled[source] } else { 0 };
        if names.len() as u64 > given_up {
            faults.push(format!("{}: {names:?} were taken and never came; {given_up} were given up", seen.vendor.label()));
        }
    }
}

/// I4: an event comes twice only when it was sent twice, or a crash or an answer that got lost explains it.
fn duplicates_explained(seen: &Seen<'_>, ending: &Ending, faults: &mut Vec<String>) {
    for (name, places) in seen.sightings.iter().filter(|(_, places)| places.len() > 1) {
        let fact = &ending.facts[*name];
        let is_explained = |first: WallTime, second: WallTime| {
            ending.unclear.iter().any(|(vendor, from, to)| {
                *vendor == seen.vendor && *from <= second && first.plus_millis(-AFTERMATH_MS) <= to.plus_millis(AFTERMATH_MS)
            })
        };
        if fact.attempts < 2 && !places.windows(2).all(|pair| is_explained(pair[0].1, pair[1].1)) {
            faults.push(format!("{}: {name} came {} times without a reason: {places:?}", seen.vendor.label(), places.len()));
        }
    }
}

/// I5: a person's events come first in the order in which they were made.
fn in_order(seen: &Seen<'_>, ending: &Ending, faults: &mut Vec<String>) {
    if seen.vendor == Place::Segment && ending.account.has_relayed() {
        // Order is declared suspended while requests are relayed (promise 2).
        return;
    }
    let mut last: HashMap<(usize, &str), (usize, u64)> = HashMap::new();
    let mut facts: Vec<(&String, &Fact)> = ending.facts.iter().filter(|(_, fact)| fact.told == Told::Taken).collect();
    facts.sort_by_key(|(_, fact)| fact.order);
    for (name, fact) in facts {
        let Some((place, _)) = seen.sightings.get(name.as_str()).and_then(|places| places.first()) else { continue };
        let before = last.insert((fact.source, &fact.person), (*place, fact.order));
        if let Some((earlier, order)) = before.filter(|(earlier, _)| earlier > place) {
            let who = &fact.person;
            faults.push(format!("{}: {who}: {name} came at place {place}, event {order} at {earlier}", seen.vendor.label()));
        }
    }
}

fn within_the_limit(vendor: Place, ending: &Ending, faults: &mut Vec<String>) {
    let RateLimit::PerSecond(limit) = ending.script.rate_limits[vendor as usize] else { return };
    // Live relays are the clients' own traffic, and are not paced.
    if vendor == Place::Segment && ending.account.has_relayed() {
        return;
    }
    let (most, limit) = (ending.busiest_second[vendor as usize], u64::from(limit.get()));
    // Five in a hundred are for a network that pushes requests together (policy's pacer); a client's request for Segment is never
    // divided, so at these limits one of them at the edge of the second is more than that.
    if most > (limit * 105 / 100).max(limit + BATCH_EVENTS_MAX) {
        faults.push(format!("{}: {most} events in one second, {limit} allowed", vendor.label()));
    }
}

/// I10 at the end: nothing waits, and what the ledger says is what the vendors say.
fn sums_are_true(ending: &Ending, faults: &mut Vec<String>) {
    for (lane, row) in &ending.ledger {
        if row.pending > 0 {
            faults.push(format!("{lane}: {} events still wait: {}", row.pending, ending.standing));
        }
    }
    let listed = ending.quarantined_events;
    let counted: u64 = ending.ledger.iter().map(|(_, row)| row.quarantined).sum();
    if listed != counted {
        faults.push(format!("{counted} events are counted as quarantined, {listed} are there"));
    }
    for name in &ending.quarantined {
        if !ending.facts.get(name).is_some_and(|fact| fact.is_poison) {
            faults.push(format!("{name} is in quarantine, and nothing was wrong with it"));
        }
    }
}

/// At which vendors answers can get lost by that.
pub(super) fn unclear(kind: &Kind) -> &[Place] {
    match kind {
        Kind::Crash(_) => &Place::VENDORS,
        // Everybody's connections are cut for it; the crash at its end may not come any more.
        Kind::Disk(trouble) if trouble.syncs % 2 == 1 => &Place::VENDORS,
        Kind::Cut(place) | Kind::Stall(place) if *place != Place::Clients => std::slice::from_ref(place),
        Kind::Vendor(place, fault, _) if is_taken(fault) => std::slice::from_ref(place),
        _ => &[],
    }
}

/// Whether a vendor takes the events before it fails.
const fn is_taken(fault: &Fault) -> bool {
    !matches!(fault, Fault::Status { .. } | Fault::Redirect { .. } | Fault::Hang | Fault::Close | Fault::Reset)
}

/// Whether times can be right to the second: not when requests lie on the wire, or the machine's clock is wrong.
pub(super) fn spoils_times(kind: &Kind) -> bool {
    matches!(kind, Kind::Stall(_) | Kind::ClockJump(_))
}
