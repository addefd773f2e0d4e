//! A lane's consumer.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};

use super::{
    Entry, Position, QuarantineError, Quarantined, Tally,
    commit::forget_memory,
    lane_state::Handed,
    reader::{Bookmark, Found, Item, Refused, read_on},
    shared::Shared,
    stock::{LaneCore, Stock, Taken, lock},
    words::{LaneId, QuarantineId},
};
use crate::model::{Destination, WallTime};

/// How long to wait when a volume cannot be opened or read.
const READ_FAILED_PAUSE: Duration = Duration::from_secs(1);
/// How long the disk is asked for what it does not read, before it is taken for damage.
const READ_REFUSED_MAX: Duration = Duration::from_mins(1);

/// The consumer of one lane: takes its records in journal order and says how they ended.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    stock: Arc<Stock>,
    destination: Destination,
    generation: u64,
    /// Read from disk and not looked at yet.
    found: VecDeque<Item>,
    /// An entry of the quarantine that is being read, kept in the same way.
    fetching: Option<(QuarantineId, JoinHandle<io::Result<Option<Quarantined>>>)>,
    /// Whose turn it is when there is something in the log and something to be sent again.
    turn: Turn,
    /// A read under way, kept when `next` is dropped in the middle of it.
    reading: Option<JoinHandle<io::Result<Found>>>,
    /// Where it reads on in a spill.
    bookmark: Option<Bookmark>,
    /// Since when reads fail; None: the last one went well.
    refused_since: Option<Instant>,
    /// When it may read again. Kept here, as a consumer that drops [`Lane::next`] and comes again must not shorten the wait.
    rests_until: Option<Instant>,
}

/// What a lane looks at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Log,
    Quarantine,
}

/// What a lane can do now.
#[derive(Debug)]
pub(super) enum Next {
    /// Hand out this record.
    Entry(Entry),
    /// Read from disk, from here on.
    Read(Position),
    /// Send this entry of the quarantine again.
    Redrive(QuarantineId),
    /// Nothing, until its bell rings.
    Wait,
    /// Nothing any more: the lane has a newer consumer.
    Replaced,
}

impl Lane {
    pub(super) fn attach(shared: Arc<Shared>, stock: Arc<Stock>, destination: Destination) -> Self {
        lock(&stock.tail).detach(destination);
        let core = stock.lanes.of(destination);
        let generation = lock(&core.state).attach();
        // The older consumer may sleep on the bell; it must not take what rings for this one.
        core.bell.notify_waiters();
        let id = LaneId { source: stock.source.clone(), destination };
        shared.quarantine.attach(&id);
        core.keeps.store(shared.quarantine.has_unsettled(&id), Ordering::Release);
        core.due.store(true, Ordering::Release);
        let (found, fetching, turn, reading) = (VecDeque::new(), None, Turn::Quarantine, None);
        Self {
            shared,
            stock,
            destination,
            generation,
            found,
            fetching,
            turn,
            reading,
            bookmark: None,
            refused_since: None,
            rests_until: None,
        }
    }

    /// The next record of this lane, in journal order, from the restored cursor; waits when there is none, and when
    /// [`UNSAVED_COMPLETIONS_MAX`](super::UNSAVED_COMPLETIONS_MAX) completions are not durable yet. May be dropped at any await without losing a record.
    /// Waits for ever once the journal is closed.
    pub async fn next(&mut self) -> Entry {
        loop {
            let stock = Arc::clone(&self.stock);
            let rings = stock.lanes.of(self.destination).bell.notified();
            match self.step() {
                Next::Entry(entry) => {
                    self.turn = Turn::Quarantine;
                    return entry;
                }
                Next::Redrive(id) => {
                    if let Some(entry) = self.fetch(id).await {
                        self.turn = Turn::Log;
                        return entry;
                    }
                }
                Next::Wait => rings.await,
                Next::Read(from) => self.read(from).await,
                Next::Replaced => std::future::pending().await,
            }
        }
    }

    /// Reads on without holding up the runtime.
    async fn read(&mut self, from: Position) {
        if let Some(until) = self.rests_until {
            tokio::time::sleep_until(until).await;
            self.rests_until = None;
        }
        let is_hopeless = self.refused_since.is_some_and(|since| since.elapsed() >= READ_REFUSED_MAX);
        let refused = if is_hopeless { Refused::GiveUp } else { Refused::TryAgain };
        let reading = self.reading.get_or_insert_with(|| {
            let (shared, stock, destination) = (Arc::clone(&self.shared), Arc::clone(&self.stock), self.destination);
            let bookmark = self.bookmark.clone();
            self.shared.beside(move || read_on(&shared, &stock, destination, from, bookmark, refused))
        });
        let read = reading.await;
        self.reading = None;
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        let now = Instant::now();
        self.refused_since = read.is_err().then(|| self.refused_since.unwrap_or(now));
        match read {
            Ok(found) if !found.items.is_empty() => {
                self.found.extend(found.items);
                self.bookmark = found.bookmark;
            }
            Ok(_) => self.rests_until = Some(now + READ_FAILED_PAUSE),
            Err(error) => {
                tracing::error!(%error, lane = %self.id(), "a volume cannot be read now; trying again");
                self.rests_until = Some(now + READ_FAILED_PAUSE);
            }
        }
    }

    /// As [`Lane::next`], but only what is to be sent again from the quarantine: what makes room there when it is full.
    pub async fn next_redriven(&mut self) -> Entry {
        loop {
            let stock = Arc::clone(&self.stock);
            let rings = stock.lanes.of(self.destination).bell.notified();
            match self.due() {
                None => rings.await,
                Some(id) => {
                    if let Some(entry) = self.fetch(id).await {
                        return entry;
                    }
                }
            }
        }
    }

    /// Reads an entry of the quarantine without holding up the runtime; None when the lane does not get it.
    async fn fetch(&mut self, id: QuarantineId) -> Option<Entry> {
        let (id, fetching) = self.fetching.get_or_insert_with(|| {
            let shared = Arc::clone(&self.shared);
            (id, self.shared.beside(move || shared.quarantine.read(&shared, id)))
        });
        let (id, read) = (*id, fetching.await);
        self.fetching = None;
        match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(Some(item)) => {
                let planned = self.shared.quarantine.hand_out(id)?;
                Some(Entry { position: Position::of_entry(id), payload: item.envelope, planned })
            }
            Ok(None) => {
                self.shared.quarantine.lose(id);
                None
            }
            Err(error) => {
                tracing::error!(%error, lane = %self.id(), "the quarantine cannot be read now; trying again");
                tokio::time::sleep(READ_FAILED_PAUSE).await;
                None
            }
        }
    }

    /// Moves on as far as memory goes.
    pub(super) fn step(&mut self) -> Next {
        if self.turn == Turn::Quarantine
            && let Some(id) = self.due()
        {
            return Next::Redrive(id);
        }
        match self.step_in_log() {
            Next::Wait => self.due().map_or(Next::Wait, Next::Redrive),
            next => next,
        }
    }

    /// What is being fetched already, else the next entry to be sent again.
    fn due(&self) -> Option<QuarantineId> {
        if let Some((id, _)) = &self.fetching {
            return Some(*id);
        }
        let core = self.core();
        // Whoever makes something due raises the flag afterwards.
        if !core.due.load(Ordering::Acquire) || lock(&core.state).generation != self.generation {
            return None;
        }
        core.due.store(false, Ordering::Release);
        let due = self.shared.quarantine.next_due(&self.id());
        if due.is_some() {
            core.due.store(true, Ordering::Release);
        }
        due
    }

    fn step_in_log(&mut self) -> Next {
        let core = self.stock.lanes.of(self.destination);
        if core.unsaved_events.load(Ordering::Acquire) >= self.shared.tuning.unsaved_events_max
            && !self.shared.counts.unsaved_allowed.load(Ordering::Acquire)
        {
            self.shared.saver.ring_urgently();
            return Next::Wait;
        }
        while let Some(item) = self.found.pop_front() {
            if let Some(entry) = self.look_at(item) {
                return Next::Entry(entry);
            }
        }
        self.take_from_memory()
    }

    fn take_from_memory(&self) -> Next {
        let core = self.stock.lanes.of(self.destination);
        loop {
            let mut state = lock(&core.state);
            if state.generation != self.generation {
                return Next::Replaced;
            }
            let mut tail = lock(&self.stock.tail);
            let kept = match tail.take(self.destination, state.reader) {
                Taken::Record(kept) => kept,
                Taken::Nothing => return Next::Wait,
                Taken::Behind => return Next::Read(state.reader),
            };
            let (records, bytes) = tail.drop_taken(&self.stock);
            drop(tail);
            let planned = *kept.planned.of(self.destination);
            let after = self.stock.after(kept.position, kept.payload.len());
            let handed = state.hand_out(kept.position, after, planned, kept.received_at);
            drop(state);
            if records > 0 {
                forget_memory(&self.shared, records, bytes);
            }
            if handed == Handed::Out {
                return Next::Entry(Entry { position: kept.position, payload: kept.payload, planned });
            }
        }
    }

    fn look_at(&self, item: Item) -> Option<Entry> {
        let core = self.stock.lanes.of(self.destination);
        let mut state = lock(&core.state);
        if state.generation != self.generation {
            return None;
        }
        match item {
            Item::Record { position, after, planned, received_at, payload } => {
                let ahead = position >= state.reader;
                let handed = ahead.then(|| state.hand_out(position, after, planned, received_at));
                return (handed == Some(Handed::Out)).then_some(Entry { position, payload, planned });
            }
            Item::Lost { position, after, events } if position >= state.reader => state.lose(position, after, events),
            Item::Lost { .. } => {}
            Item::Volume { start, planned } => {
                let lost = state.cross(start, planned);
                if lost > 0 {
                    tracing::error!(lane = %self.id(), events = lost, before = %start, "events were lost to the disk; counted as quarantined");
                }
            }
            Item::Passed { until } => state.pass(until),
        }
        drop(state);
        self.shared.saver.ring();
        None
    }

    /// Puts in what was read from disk.
    #[cfg(test)]
    pub(super) fn read_now(&mut self, from: Position) {
        let bookmark = self.bookmark.clone();
        let found = read_on(&self.shared, &self.stock, self.destination, from, bookmark, Refused::GiveUp).unwrap_or_default();
        self.found.extend(found.items);
        self.bookmark = found.bookmark;
    }

    /// Notes that all events of that record came to their end. Once is enough; a position that was not handed out, or
    /// was completed before, is ignored. A tally that is not what was planned is made to fit, and logged as an error.
    pub fn complete(&self, position: Position, tally: Tally) {
        self.complete_leaving(position, tally, &[]);
    }

    /// As [`Lane::complete`], and leaves marks with the record: values of the caller's, which
    /// [`Journal::read_marks`](super::Journal::read_marks) tells in the next run as well. They are as durable as the completion, unless
    /// the disk takes no marks.
    pub fn complete_leaving(&self, position: Position, tally: Tally, marks: &[u128]) {
        let core = self.core();
        if position.quarantine_id().is_some() {
            self.settle(position, tally);
            return self.shared.saver.ring();
        }
        let mut state = lock(&core.state);
        let events = state.complete(position, tally);
        // Under the lock, so that a save that sees these completions also sees this count.
        let unsaved = core.unsaved_events.fetch_add(events, Ordering::AcqRel) + events;
        if events > 0 && !marks.is_empty() {
            self.shared.marks.leave(&self.stock, self.destination, position, marks);
        }
        drop(state);
        if events > 0 && core.keeps.load(Ordering::Acquire) {
            self.settle(position, tally);
        }
        if unsaved >= self.shared.tuning.unsaved_events_max / 2 {
            self.shared.saver.ring_urgently();
        } else if events > 0 {
            self.shared.saver.ring();
        }
    }

    /// What is in quarantine of this record counts from now on.
    fn settle(&self, position: Position, tally: Tally) {
        let id = self.id();
        self.shared.quarantine.settle(&id, position, tally);
        self.core().keeps.store(self.shared.quarantine.has_unsettled(&id), Ordering::Release);
    }

    /// Keeps an event that the destination refuses for good: durable when it returns. To be called before
    /// [`Lane::complete`]; the same event of the same record is kept once.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn quarantine(&self, item: Quarantined) -> Result<(), QuarantineError> {
        let (shared, id) = (Arc::clone(&self.shared), self.id());
        self.core().keeps.store(true, Ordering::Release);
        let kept = self.shared.beside(move || {
            if shared.queue.is_closed() {
                return Err(QuarantineError::Closed);
            }
            shared.quarantine.keep(&shared, &id, item)
        });
        kept.await.map_err(io::Error::other)?
    }

    /// Remembers, across restarts, that the destination asked to be left alone until then; None: no longer.
    pub fn defer_until(&self, until: Option<WallTime>) {
        lock(&self.core().state).deferred_until = until;
        self.shared.saver.ring();
    }

    /// What [`Lane::defer_until`] was told last.
    #[must_use]
    pub fn deferred_until(&self) -> Option<WallTime> {
        lock(&self.core().state).deferred_until
    }

    /// Whose lane it is.
    #[must_use]
    pub fn id(&self) -> LaneId {
        LaneId { source: self.stock.source.clone(), destination: self.destination }
    }

    fn core(&self) -> &LaneCore {
        self.stock.lanes.of(self.destination)
    }
}
