//! How the journal's threads are woken.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::stock::lock;

/// Something that a thread waits for.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
    /// Whether it rings already, so that ringing again costs nothing.
    ringing: AtomicBool,
    /// Told of each ring, in the place of the thread.
    #[cfg(test)]
    rung: tokio::sync::Notify,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum AlarmState {
    #[default]
    Quiet,
    Ringing,
    Urgent,
    Closing,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// There is work, or time is up.
    Work,
    /// The journal closes.
    Closing,
}

impl Alarm {
    /// There is work, when convenient.
    pub(super) fn ring(&self) {
        if !self.ringing.swap(true, Ordering::AcqRel) {
            self.raise(AlarmState::Ringing);
        }
    }

    /// There is work that somebody waits for.
    pub(super) fn ring_urgently(&self) {
        self.ringing.store(true, Ordering::Release);
        self.raise(AlarmState::Urgent);
    }

    /// The journal closes.
    pub(super) fn close(&self) {
        self.raise(AlarmState::Closing);
    }

    fn raise(&self, to: AlarmState) {
        let mut state = lock(&self.state);
        if (*state as u8) < to as u8 {
            *state = to;
            self.changed.notify_all();
            #[cfg(test)]
            self.rung.notify_one();
        }
    }

    /// Waits until it rings, at most `longest`; then goes on for `pause`, unless it is urgent. What rings after this returns
    /// is for the next wait.
    pub(super) fn wait(&self, longest: Option<Duration>, pause: Duration) -> Woken {
        let mut state = lock(&self.state);
        let asleep = Instant::now();
        while *state == AlarmState::Quiet {
            match longest {
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(longest) => {
                    let Some(left) = longest.checked_sub(asleep.elapsed()).filter(|left| !left.is_zero()) else { break };
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        let rang = Instant::now();
        while *state == AlarmState::Ringing {
            let Some(left) = pause.checked_sub(rang.elapsed()).filter(|left| !left.is_zero()) else { break };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if *state == AlarmState::Closing {
            return Woken::Closing;
        }
        *state = AlarmState::Quiet;
        self.ringing.store(false, Ordering::Release);
        Woken::Work
    }

    /// As [`wait`](Self::wait), without a thread.
    #[cfg(test)]
    pub(super) async fn hear(&self) {
        while *lock(&self.state) == AlarmState::Quiet {
            self.rung.notified().await;
        }
        *lock(&self.state) = AlarmState::Quiet;
        self.ringing.store(false, Ordering::Release);
    }

    /// Sleeps that long, or until the journal closes.
    pub(super) fn rest(&self, length: Duration) {
        let start = Instant::now();
        let mut state = lock(&self.state);
        while *state != AlarmState::Closing {
            let Some(left) = length.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { return };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
