//! Records on their way to the commit thread.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, oneshot};

use super::{
    AppendError,
    stock::lock,
    words::{Position, Record},
};

/// How many bytes may wait for the commit thread, in KiB: appends beyond wait their turn.
pub(super) const QUEUE_KIB_MAX: usize = 16 << 10;

/// Records that wait to be written.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
    /// Room, in KiB.
    pub room: Semaphore,
    /// Told of each record, in the place of the thread.
    #[cfg(test)]
    pub pushed: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Pending>,
    /// Whether the commit thread sleeps.
    sleeper: Sleeper,
    phase: Phase,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Sleeper {
    #[default]
    Awake,
    Asleep,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    Closed,
}

/// One record on its way to the disk.
#[derive(Debug)]
pub(super) struct Pending {
    pub record: Record,
    pub answer: oneshot::Sender<Result<Position, AppendError>>,
    /// The room it takes in the queue.
    pub room_kib: u32,
    /// When it was put there.
    pub since: Instant,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            room: Semaphore::new(QUEUE_KIB_MAX),
            #[cfg(test)]
            pushed: tokio::sync::Notify::new(),
        }
    }

    /// Puts a record at the end.
    pub(super) fn push(&self, pending: Pending) -> Result<(), AppendError> {
        let mut state = lock(&self.state);
        if state.phase == Phase::Closed {
            return Err(AppendError::Closed);
        }
        state.waiting.push_back(pending);
        #[cfg(test)]
        self.pushed.notify_one();
        if state.sleeper == Sleeper::Asleep {
            state.sleeper = Sleeper::Awake;
            drop(state);
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes what one group may hold: records from the front while `fits` says yes; the first always.
    pub(super) fn take(&self, mut fits: impl FnMut(&Record) -> bool) -> Vec<Pending> {
        let mut state = lock(&self.state);
        let count = state.waiting.iter().take_while(|pending| fits(&pending.record)).count().max(1).min(state.waiting.len());
        state.waiting.drain(..count).collect()
    }

    /// Answers what has waited so long: a client that hears nothing sends again, and a slow disk would have ever more to write.
    /// What is being written is not among it.
    pub(super) fn expire(&self, wait_max: Duration) {
        let expired: Vec<Pending> = {
            let mut state = lock(&self.state);
            let count = state.waiting.iter().take_while(|pending| pending.since.elapsed() >= wait_max).count();
            state.waiting.drain(..count).collect()
        };
        let room: u32 = expired.iter().map(|pending| pending.room_kib).sum();
        for pending in expired {
            let _ = pending.answer.send(Err(AppendError::Slow { wait_max }));
        }
        self.room.add_permits(room as usize);
    }

    /// Waits until there is something to take; false: closed, and nothing is left.
    pub(super) fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        while state.waiting.is_empty() {
            if state.phase == Phase::Closed {
                return false;
            }
            state.sleeper = Sleeper::Asleep;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.sleeper = Sleeper::Awake;
        true
    }

    /// Takes no more records.
    pub(super) fn close(&self) {
        lock(&self.state).phase = Phase::Closed;
        self.filled.notify_all();
        self.room.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).phase == Phase::Closed
    }
}
