//! The Segment leg: one request for each envelope, the client's own (design promise 4).

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;

#[cfg(test)]
use super::sabotage::{Sabotage, is_broken};
use super::{
    alone::alone,
    leg::{Cargo, Fate, Leg, Opened, Parcel, Refused, Retries, give_up, guarded},
    order::{Order, Ticket},
    records::{Completed, Ends},
    tapped::Carried,
};
use crate::{
    journal::{Entry, Position, Quarantined, Tally},
    model::{Destination, Head, Reading, WallTime},
    routing::Person,
};

/// A source's envelopes on their way to Segment.
#[derive(Debug, Default)]
pub(super) struct SegmentLeg {
    order: Order<Held>,
    /// Failed requests that wait for their next attempt.
    delayed: BinaryHeap<Reverse<(Instant, Ticket)>>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Held {
    opened: Arc<Opened>,
    position: Position,
    planned: u32,
    failures: u32,
}

impl Held {
    fn completed(&self, tally: Tally) -> Completed {
        let envelope = &self.opened.envelope;
        Completed { position: self.position, tally, stamp: Some((envelope.plan.revision, envelope.received_at)) }
    }
}

impl Leg for SegmentLeg {
    fn take_in(&mut self, entry: &Entry, now: WallTime, ends: &mut Ends) {
        let read = guarded(|| Opened::of(entry).and_then(|opened| Ok((persons(&opened)?, opened))));
        match read {
            Ok((persons, opened)) => {
                self.held_bytes += opened.bytes();
                #[cfg(test)]
                let persons = if is_broken(Sabotage::OrderBroken) { Vec::new() } else { persons };
                #[cfg(test)]
                if is_broken(Sabotage::CompletedEarly) {
                    let tally = Tally { delivered: entry.planned, ..Tally::default() };
                    ends.complete.push(Completed { position: entry.position, tally, stamp: None });
                }
                let held = Held { opened: Arc::new(opened), position: entry.position, planned: entry.planned, failures: 0 };
                self.order.add(held, persons);
            }
            Err(reason) => give_up(entry, &Refused::unsent(reason, now), ends),
        }
    }

    fn next_parcel(&mut self, now: Instant, retries: Retries) -> Option<Parcel> {
        let ticket = if retries == Retries::Go && self.owes_retry(now) {
            self.delayed.pop().map(|Reverse((_, ticket))| ticket)?
        } else {
            self.order.next_ready()?
        };
        let held = self.order.get_mut(ticket)?;
        Some(Parcel { ticket, events: held.planned, failures: held.failures, cargo: Cargo::Envelope(Arc::clone(&held.opened)) })
    }

    fn due(&self, now: Instant, retries: Retries) -> Option<Instant> {
        if self.order.has_ready() {
            return Some(now);
        }
        self.delayed.peek().filter(|_| retries == Retries::Go).map(|Reverse((at, _))| *at)
    }

    fn owes_retry(&self, now: Instant) -> bool {
        self.delayed.peek().is_some_and(|Reverse((at, _))| *at <= now)
    }

    fn carried(&self, ticket: Ticket) -> Vec<Carried> {
        self.order.get(ticket).map(|held| Carried::whole(&held.opened.envelope)).into_iter().collect()
    }

    fn settle(&mut self, ticket: Ticket, fate: Fate, ends: &mut Ends) {
        match fate {
            Fate::Unsent => self.order.put_back(ticket),
            Fate::Again(at) => {
                if let Some(held) = self.order.get_mut(ticket) {
                    held.failures = held.failures.saturating_add(1);
                    self.delayed.push(Reverse((at, ticket)));
                }
            }
            Fate::Delivered => {
                if let Some(held) = self.finish(ticket) {
                    ends.complete.push(held.completed(Tally { delivered: held.planned, ..Tally::default() }));
                }
            }
            // An envelope is the client's own request: it is never divided.
            Fate::Divide(_, refused) | Fate::Refused(refused) => {
                if let Some(held) = self.finish(ticket) {
                    quarantine(&held, &refused, ends);
                }
            }
        }
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn records(&self) -> usize {
        self.order.len()
    }
}

impl SegmentLeg {
    fn finish(&mut self, ticket: Ticket) -> Option<Held> {
        let held = self.order.finish(ticket)?;
        self.held_bytes -= held.opened.bytes();
        Some(held)
    }
}

/// Whose events of an envelope go to Segment.
fn persons(opened: &Opened) -> Result<Vec<Person>, String> {
    let envelope = &opened.envelope;
    let selection = envelope.plan.events.of(Destination::Segment);
    if let Some(outline) = &envelope.outline {
        let chosen = outline.events.iter().enumerate().filter(|(index, _)| selection.contains(*index));
        return Ok(chosen.map(|(_, event)| Person(event.person)).collect());
    }
    let reading = Reading::of(envelope.endpoint, &opened.inflated).map_err(|error| format!("the record's body cannot be read: {error}"))?;
    let chosen = reading.items.iter().enumerate().filter(|(index, _)| selection.contains(*index));
    let person = |(index, item): (usize, &_)| {
        let head = Head::of(*item, envelope.endpoint);
        Person::of(head.anonymous_id.as_deref(), head.user_id.as_deref(), &head.message_id(envelope.id, index))
    };
    Ok(chosen.map(person).collect())
}

/// Puts each of an envelope's events into quarantine.
fn quarantine(held: &Held, refused: &Refused, ends: &mut Ends) {
    let envelope = &held.opened.envelope;
    let selection = envelope.plan.events.of(Destination::Segment);
    if let Ok(reading) = Reading::of(envelope.endpoint, &held.opened.inflated) {
        for (index, item) in (0_u32..).zip(&reading.items).filter(|(index, _)| selection.contains(*index as usize)) {
            let alone = alone(envelope, &held.opened.inflated, &reading.items, index as usize, Destination::Segment);
            let event = Bytes::copy_from_slice(item.text().as_bytes());
            ends.quarantined.push_back(refused.event(held.position, index, event, alone));
        }
    } else {
        let item = refused.event(held.position, 0, held.opened.inflated.clone(), envelope.encode());
        ends.quarantined.push_back(Quarantined { events: held.planned, ..item });
    }
    ends.complete.push(held.completed(Tally { quarantined: held.planned, ..Tally::default() }));
}
