//! A connection in memory: bytes arrive after the latency of their path, in order; it can be reset, and a path can stall.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::model::Dice;

/// Bytes under way in one direction; a writer waits beyond.
const UNDER_WAY_BYTES_MAX: usize = 64 << 10;

/// How one network path behaves; all its connections share it.
#[derive(Debug, Clone)]
pub(super) struct Path(Arc<Mutex<PathState>>);

#[derive(Debug)]
struct PathState {
    latency_ms: u64,
    jitter_ms: u64,
    /// What is sent before then arrives after it.
    stalled_until: Option<Instant>,
    dice: Dice,
}

impl Path {
    pub(super) fn new(latency_ms: u64, jitter_ms: u64, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(PathState { latency_ms, jitter_ms, stalled_until: None, dice: Dice::new(seed) })))
    }

    /// Loses everything that is sent within `length` from now on, until it is sent again: it arrives when that is over.
    pub(super) fn stall(&self, length: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stalled_until = Some(Instant::now() + length);
    }

    pub(super) fn heal(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stalled_until = None;
    }

    /// When what is sent now arrives.
    pub(super) fn arrival(&self) -> Instant {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let jitter = state.jitter_ms;
        let delay = Duration::from_millis(state.latency_ms + state.dice.below(jitter + 1));
        state.stalled_until.map_or(now, |until| until.max(now)) + delay
    }
}

/// Both directions of a connection.
#[derive(Debug, Default)]
struct Wire {
    ways: [Way; 2],
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Whole,
    Reset,
}

#[derive(Debug, Default)]
struct Way {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    last_arrival: Option<Instant>,
    /// When the end of it arrives.
    ended: Option<Instant>,
    /// Whether somebody still reads.
    reading: Reading,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    Yes,
    No,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    wire: Arc<Mutex<Wire>>,
    path: Path,
    /// The direction that it writes to.
    side: usize,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// The knife for one connection.
#[derive(Debug, Clone)]
pub(super) struct Cutter(Weak<Mutex<Wire>>);

impl Cutter {
    /// Resets it at once, at both ends. False when it is over already.
    pub(super) fn cut(&self) -> bool {
        let Some(wire) = self.0.upgrade() else { return false };
        let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
        wire.state = State::Reset;
        wire.ways.iter_mut().for_each(Way::wake);
        true
    }
}

impl Way {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn end(&mut self, arrival: Instant) {
        if self.ended.is_none() {
            self.ended = Some(self.last_arrival.map_or(arrival, |last| last.max(arrival)));
            self.wake();
        }
    }
}

/// A new connection over that path.
pub(super) fn pair(path: &Path) -> (End, End, Cutter) {
    let wire = Arc::new(Mutex::new(Wire::default()));
    let cutter = Cutter(Arc::downgrade(&wire));
    let end = |side| End { wire: Arc::clone(&wire), path: path.clone(), side, alarm: None };
    (end(0), end(1), cutter)
}

impl End {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let incoming = 1 - self.side;
        loop {
            let mut wire = self.wire();
            if wire.state == State::Reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let way = &mut wire.ways[incoming];
            let now = Instant::now();
            let next = way.chunks.front().map(|(arrival, _)| *arrival).or(way.ended);
            match next {
                Some(arrival) if arrival <= now => {
                    let Some((_, chunk)) = way.chunks.front_mut() else { return Poll::Ready(Ok(())) };
                    let count = chunk.len().min(into.remaining());
                    into.put_slice(&chunk[..count]);
                    chunk.drain(..count);
                    if chunk.is_empty() {
                        way.chunks.pop_front();
                    }
                    way.bytes -= count;
                    if let Some(writer) = way.writer.take() {
                        writer.wake();
                    }
                    return Poll::Ready(Ok(()));
                }
                waits => {
                    way.reader = Some(context.waker().clone());
                    drop(wire);
                    let Some(arrival) = waits else { return Poll::Pending };
                    let mut alarm = Box::pin(sleep_until(arrival));
                    let rings = alarm.as_mut().poll(context);
                    self.alarm = Some(alarm);
                    if rings.is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        if wire.state == State::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let way = &mut wire.ways[self.side];
        if way.ended.is_some() || way.reading == Reading::No {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = UNDER_WAY_BYTES_MAX - way.bytes;
        if room == 0 {
            way.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(bytes.len());
        let arrival = self.path.arrival();
        let arrival = way.last_arrival.map_or(arrival, |last| last.max(arrival));
        way.last_arrival = Some(arrival);
        way.chunks.push_back((arrival, bytes[..count].to_vec()));
        way.bytes += count;
        if let Some(reader) = way.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let arrival = self.path.arrival();
        self.wire().ways[self.side].end(arrival);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let arrival = self.path.arrival();
        let incoming = 1 - self.side;
        let mut wire = self.wire();
        wire.ways[self.side].end(arrival);
        wire.ways[incoming].reading = Reading::No;
        wire.ways[incoming].wake();
    }
}
