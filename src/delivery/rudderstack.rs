//! The RudderStack leg: events in the dialect, gathered into `/v1/batch` requests (protocol.md T8, T10, T25).
//!
//! Persons are spread over a few slots. A slot has one request out at most, so RudderStack stores a person's events in their
//! order, and gathers the next one meanwhile: at once when idle, fuller under load.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    alone::alone,
    chunks::Chunks,
    figures::Figures,
    leg::{Cargo, Fate, Leg, Opened, Parcel, Refused, Retries, give_up, guarded},
    packer::Packing,
    records::{End, Ends, Records},
    resends::{Resends, Sight},
    settings::Batch,
    tapped::Carried,
};
use crate::{
    dialect::{self, Facts, Translation},
    journal::{Entry, Position, Quarantined},
    model::{Destination, Envelope, Frame, Head, MessagePrint, Origin, Outcome, Reading, WallTime, json::Raw},
    routing::Person,
};

/// A source's events on their way to RudderStack.
#[derive(Debug)]
pub(super) struct RudderStackLeg {
    slots: Vec<Slot>,
    /// The slot that is looked at first, so that all get their turn.
    turn: usize,
    records: Records,
    held_bytes: usize,
    batch: Batch,
    /// What a rate limit makes of it, in events; None: nothing.
    events_max: Option<usize>,
    dialect: dialect::Settings,
    packing: Packing,
    /// None: resends are sent like anything else.
    resends: Option<Resends>,
    figures: Arc<Figures>,
}

/// Some persons' events.
#[derive(Debug, Default)]
struct Slot {
    gathering: VecDeque<Piece>,
    gathering_bytes: usize,
    chunks: Chunks<Piece>,
    state: SlotState,
    /// When the slot may send what it gathers, unless that is much.
    gather_until: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
enum SlotState {
    #[default]
    Idle,
    Out,
    /// The last attempt failed; the next one not before that moment.
    Waiting(Instant),
}

/// One translated event.
#[derive(Debug)]
struct Piece {
    record: usize,
    index: u32,
    json: Vec<u8>,
}

/// Slots of one lane.
const SLOTS_MAX: usize = 8;
/// How long a slot that has just sent something gathers before it sends again: nothing beside the way to the data plane, and
/// several events a request at a few hundred events per second.
const GATHER: Duration = Duration::from_millis(25);
/// So many events are not kept back for more.
const GATHER_EVENTS: usize = 100;
/// What an event costs in memory beside its JSON.
const OVERHEAD_BYTES: usize = 96;

impl RudderStackLeg {
    /// A leg with `slots_max` requests in flight at most.
    pub(super) fn new(slots_max: usize, batch: Batch, dialect: dialect::Settings, packing: Packing, figures: Arc<Figures>) -> Self {
        let slots = (0..slots_max.clamp(1, SLOTS_MAX)).map(|_| Slot::default()).collect();
        Self {
            slots,
            turn: 0,
            records: Records::default(),
            held_bytes: 0,
            batch,
            events_max: None,
            dialect,
            packing,
            resends: None,
            figures,
        }
    }

    /// The leg, made to send each messageId once.
    pub(super) fn once(self, resends: Option<Resends>) -> Self {
        Self { resends, ..self }
    }

    /// Translates the events of a record and puts each into its person's slot.
    fn spread(&mut self, opened: &Opened, items: &[Raw<'_>], frame: Frame<'_>, entry: &Entry, now: WallTime, ends: &mut Ends) {
        let envelope = &opened.envelope;
        let selection = envelope.plan.events.of(Destination::RudderStack);
        let record = self.records.open(entry, Carried::whole(envelope));
        let mut found = 0;
        for (index, item) in (0_u32..).zip(items) {
            let at = index as usize;
            if !selection.contains(at) || found == entry.planned {
                continue;
            }
            found += 1;
            let translated = guarded(|| {
                let facts = Facts::of(envelope, at, frame);
                let made = dialect::translate(*item, &facts, &self.dialect).map_err(|refusal| refusal.reason().to_owned())?;
                Ok((made, person_of(envelope, *item, at)))
            });
            let message = translated.as_ref().map_or_else(|_| print_of(envelope, *item, at), |(made, _)| made.message);
            // What an operator has sent again was seen before, of course.
            let is_repeated = entry.is_redriven() || matches!(envelope.origin, Origin::Replay(_));
            let resends = self.resends.as_mut().filter(|_| !is_repeated);
            match resends.map_or(Sight::New, |resends| resends.look(message, entry.position, (record, index))) {
                Sight::New => {}
                Sight::Again => {
                    self.end_unsent(record, index, End::Deduplicated, ends);
                    continue;
                }
                Sight::Waits => continue,
            }
            match translated {
                Ok((Translation { json, rules, .. }, person)) => {
                    self.figures.count_rules(rules);
                    self.held_bytes += json.len() + OVERHEAD_BYTES;
                    self.slot_of(person).gather(Piece { record, index, json });
                }
                Err(reason) => {
                    let refused = Refused::unsent(reason, now);
                    let event = Bytes::copy_from_slice(item.text().as_bytes());
                    let alone = alone(envelope, &opened.inflated, items, at, Destination::RudderStack);
                    ends.quarantined.push_back(refused.event(entry.position, index, event, alone));
                    self.end_unsent(record, index, End::Quarantined, ends);
                }
            }
        }
        if found < entry.planned {
            let refused = Refused::unsent("the record holds fewer events than its plan".to_owned(), now);
            let item = refused.event(entry.position, u32::MAX, opened.inflated.clone(), entry.payload.clone());
            ends.quarantined.push_back(Quarantined { events: entry.planned - found, ..item });
            self.records.end(record, End::Quarantined, entry.planned - found, ends);
        }
    }

    fn slot_of(&mut self, person: Person) -> &mut Slot {
        let at = person.0 % self.slots.len() as u64;
        &mut self.slots[usize::try_from(at).unwrap_or(0)]
    }

    /// How large a request may be now.
    fn batch(&self) -> Batch {
        let events_max = self.events_max.map_or(self.batch.events_max, |events_max| self.batch.events_max.min(events_max)).max(1);
        Batch { events_max, ..self.batch }
    }

    /// So many events are not kept back for more.
    fn enough(&self) -> usize {
        self.batch().events_max.min(GATHER_EVENTS)
    }

    /// Ends an event that was never sent.
    fn end_unsent(&mut self, record: usize, index: u32, end: End, ends: &mut Ends) {
        if let Some(carried) = self.records.carried(record, index) {
            let outcome = if end == End::Deduplicated { Outcome::Deduplicated } else { Outcome::Quarantined };
            ends.unsent.push(carried.unsent(Destination::RudderStack, outcome));
        }
        self.records.end(record, end, 1, ends);
    }

    fn end(&mut self, piece: &Piece, end: End, ends: &mut Ends) {
        self.held_bytes -= piece.json.len() + OVERHEAD_BYTES;
        self.records.end(piece.record, end, 1, ends);
    }

    fn refuse(&mut self, pieces: Vec<Piece>, refused: &Refused, ends: &mut Ends) {
        for mut piece in pieces {
            let position = self.records.position(piece.record);
            self.held_bytes -= piece.json.len();
            let event = Bytes::from(std::mem::take(&mut piece.json));
            let alone = alone_again(&self.records.payload(piece.record), piece.index);
            ends.quarantined.push_back(refused.event(position, piece.index, event, alone));
            self.end(&piece, End::Quarantined, ends);
        }
    }
}

/// The envelope of one event of a record that was read before.
fn alone_again(payload: &Bytes, index: u32) -> Bytes {
    let entry = Entry { position: Position::default(), payload: payload.clone(), planned: 1 };
    let made = guarded(|| {
        let opened = Opened::of(&entry)?;
        let reading = Reading::of(opened.envelope.endpoint, &opened.inflated).map_err(|error| error.to_string())?;
        Ok(alone(&opened.envelope, &opened.inflated, &reading.items, index as usize, Destination::RudderStack))
    });
    // It was read before, so it can be read now; should it not, the whole record stands for the event.
    made.unwrap_or_else(|_| payload.clone())
}

/// Whose event it is: as the outline says, or read again.
fn person_of(envelope: &Envelope, item: Raw<'_>, index: usize) -> Person {
    if let Some(event) = envelope.outline.as_ref().and_then(|outline| outline.events.get(index)) {
        return Person(event.person);
    }
    let head = Head::of(item, envelope.endpoint);
    Person::of(head.anonymous_id.as_deref(), head.user_id.as_deref(), &head.message_id(envelope.id, index))
}

/// The print of an event that has no copy.
fn print_of(envelope: &Envelope, item: Raw<'_>, index: usize) -> MessagePrint {
    MessagePrint::of(&Head::of(item, envelope.endpoint).message_id(envelope.id, index))
}

impl Leg for RudderStackLeg {
    fn take_in(&mut self, entry: &Entry, now: WallTime, ends: &mut Ends) {
        let opened = match guarded(|| Opened::of(entry)) {
            Ok(opened) => opened,
            Err(reason) => return give_up(entry, &Refused::unsent(reason, now), ends),
        };
        if let Some((items, frame)) = opened.envelope.outline.as_ref().and_then(|outline| outline.cut(&opened.inflated)) {
            return self.spread(&opened, &items, frame, entry, now, ends);
        }
        match Reading::of(opened.envelope.endpoint, &opened.inflated) {
            Ok(reading) => self.spread(&opened, &reading.items, reading.frame, entry, now, ends),
            Err(error) => give_up(entry, &Refused::unsent(format!("the record's body cannot be read: {error}"), now), ends),
        }
    }

    fn next_parcel(&mut self, now: Instant, retries: Retries) -> Option<Parcel> {
        let (count, enough, batch) = (self.slots.len(), self.enough(), self.batch());
        let is_due = |at: &usize| self.slots[*at].due(now, enough, retries).is_some_and(|due| due <= now);
        let at = (0..count).map(|step| (self.turn + step) % count).find(is_due)?;
        self.turn = (at + 1) % count;
        let slot = &mut self.slots[at];
        if slot.chunks.is_empty() {
            slot.make_up(batch);
        }
        slot.state = SlotState::Out;
        slot.gather_until = Some(now + GATHER);
        let chunk = slot.chunks.first_mut()?;
        let events = u32::try_from(chunk.pieces.len()).unwrap_or(u32::MAX);
        let (body, encoding) = chunk.body.get_or_insert_with(|| self.packing.pack(write_body(&chunk.pieces))).clone();
        Some(Parcel { ticket: at, events, failures: chunk.failures, cargo: Cargo::Batch { slot: at, body, encoding } })
    }

    fn due(&self, now: Instant, retries: Retries) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.due(now, self.enough(), retries)).min()
    }

    fn bound(&mut self, events_max: Option<usize>) {
        self.events_max = events_max;
    }

    fn owes_retry(&self, now: Instant) -> bool {
        self.slots.iter().any(|slot| matches!(slot.state, SlotState::Waiting(at) if at <= now))
    }

    fn carried(&self, ticket: usize) -> Vec<Carried> {
        let pieces = self.slots[ticket].chunks.first().map(|chunk| &chunk.pieces);
        pieces.into_iter().flatten().filter_map(|piece| self.records.carried(piece.record, piece.index)).collect()
    }

    fn settle(&mut self, ticket: usize, fate: Fate, ends: &mut Ends) {
        let slot = &mut self.slots[ticket];
        slot.state = match fate {
            Fate::Again(at) => SlotState::Waiting(at),
            _ => SlotState::Idle,
        };
        match fate {
            Fate::Unsent => {}
            Fate::Again(_) => {
                if let Some(chunk) = slot.chunks.first_mut() {
                    chunk.failures = chunk.failures.saturating_add(1);
                }
            }
            Fate::Delivered => {
                for piece in slot.chunks.deliver() {
                    self.end(&piece, End::Delivered, ends);
                }
            }
            Fate::Divide(cut, refused) => {
                let alone = slot.chunks.cut(cut).into_iter().collect();
                self.refuse(alone, &refused, ends);
            }
            Fate::Refused(refused) => {
                let pieces = slot.chunks.refuse();
                self.refuse(pieces, &refused, ends);
            }
        }
    }

    fn leave(&mut self, position: Position, ends: &mut Ends) -> Vec<u128> {
        let Some(resends) = &mut self.resends else { return Vec::new() };
        let leaving = resends.leave(position);
        for (record, index) in leaving.waiting {
            self.end_unsent(record, index, End::Deduplicated, ends);
        }
        leaving.prints
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes + self.records.payload_bytes()
    }

    fn records(&self) -> usize {
        self.records.len()
    }
}

impl Slot {
    fn gather(&mut self, piece: Piece) {
        self.gathering_bytes += piece.json.len() + 1;
        self.gathering.push_back(piece);
    }

    /// When the slot has something to send; None: not before something else happens. With `enough` events it gathers no more.
    fn due(&self, now: Instant, enough: usize, retries: Retries) -> Option<Instant> {
        match self.state {
            SlotState::Out => None,
            SlotState::Waiting(_) if retries == Retries::Wait => None,
            SlotState::Waiting(at) => Some(at),
            SlotState::Idle if !self.chunks.is_empty() || self.gathering.len() >= enough => Some(now),
            SlotState::Idle if self.gathering.is_empty() => None,
            SlotState::Idle => Some(self.gather_until.unwrap_or(now)),
        }
    }

    /// Makes a request of what was gathered, as much as fits; one event always does.
    fn make_up(&mut self, batch: Batch) {
        let bytes_max = usize::try_from(batch.bytes_max.0).unwrap_or(usize::MAX);
        let mut bytes = FRAME_BYTES;
        let fits = |piece: &&Piece| {
            bytes += piece.json.len() + 1;
            bytes <= bytes_max
        };
        let count = self.gathering.iter().take(batch.events_max).take_while(fits).count().max(1);
        let pieces: Vec<Piece> = self.gathering.drain(..count.min(self.gathering.len())).collect();
        self.gathering_bytes -= pieces.iter().map(|piece| piece.json.len() + 1).sum::<usize>();
        self.chunks.push(pieces);
    }
}

const OPEN: &[u8] = br#"{"batch":["#;
const CLOSE: &[u8] = b"]}";
const FRAME_BYTES: usize = OPEN.len() + CLOSE.len();

fn write_body(pieces: &[Piece]) -> Vec<u8> {
    let bytes = pieces.iter().map(|piece| piece.json.len() + 1).sum::<usize>() + FRAME_BYTES;
    let mut body = Vec::with_capacity(bytes);
    body.extend_from_slice(OPEN);
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&piece.json);
    }
    body.extend_from_slice(CLOSE);
    body
}
