//! What is in memory of one source: its newest records, and the state of its two lanes.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{format::record_bytes, lane_state::LaneState, words::Position};
use crate::model::{Destination, PerDestination, SourceId, WallTime};

/// Takes a lock. A thread that panicked with it left plain counters and queues behind, each valid by itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One source.
#[derive(Debug)]
pub(super) struct Stock {
    pub source: SourceId,
    /// Its index in the list of all stocks.
    pub ordinal: usize,
    pub tail: Mutex<Tail>,
    pub lanes: PerDestination<LaneCore>,
}

/// One lane's shared part.
#[derive(Debug, Default)]
pub(super) struct LaneCore {
    pub state: Mutex<LaneState>,
    /// Rung when there may be something to do for the consumer.
    pub bell: Notify,
    /// Events completed that no durable cursor knows yet.
    pub unsaved_events: AtomicU64,
    /// Bytes of spills that the lane has not passed.
    pub spilled_bytes: AtomicU64,
    /// Set while new records for the lane are refused.
    pub over_quota: AtomicBool,
}

/// One record in memory.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub position: Position,
    pub planned: PerDestination<u32>,
    pub received_at: WallTime,
    pub payload: Bytes,
}

/// The newest records of one source, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tail {
    records: VecDeque<Kept>,
    /// The number of the first of `records`, counted from start-up.
    first: u64,
    /// Records before this place are not all here any more.
    gone_before: Position,
    /// The number of the record that each lane takes next; None: the lane reads from disk, or nobody consumes it.
    next: PerDestination<Option<u64>>,
}

/// What a lane finds in memory.
#[derive(Debug)]
pub(super) enum Taken {
    /// Its next record; so many bytes of memory were freed by taking it.
    Record(Kept),
    /// Nothing new.
    Nothing,
    /// What comes next is on disk only.
    Behind,
}

impl Stock {
    /// The stock of a source of which nothing is in memory, in a log that ends at `end`.
    pub(super) fn new(source: SourceId, ordinal: usize, end: Position) -> Self {
        let tail = Tail { gone_before: end, ..Tail::default() };
        let lanes = PerDestination::from_fn(|_| LaneCore { state: Mutex::new(LaneState::starting_at(end)), ..LaneCore::default() });
        Self { source, ordinal, tail: Mutex::new(tail), lanes }
    }

    /// Where the record after this one begins, at the earliest.
    pub(super) fn after(&self, position: Position, payload_bytes: usize) -> Position {
        Position { volume: position.volume, offset: position.offset + record_bytes(&self.source, payload_bytes) }
    }
}

impl Tail {
    /// Puts a new record on the stock and returns its number.
    pub(super) fn push(&mut self, kept: Kept) -> u64 {
        let number = self.first + self.records.len() as u64;
        for destination in Destination::ALL {
            // A lane that keeps up does not have to be woken to pass a record that is not for it.
            let next = self.next.of_mut(destination);
            if *next == Some(number) && *kept.planned.of(destination) == 0 {
                *next = Some(number + 1);
            }
        }
        self.records.push_back(kept);
        number
    }

    /// The next record of the lane, which has passed everything before `from`.
    pub(super) fn take(&mut self, destination: Destination, from: Position) -> Taken {
        let mut number = match *self.next.of(destination) {
            Some(number) if number >= self.first => number,
            _ if from >= self.gone_before => self.first + self.records.partition_point(|kept| kept.position < from) as u64,
            _ => {
                *self.next.of_mut(destination) = None;
                return Taken::Behind;
            }
        };
        let mut taken = Taken::Nothing;
        while let Some(kept) = usize::try_from(number - self.first).ok().and_then(|index| self.records.get(index)) {
            number += 1;
            if *kept.planned.of(destination) > 0 && kept.position >= from {
                taken = Taken::Record(kept.clone());
                break;
            }
        }
        *self.next.of_mut(destination) = Some(number);
        taken
    }

    /// Whether the record of that number is in memory.
    pub(super) fn holds(&self, number: u64) -> bool {
        number >= self.first
    }

    /// Drops the records that no lane will ask for here; returns how many, and the bytes of their payloads.
    pub(super) fn drop_taken(&mut self, stock: &Stock) -> (usize, usize) {
        let mut dropped = (0, 0);
        while let Some(kept) = self.records.front() {
            let first = self.first;
            let wanted = Destination::ALL
                .into_iter()
                .any(|destination| *kept.planned.of(destination) > 0 && self.next.of(destination).is_none_or(|next| next <= first));
            if wanted {
                break;
            }
            self.drop_first(stock, &mut dropped);
        }
        dropped
    }

    /// Drops the record of that number and the older ones; returns how many, and the bytes of their payloads.
    pub(super) fn evict(&mut self, stock: &Stock, number: u64) -> (usize, usize) {
        let mut dropped = (0, 0);
        while self.first <= number && !self.records.is_empty() {
            self.drop_first(stock, &mut dropped);
        }
        dropped
    }

    fn drop_first(&mut self, stock: &Stock, dropped: &mut (usize, usize)) {
        let Some(kept) = self.records.pop_front() else { return };
        for destination in Destination::ALL {
            let next = self.next.of_mut(destination);
            if *next == Some(self.first) && *kept.planned.of(destination) == 0 {
                *next = Some(self.first + 1);
            }
        }
        self.first += 1;
        self.gone_before = stock.after(kept.position, kept.payload.len());
        dropped.0 += 1;
        dropped.1 += kept.payload.len();
    }

    /// Forgets where a lane stood: its consumer begins again.
    pub(super) fn detach(&mut self, destination: Destination) {
        *self.next.of_mut(destination) = None;
    }

    /// When the first record of the lane arrived that is not before `from`; None when memory cannot tell.
    pub(super) fn oldest_after(&self, destination: Destination, from: Position) -> Option<WallTime> {
        let ours = |kept: &&Kept| kept.position >= from && *kept.planned.of(destination) > 0;
        (from >= self.gone_before).then(|| self.records.iter().find(ours).map(|kept| kept.received_at)).flatten()
    }
}
