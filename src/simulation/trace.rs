//! What happened in a run, in order: a hash of all of it, and its end in words.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

/// The trace of one run; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    begun: Instant,
    /// FNV-1a over every line.
    hash: u64,
    count: u64,
    tail: VecDeque<String>,
    tail_lines_max: usize,
}

impl Trace {
    /// A trace of which the last so many lines are kept in words.
    pub(super) fn begin(tail_lines_max: usize) -> Self {
        let tail = VecDeque::new();
        Self(Arc::new(Mutex::new(Lines { begun: Instant::now(), hash: 0xcbf2_9ce4_8422_2325, count: 0, tail, tail_lines_max })))
    }

    /// Writes a line down, with the virtual time.
    pub(super) fn note(&self, what: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = String::new();
        let _ = write!(line, "{:>9.3} s  {what}", lines.begun.elapsed().as_secs_f64());
        for byte in line.bytes().chain([b'\n']) {
            lines.hash = (lines.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        lines.count += 1;
        if lines.tail.len() >= lines.tail_lines_max {
            lines.tail.pop_front();
        }
        lines.tail.push_back(line);
    }

    /// One number for the whole run, and how many lines it had.
    pub(super) fn hash(&self) -> (u64, u64) {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.hash, lines.count)
    }

    /// The last lines.
    pub(super) fn tail(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.tail.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
