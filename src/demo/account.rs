//! What clients were told, and what each side must therefore have.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::{
    model::{Destination, PerDestination, Revision},
    routing::{Facts, Inquiry, Person, Source, decide},
};

/// The account of one source.
#[derive(Debug, Default)]
struct Page {
    acknowledged: u64,
    refused: u64,
    due: PerDestination<HashSet<String>>,
}

/// The account of the whole demo.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<BTreeMap<String, Page>>);

/// One line of the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub source: String,
    pub acknowledged: u64,
    pub refused: u64,
    /// Different events that each side must have, and how many of them it has not.
    pub due: PerDestination<usize>,
    pub missing: PerDestination<usize>,
}

impl Account {
    /// A request was answered 200: its events are due where the source's route says. The route is worked out again here, as an
    /// outsider would, from the events alone.
    pub(super) fn acknowledged(&self, source: &Source, events: &[(String, Person)]) {
        let inquiries: Vec<Inquiry<'_>> = events.iter().map(|(_, person)| Inquiry { person: *person, facts: Facts::default() }).collect();
        let plan = decide(source, Revision::default(), &inquiries);
        self.on(source, |page| {
            page.acknowledged += events.len() as u64;
            for destination in Destination::ALL {
                let chosen = events.iter().enumerate().filter(|(index, _)| plan.events.of(destination).contains(*index));
                page.due.of_mut(destination).extend(chosen.map(|(_, (id, _))| id.clone()));
            }
        });
    }

    /// A request was answered otherwise, or not at all.
    pub(super) fn refused(&self, source: &Source, events: usize) {
        self.on(source, |page| page.refused += events as u64);
    }

    /// Events acknowledged so far.
    pub(super) fn total(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(|page| page.acknowledged).sum()
    }

    /// Compares with what each side has.
    pub(super) fn settle(&self, has: &PerDestination<HashSet<String>>) -> Vec<Line> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(source, page): (&String, &Page)| Line {
            source: source.clone(),
            acknowledged: page.acknowledged,
            refused: page.refused,
            due: PerDestination::from_fn(|destination| page.due.of(destination).len()),
            missing: PerDestination::from_fn(|destination| page.due.of(destination).difference(has.of(destination)).count()),
        };
        pages.iter().map(line).collect()
    }

    fn on(&self, source: &Source, write: impl FnOnce(&mut Page)) {
        write(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(source.name.clone()).or_default());
    }
}
