//! Who the events of one request are by: what is kept of them until the request is accepted, when its body may be gone.

use super::maker::Maker;
use crate::{
    model::{Head, Reading, json::Raw},
    routing::Person,
};

/// The makers of a request's events, and whose events they are.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    pub(super) makers: Vec<Maker<'static>>,
    pub(super) events: Vec<Entry>,
}

/// One event of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// The index of its maker.
    pub(super) maker: usize,
    /// Whose it is; None: it names nobody.
    pub(super) person: Option<u64>,
}

impl Roll {
    /// The roll of a body whose heads were read; `persons` has one for each event.
    #[must_use]
    pub fn of(reading: &Reading<'_>, heads: &[Head<'_>], persons: impl IntoIterator<Item = Person>) -> Self {
        let mut roll = Self { makers: Vec::with_capacity(1), events: Vec::with_capacity(heads.len()) };
        let (mut last, mut maker) = (None, 0);
        for ((index, head), person) in heads.iter().enumerate().zip(persons) {
            let own = context(reading, index);
            // The events of one request mostly are of one app, and then their contexts often are the same to the byte.
            if last != Some(own) {
                maker = roll.place(Maker::of(own, reading.frame.context));
                last = Some(own);
            }
            let is_somebody = head.anonymous_id.is_some() || head.user_id.is_some();
            roll.events.push(Entry { maker, person: is_somebody.then_some(person.0) });
        }
        roll
    }

    fn place(&mut self, maker: Maker<'_>) -> usize {
        self.makers.iter().position(|known| *known == maker).unwrap_or_else(|| {
            self.makers.push(maker.into_owned());
            self.makers.len() - 1
        })
    }
}

fn context<'a>(reading: &Reading<'a>, index: usize) -> Option<Raw<'a>> {
    reading.members(index).iter().rev().find(|(key, _)| key.is("context")).map(|(_, value)| *value)
}
