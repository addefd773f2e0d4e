//! The join: events that are on their way to both sides, each until both have said what became of it.
//!
//! An event is known by the print of its messageId within its source. It is followed from its arrival; its answers find it by its
//! envelope, what vendors emit by its messageId. Memory is bounded: when too many are followed at one time, only those whose
//! print ends in a zero bit are, then two, and so on, which is a fair sample, as prints are hashes.

use std::collections::{BTreeSet, HashMap, VecDeque};

use hashbrown::HashTable;

use super::{
    ring::{Ring, hash_of},
    slot::{Emitted, Sent, SideAnswer, Slot},
    words::{Arrival, Twin},
};
use crate::model::{Destination, EnvelopeId, Outcome, PerDestination, Settled, SourceId, WallTime};

/// The bounds of a join.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Events that are followed at one time.
    pub(super) events_max: usize,
    /// How long the second vendor may take to emit, in milliseconds.
    pub(super) wait_ms: i64,
}

/// The events that are followed.
#[derive(Debug)]
pub(super) struct Join {
    bounds: Bounds,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    prints: HashTable<u32>,
    envelopes: HashMap<EnvelopeId, Vec<(u32, u32)>>,
    /// When slots are looked at: the second, and the slot.
    due: BTreeSet<(i64, u32)>,
    /// Those that have not ended at both sides, oldest first; some of them may have ended or gone since.
    open: VecDeque<(u32, u128)>,
    /// How many of them have not.
    open_count: usize,
    /// How many bits of a print must be zero.
    thinning: u32,
    /// Since when it could be one less.
    is_roomy_since: Option<WallTime>,
    over: Ring<Over>,
}

/// What is still known of an event that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Both vendors have emitted it.
    Compared,
    /// Both sides have answered, and no emission was waited for.
    Answered,
    /// One vendor has, and that the other has not is a finding.
    Missing(Destination),
}

/// What a vendor's emission is to the join.
#[derive(Debug)]
pub(super) enum Sight {
    /// Left out, as only some are followed.
    Thinned,
    /// The first of its pair: to be kept.
    First,
    /// The second: to be compared.
    Second(Box<Slot>, Emitted),
    /// The same vendor has emitted it before.
    Repeated,
    /// It was given up, as it had not come in time.
    Late,
}

/// An event of which nothing more is waited for.
#[derive(Debug)]
pub(super) enum Finished {
    /// Both sides have answered.
    Answered(Slot),
    /// Its time is up.
    Expired(Slot),
    /// Not followed any longer, for want of room, or as it was too long on its way.
    Left(Slot),
}

/// Prints of events that are over and still known: 40 bytes each.
const OVER_MAX: usize = 131_072;
/// Events that have not ended at both sides are followed up to this number, the newest of them: a backlog lives on disk, and what
/// is known of it must not grow with it. An older one is not judged by its answers; what vendors emit of it is compared all the same.
const OPEN_MAX: usize = 32_768;

impl Join {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            slots: Vec::new(),
            free: Vec::new(),
            prints: HashTable::new(),
            envelopes: HashMap::new(),
            due: BTreeSet::new(),
            open: VecDeque::new(),
            open_count: 0,
            thinning: 0,
            is_roomy_since: None,
            over: Ring::new(OVER_MAX),
        }
    }

    /// Whether an event of that print is followed.
    pub(super) const fn follows(&self, print: u128) -> bool {
        print.trailing_zeros() >= self.thinning
    }

    /// One event in how many is followed.
    pub(super) const fn one_in(&self) -> u64 {
        1 << self.thinning
    }

    /// How many are followed now.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes in an envelope that is about to be journalled. One that was taken in before, under another revision, is replaced.
    pub(super) fn arrive(&mut self, arrival: &Arrival<'_>, twins: impl IntoIterator<Item = Twin>, finished: &mut Vec<Finished>) {
        self.forget(arrival.envelope);
        let mut places = Vec::new();
        for twin in twins {
            if !self.follows(twin.print) {
                continue;
            }
            let sent = Sent {
                envelope: arrival.envelope,
                index: twin.index,
                revision: arrival.revision,
                predicted: twin.predicted,
                answers: PerDestination::default(),
            };
            // A resend of one that is followed, or was: the first one counts.
            if self.over.get(twin.print).is_some() {
                continue;
            }
            if let Some(at) = self.find(twin.print) {
                match &mut self.slots[at as usize] {
                    Some(slot) if slot.sent.is_none() => slot.sent = Some(sent),
                    _ => continue,
                }
                // It has its time from when both have answered.
                self.not_due(at);
                self.opens(at, twin.print);
                places.push((twin.index, at));
                continue;
            }
            let slot = Slot {
                source: arrival.source.clone(),
                print: twin.print,
                at: arrival.at,
                sent: Some(sent),
                emitted: PerDestination::default(),
                is_compared: false,
                due: None,
            };
            let at = self.insert(slot);
            self.opens(at, twin.print);
            places.push((twin.index, at));
        }
        if !places.is_empty() {
            places.shrink_to_fit();
            self.envelopes.insert(arrival.envelope, places);
        }
        self.close_oldest(finished);
    }

    fn opens(&mut self, at: u32, print: u128) {
        self.open.push_back((at, print));
        self.open_count += 1;
    }

    /// Lets go of the oldest that have not ended at both sides, when there are too many.
    fn close_oldest(&mut self, finished: &mut Vec<Finished>) {
        while self.open_count > OPEN_MAX {
            let Some((at, print)) = self.open.pop_front() else { return };
            if self.is_open(at, print) {
                finished.extend(self.end(at).map(Finished::Left));
            }
        }
        if self.open.len() > 2 * OPEN_MAX {
            let mut open = std::mem::take(&mut self.open);
            open.retain(|(at, print)| self.is_open(*at, *print));
            self.open = open;
        }
    }

    fn is_open(&self, at: u32, print: u128) -> bool {
        let slot = self.slots.get(at as usize).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.print == print && slot.is_open())
    }

    /// An envelope was not journalled after all.
    pub(super) fn forget(&mut self, envelope: EnvelopeId) {
        for (_, at) in self.envelopes.remove(&envelope).unwrap_or_default() {
            match &mut self.slots[at as usize] {
                // A vendor has told of it already.
                Some(slot) if !slot.is_unheard() => {
                    let was_open = slot.is_open();
                    slot.sent = None;
                    self.open_count -= usize::from(was_open);
                }
                _ => _ = self.remove(at),
            }
        }
    }

    /// Takes in how events ended at one side.
    pub(super) fn settle(&mut self, settled: &Settled, now: WallTime, finished: &mut Vec<Finished>, waits: impl Fn(&SourceId) -> bool) {
        if matches!(settled.outcome, Outcome::Retry | Outcome::Parked) {
            return;
        }
        let Some(places) = self.envelopes.get(&settled.envelope) else { return };
        let places: Vec<u32> =
            places.iter().filter(|(index, _)| settled.index.is_none_or(|only| only == *index)).map(|(_, at)| *at).collect();
        let answer = SideAnswer {
            outcome: settled.outcome,
            status: settled.status,
            took_ms: u32::try_from(settled.took.as_millis()).unwrap_or(u32::MAX),
            at: now,
        };
        for at in places {
            self.answer(at, settled.destination, answer, finished, &waits);
        }
    }

    fn answer(&mut self, at: u32, side: Destination, answer: SideAnswer, finished: &mut Vec<Finished>, waits: &impl Fn(&SourceId) -> bool) {
        let Some(slot) = &mut self.slots[at as usize] else { return };
        let Some(sent) = &mut slot.sent else { return };
        if sent.answers.of(side).is_some() {
            return;
        }
        *sent.answers.of_mut(side) = Some(answer);
        if Destination::ALL.iter().any(|side| sent.answers.of(*side).is_none()) {
            return;
        }
        self.open_count -= 1;
        finished.push(Finished::Answered(slot.clone()));
        let (print, is_compared) = (slot.print, slot.is_compared);
        if is_compared {
            self.end(at);
        } else if slot.is_unheard() && !waits(&slot.source) {
            self.end(at);
            self.is_over(print, Over::Answered);
        } else {
            self.look_at(at, answer.at.plus_millis(self.bounds.wait_ms));
        }
    }

    /// Takes in that a vendor has emitted an event.
    pub(super) fn emit(&mut self, source: &SourceId, print: u128, side: Destination, now: WallTime) -> Sight {
        if !self.follows(print) {
            return Sight::Thinned;
        }
        let Some(at) = self.find(print) else { return self.emit_unknown(source, print, side, now) };
        let Some(slot) = &self.slots[at as usize] else { return Sight::First };
        match (slot.emitted.of(side), slot.emitted.of(side.other())) {
            _ if slot.is_compared => Sight::Repeated,
            (Some(_), _) => Sight::Repeated,
            (None, None) => Sight::First,
            (None, Some(first)) => {
                let (slot, first) = (Box::new(slot.clone()), *first);
                self.pair(at);
                Sight::Second(slot, first)
            }
        }
    }

    /// An emission of an event that is not followed, or no more.
    fn emit_unknown(&mut self, source: &SourceId, print: u128, side: Destination, now: WallTime) -> Sight {
        match self.over.get(print) {
            Some(over) if *over == Over::Missing(side) => {
                *over = Over::Compared;
                return Sight::Late;
            }
            Some(Over::Compared | Over::Missing(_)) => return Sight::Repeated,
            Some(Over::Answered) | None => {}
        }
        let emitted = PerDestination::default();
        let at = self.insert(Slot { source: source.clone(), print, at: now, sent: None, emitted, is_compared: false, due: None });
        self.look_at(at, now.plus_millis(self.bounds.wait_ms));
        Sight::First
    }

    /// Both vendors have emitted it: what is left to be waited for is an answer.
    fn pair(&mut self, at: u32) {
        let Some(slot) = &mut self.slots[at as usize] else { return };
        // Its body is the caller's now.
        (slot.is_compared, slot.emitted) = (true, PerDestination::default());
        let (print, is_answered) = (slot.print, slot.sent.as_ref().is_none_or(|sent| sent.ended_at().is_some()));
        self.is_over(print, Over::Compared);
        if is_answered {
            self.end(at);
        }
    }

    fn is_over(&mut self, print: u128, how: Over) {
        self.over.put(print, how);
    }

    /// Where the first emission of a pair was put.
    pub(super) fn keep(&mut self, print: u128, side: Destination, emitted: Emitted) {
        let Some(at) = self.find(print) else { return };
        if let Some(slot) = &mut self.slots[at as usize] {
            *slot.emitted.of_mut(side) = Some(emitted);
        }
    }

    /// Takes up an emission of an earlier run.
    pub(super) fn restore(&mut self, source: &SourceId, print: u128, side: Destination, emitted: Emitted) {
        if matches!(self.emit(source, print, side, emitted.at), Sight::First) {
            self.keep(print, side, emitted);
        }
    }

    /// Gives up what has been waited for long enough.
    pub(super) fn tick(&mut self, now: WallTime, finished: &mut Vec<Finished>) {
        let second = now.as_millis().div_euclid(1_000);
        while let Some((due, at)) = self.due.first().copied().filter(|(due, _)| *due <= second) {
            self.due.remove(&(due, at));
            self.look(at, now, finished);
        }
        self.widen(now);
    }

    fn look(&mut self, at: u32, now: WallTime, finished: &mut Vec<Finished>) {
        let wait_ms = self.bounds.wait_ms;
        let Some(slot) = &mut self.slots[at as usize] else { return };
        slot.due = None;
        match slot.deadline(wait_ms) {
            Some(deadline) if deadline > now => self.look_at(at, deadline),
            Some(_) => finished.extend(self.end(at).map(Finished::Expired)),
            // It has not ended somewhere, and is looked at when it has.
            None => {}
        }
    }

    /// Says that what the other vendor emitted of an event is a finding, as this one has not.
    pub(super) fn miss(&mut self, print: u128, side: Destination) {
        self.is_over(print, Over::Missing(side));
    }

    /// Follows fewer, when there are too many, or when `is_crowded` for another reason.
    pub(super) fn thin(&mut self, is_crowded: bool, finished: &mut Vec<Finished>) {
        if !is_crowded && self.len() <= self.bounds.events_max || self.thinning >= THINNING_MAX {
            return;
        }
        self.thinning += 1;
        self.is_roomy_since = None;
        let left: Vec<u32> = (0_u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.as_ref().is_some_and(|slot| !self.follows(slot.print)))
            .map(|(at, _)| at)
            .collect();
        finished.extend(left.into_iter().filter_map(|at| self.end(at)).map(Finished::Left));
    }

    /// Follows more again, once there has been room for long enough.
    fn widen(&mut self, now: WallTime) {
        let is_roomy = self.thinning > 0 && self.len() < self.bounds.events_max / 4;
        match self.is_roomy_since.filter(|_| is_roomy) {
            None => self.is_roomy_since = is_roomy.then_some(now),
            Some(since) if now.millis_since(since) > self.bounds.wait_ms => {
                self.thinning -= 1;
                self.is_roomy_since = Some(now);
            }
            Some(_) => {}
        }
    }

    /// Gives up everything whose body stands in a volume.
    pub(super) fn drop_volume(&mut self, volume: u32, finished: &mut Vec<Finished>) {
        let stands_there =
            |slot: &Slot| Destination::ALL.iter().any(|side| slot.emitted.of(*side).is_some_and(|emitted| emitted.place.volume == volume));
        let left: Vec<u32> =
            (0_u32..).zip(&self.slots).filter(|(_, slot)| slot.as_ref().is_some_and(stands_there)).map(|(at, _)| at).collect();
        finished.extend(left.into_iter().filter_map(|at| self.end(at)).map(Finished::Left));
    }

    fn find(&self, print: u128) -> Option<u32> {
        let is_it = |at: &u32| self.slots[*at as usize].as_ref().is_some_and(|slot| slot.print == print);
        self.prints.find(hash_of(print), is_it).copied()
    }

    fn insert(&mut self, slot: Slot) -> u32 {
        let print = slot.print;
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[at as usize] = Some(slot);
        let slots = &self.slots;
        let hash = |at: &u32| slots[*at as usize].as_ref().map_or(0, |slot| hash_of(slot.print));
        self.prints.insert_unique(hash_of(print), at, hash);
        at
    }

    fn look_at(&mut self, at: u32, when: WallTime) {
        self.not_due(at);
        let second = when.as_millis().div_euclid(1_000) + 1;
        if let Some(slot) = &mut self.slots[at as usize] {
            slot.due = Some(second);
            self.due.insert((second, at));
        }
    }

    fn not_due(&mut self, at: u32) {
        if let Some(second) = self.slots[at as usize].as_mut().and_then(|slot| slot.due.take()) {
            self.due.remove(&(second, at));
        }
    }

    /// Takes a slot out, and out of its envelope.
    fn end(&mut self, at: u32) -> Option<Slot> {
        let slot = self.remove(at)?;
        if let Some(sent) = &slot.sent
            && let Some(places) = self.envelopes.get_mut(&sent.envelope)
        {
            places.retain(|(index, _)| *index != sent.index);
            if places.is_empty() {
                self.envelopes.remove(&sent.envelope);
            }
        }
        Some(slot)
    }

    fn remove(&mut self, at: u32) -> Option<Slot> {
        self.not_due(at);
        let slot = self.slots[at as usize].take()?;
        self.open_count -= usize::from(slot.is_open());
        if let Ok(entry) = self.prints.find_entry(hash_of(slot.print), |place| *place == at) {
            entry.remove();
        }
        self.free.push(at);
        if self.free.len() == self.slots.len() && self.slots.len() > ROOM_KEPT {
            // What a flood took does not stay.
            (self.slots, self.free, self.prints) = (Vec::new(), Vec::new(), HashTable::new());
            self.envelopes.shrink_to(ROOM_KEPT);
        }
        Some(slot)
    }
}

/// One in a million.
const THINNING_MAX: u32 = 20;
/// Room for so many events is kept when none is followed.
const ROOM_KEPT: usize = 1_024;
