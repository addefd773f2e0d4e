//! Resends on the RudderStack leg: each (source, messageId) goes there once (protocol.md T26, design section 4).
//!
//! Every request is journalled as it comes; whether an event of it is a resend is decided here, in journal order. An event
//! counts as seen once the journal was told that its record has ended, delivered or in quarantine; a resend of one
//! that is still on its way waits for that end, so that nothing hangs on an event that a crash or the disk may yet take.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

use super::window::Window;
use crate::{
    journal::{Journal, Position},
    model::{MessagePrint, SourceId, SourcePrint},
};

/// What has been seen, over all lanes.
#[derive(Debug)]
pub(super) struct Seen {
    window: Mutex<Window>,
    restored: OnceCell<()>,
    /// How many prints the window holds at most.
    pub(super) prints_max: usize,
}

/// One lane's part: what of it is on its way.
#[derive(Debug)]
pub(super) struct Resends {
    seen: Arc<Seen>,
    source: SourcePrint,
    /// The record by which each event that has not ended is on its way.
    on_its_way: HashMap<u128, Position, BuildHasherDefault<PrintHasher>>,
    records: HashMap<Position, Leaving>,
}

/// What happens when a record has ended.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// The prints of its events, resends not among them.
    pub(super) prints: Vec<u128>,
    /// The resends that wait for it: their records, and their places in those.
    pub(super) waiting: Vec<(usize, u32)>,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// It was not seen before.
    New,
    /// It came before, and has ended or stands in the same record.
    Again,
    /// It came before, and is on its way; its end is told by [`Resends::leave`].
    Waits,
}

impl Seen {
    /// Nothing yet, and at most so many prints; None when nothing is to be remembered.
    pub(super) fn of(prints_max: usize) -> Option<Arc<Self>> {
        let window = Window::new(prints_max);
        (prints_max > 0).then(|| Arc::new(Self { window: Mutex::new(window), restored: OnceCell::new(), prints_max }))
    }

    /// Waits until what earlier runs have seen is known here too. The first caller reads it from the journal, in the background.
    pub(super) async fn restore(&self, journal: Journal) {
        let read = async {
            let mut window = Window::new(self.prints_max);
            let reader = journal.clone();
            let read = journal.beside(move || {
                reader.read_marks(|mark| window.push(mark));
                window.turned_round()
            });
            match read.await {
                Ok(window) => *self.window() = window,
                Err(error) => tracing::error!(%error, "what RudderStack was sent before cannot be read back: resends may go there again"),
            }
        };
        self.restored.get_or_init(|| read).await;
    }

    /// How many prints are held now.
    pub(super) fn len(&self) -> usize {
        self.window().len()
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resends {
    pub(super) fn new(seen: Arc<Seen>, source: &SourceId) -> Self {
        Self { seen, source: SourcePrint::of(source), on_its_way: HashMap::default(), records: HashMap::new() }
    }

    /// Looks at an event of the record at `position`: `place` is the number that its lane knows the record by, and the event's index.
    pub(super) fn look(&mut self, message: MessagePrint, position: Position, place: (usize, u32)) -> Sight {
        let print = message.within(self.source);
        if let Some(earlier) = self.on_its_way.get(&print) {
            if *earlier == position {
                return Sight::Again;
            }
            self.records.entry(*earlier).or_default().waiting.push(place);
            return Sight::Waits;
        }
        if self.seen.window().holds(print) {
            return Sight::Again;
        }
        self.on_its_way.insert(print, position);
        self.records.entry(position).or_default().prints.push(print);
        Sight::New
    }

    /// Notes that the journal hears now that a record has ended: from here on its events count as seen.
    pub(super) fn leave(&mut self, position: Position) -> Leaving {
        let Some(leaving) = self.records.remove(&position) else { return Leaving::default() };
        let mut window = self.seen.window();
        for print in &leaving.prints {
            self.on_its_way.remove(print);
            window.push(*print);
        }
        drop(window);
        if self.records.is_empty() {
            // What a flood had on its way does not keep its room.
            self.on_its_way.shrink_to(ROOM_KEPT);
            self.records.shrink_to(ROOM_KEPT);
        }
        leaving
    }
}

/// Room for so many events is kept when none is on its way.
const ROOM_KEPT: usize = 1_024;

/// A print is a hash already.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PrintHasher(u64);

impl Hasher for PrintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any 64 bits of a print will do")]
    fn write_u128(&mut self, print: u128) {
        self.0 = print as u64;
    }
}
