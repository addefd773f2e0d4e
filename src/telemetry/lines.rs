//! Log lines on their way out: a bounded queue in front of a destination that may be slow, full or stuck.
//!
//! Whoever logs never waits. What the queue has no room for is lost and counted, and the next line that gets out says how many
//! were lost before it (reliability.md X5). Each line is inert: whatever of a client's or an upstream's is in it cannot move a terminal's
//! cursor, end the line or turn the reading direction.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::model::inert_but;

/// What lines may take in memory while the destination does not take them; more are lost.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// Where lines are put. Clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Rung when a line comes, and when the last one has gone.
    changed: Condvar,
    lost: AtomicU64,
    paint: Paint,
}

#[derive(Debug, Default)]
struct Queue {
    text: Vec<u8>,
    /// Lines lost since the last that got in.
    lost: u64,
    state: State,
}

/// What the thread that writes is doing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Writing,
}

/// Whether the formatter paints its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// With ESC sequences of its own.
    Colours,
    /// Not at all.
    None,
}

impl Lines {
    /// Starts the thread that writes to `out`. It ends with the process.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub(super) fn start(out: impl Write + Send + 'static, paint: Paint) -> io::Result<Self> {
        let queue = Mutex::new(Queue::default());
        let shared = Arc::new(Shared { queue, changed: Condvar::new(), lost: AtomicU64::new(0), paint });
        let writing = Arc::clone(&shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.write(out))?;
        Ok(Self(shared))
    }

    /// Waits until everything is written, or `patience` is over.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut queue = self.0.locked();
        while !queue.text.is_empty() || queue.state == State::Writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.0.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lines lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a line into the queue, or counts it as lost.
    fn put(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((text.as_ref(), ""), |text| (text, "\n"));
        // With colours, the formatter has escaped every ESC that is not its own.
        let line = inert_but(text, |char| char == '\u{1b}' && self.paint == Paint::Colours);
        let mut queue = self.locked();
        if queue.text.len() + line.len() + NOTE_BYTES_MAX > QUEUE_BYTES_MAX {
            queue.lost += 1;
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let lost = std::mem::take(&mut queue.lost);
        if lost > 0 {
            queue.text.extend_from_slice(note(lost).as_bytes());
        }
        queue.text.extend_from_slice(line.as_bytes());
        queue.text.extend_from_slice(end.as_bytes());
        drop(queue);
        self.changed.notify_all();
    }

    /// Writes what comes, for ever.
    fn write(&self, mut out: impl Write) {
        loop {
            let mut queue = self.locked();
            queue.state = State::Waiting;
            self.changed.notify_all();
            while queue.text.is_empty() {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            queue.state = State::Writing;
            let text = std::mem::take(&mut queue.text);
            drop(queue);
            if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                // There is nobody to tell; the count says it.
                let lines = memchr::memchr_iter(b'\n', &text).count();
                self.lost.fetch_add(lines as u64, Ordering::Relaxed);
            }
        }
    }
}

/// What stands where lines are missing. It is JSON, as most logs are read by programs.
fn note(lost: u64) -> String {
    format!("{{\"level\":\"WARN\",\"event\":\"log_lines_lost\",\"lines\":{lost},\"message\":\"the log's destination was too slow\"}}\n")
}

/// Room for a note.
const NOTE_BYTES_MAX: usize = 160;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(&self.0)
    }
}

/// Takes one line at each write, as the formatter gives them.
pub(super) struct LineWriter<'a>(&'a Shared);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A destination that takes a text only when it is let to.
    struct Gate {
        open: mpsc::Receiver<()>,
        taken: mpsc::Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            self.taken.send(String::from_utf8(text.to_vec()).unwrap()).unwrap();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn put(lines: &Lines, line: &str) {
        lines.make_writer().write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn a_destination_that_takes_nothing_holds_up_nobody_and_losses_are_told() {
        let (open, opened) = mpsc::channel();
        let (taken, takes) = mpsc::channel();
        let lines = Lines::start(Gate { open: opened, taken }, Paint::None).unwrap();
        put(&lines, "first\n");
        // From here on the writer is stuck with the first line, and all others find it so.
        while !lines.0.locked().text.is_empty() {
            std::thread::yield_now();
        }
        let line = format!("{}\n", "x".repeat(1_023));
        for _ in 0..5_000 {
            put(&lines, &line);
        }
        let lost = lines.lost();
        assert!((3_970..=3_980).contains(&lost), "a MiB is kept: {lost} lost");
        lines.flush(Duration::from_millis(20));
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(takes.recv().unwrap(), "first\n");
        assert_eq!(takes.recv().unwrap().lines().count() as u64 + lost, 5_000);
        put(&lines, "after\n");
        open.send(()).unwrap();
        let told = takes.recv().unwrap();
        assert!(told.contains(&format!("\"lines\":{lost},")) && told.ends_with("after\n"), "{told}");
        lines.flush(Duration::from_secs(10));
    }

    #[test]
    fn a_line_stays_one_line_whatever_is_in_it() {
        let (open, opened) = mpsc::channel();
        let (taken, takes) = mpsc::channel();
        let lines = Lines::start(Gate { open: opened, taken }, Paint::None).unwrap();
        open.send(()).unwrap();
        put(&lines, "reason=a\u{1b}[2J\u{202e}b\nERROR forged\r\n");
        assert_eq!(takes.recv().unwrap(), "reason=a\\u001b[2J\\u202eb\\u000aERROR forged\\u000d\n");
    }

    #[test]
    fn a_destination_that_is_gone_counts_as_lost() {
        let (open, opened) = mpsc::channel();
        let (taken, _takes) = mpsc::channel();
        drop(open);
        let lines = Lines::start(Gate { open: opened, taken }, Paint::None).unwrap();
        put(&lines, "one\n");
        lines.flush(Duration::from_secs(10));
        assert_eq!(lines.lost(), 1);
    }
}
