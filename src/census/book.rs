//! The census itself: versions by source, and what is counted of each. Pure: time is an argument.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{
    maker::Maker,
    roll::Roll,
    tally::{Came, One, Tally},
};
use crate::model::{Destination, PerDestination, Selection, SourceId, WallTime};

/// Versions that are told apart over all sources; the events of more are counted together, for each source.
pub const VERSIONS_MAX: usize = 2_000;
/// The same of one source: an app that makes versions up takes no place from the others.
pub const VERSIONS_OF_SOURCE_MAX: usize = 500;

/// Accepted events of one request.
#[derive(Debug)]
pub struct Counted<'a> {
    /// Their source.
    pub source: &'a SourceId,
    /// When they arrived.
    pub at: WallTime,
    /// Who they are by.
    pub roll: &'a Roll,
    /// Where they go.
    pub plan: &'a PerDestination<Selection>,
    /// How they came.
    pub came: Came,
}

/// All versions.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sources: BTreeMap<SourceId, Page>,
    /// Versions in all pages.
    pub(super) versions: usize,
}

/// The versions of one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) versions: HashMap<Maker<'static>, Tally>,
    /// The events of versions that are not told apart; None: there are none.
    pub(super) others: Option<Tally>,
}

/// A page, as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    source: String,
    versions: Vec<(Maker<'static>, Tally)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    others: Option<Tally>,
}

impl Saved {
    pub(super) fn of(source: &SourceId, page: Page) -> Self {
        Self { source: source.to_string(), versions: page.versions.into_iter().collect(), others: page.others }
    }
}

impl Book {
    pub(super) fn count(&mut self, counted: &Counted<'_>) {
        if !self.sources.contains_key(counted.source) {
            self.sources.insert(counted.source.clone(), Page::default());
        }
        let Some(page) = self.sources.get_mut(counted.source) else { return };
        for (index, entry) in counted.roll.events.iter().enumerate() {
            let goes = PerDestination::from_fn(|to: Destination| counted.plan.of(to).contains(index));
            let one = One { at: counted.at, person: entry.person, goes, came: counted.came };
            page.tally(&counted.roll.makers[entry.maker], counted.at, &mut self.versions).count(&one);
        }
    }

    /// What was saved; what is above the bounds, or of no source, is left out.
    pub(super) fn load(saved: Vec<Saved>) -> Self {
        let mut book = Self::default();
        for Saved { source, versions, others } in saved {
            let Ok(source) = SourceId::parse(&source) else { continue };
            let room = VERSIONS_OF_SOURCE_MAX.min(VERSIONS_MAX.saturating_sub(book.versions));
            let page = Page { versions: versions.into_iter().take(room).collect(), others };
            book.versions += page.versions.len();
            book.sources.insert(source, page);
        }
        book
    }
}

impl Page {
    /// Where a version is counted.
    fn tally(&mut self, maker: &Maker<'static>, at: WallTime, versions: &mut usize) -> &mut Tally {
        let is_full = *versions >= VERSIONS_MAX || self.versions.len() >= VERSIONS_OF_SOURCE_MAX;
        let is_known = self.versions.contains_key(maker);
        if !is_known && is_full {
            return self.others.get_or_insert_with(|| Tally::new(at));
        }
        if !is_known {
            *versions += 1;
            self.versions.insert(maker.clone(), Tally::new(at));
        }
        self.versions.get_mut(maker).expect("it was there, or has just been put there")
    }

    /// Every version with what was counted of it, and last those that are not told apart.
    pub(super) fn tallies(&self) -> impl Iterator<Item = (Option<&Maker<'static>>, &Tally)> {
        self.versions.iter().map(|(maker, tally)| (Some(maker), tally)).chain(self.others.iter().map(|tally| (None, tally)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Endpoint, Head, Reading},
        routing::Person,
    };

    fn roll(body: &str) -> Roll {
        let reading = Reading::of(Endpoint::Batch, body.as_bytes()).unwrap();
        let heads: Vec<Head<'_>> = reading.items.iter().map(|item| Head::of(*item, Endpoint::Batch)).collect();
        let persons = heads.iter().map(|head| Person::of(head.anonymous_id.as_deref(), head.user_id.as_deref(), "m"));
        Roll::of(&reading, &heads, persons)
    }

    fn counted(book: &mut Book, source: &str, body: &str, plan: &PerDestination<Selection>) {
        let (source, roll) = (SourceId::parse(source).unwrap(), roll(body));
        book.count(&Counted { source: &source, at: WallTime::from_millis(1_000), roll: &roll, plan, came: Came::Directly });
    }

    fn both() -> PerDestination<Selection> {
        PerDestination { segment: Selection::All, rudderstack: Selection::All }
    }

    #[test]
    fn a_batch_is_counted_by_version_person_and_destination() {
        let app = |version: &str, person: &str| {
            format!(r#"{{"anonymousId":"{person}","context":{{"app":{{"name":"a","version":"{version}"}}}}}}"#)
        };
        let body = format!(r#"{{"batch":[{},{},{},3]}}"#, app("1", "p"), app("1", "q"), app("2", "p"));
        let plan = PerDestination { segment: Selection::All, rudderstack: Selection::Some(vec![0, 2]) };
        let mut book = Book::default();
        counted(&mut book, "web", &body, &plan);
        let page = &book.sources[&SourceId::parse("web").unwrap()];
        let mut told: Vec<_> = page
            .tallies()
            .map(|(maker, tally)| (maker.unwrap().to_string(), tally.events, tally.people().count(), tally.goes().rudderstack))
            .collect();
        told.sort();
        assert_eq!(told, [("(not told)".to_owned(), 1, 0, 0), ("a 1".to_owned(), 2, 2, 1), ("a 2".to_owned(), 1, 1, 1)]);
    }

    #[test]
    fn versions_beyond_the_bounds_are_counted_together() {
        let mut book = Book::default();
        for n in 0..VERSIONS_OF_SOURCE_MAX + 7 {
            let body = format!(r#"{{"batch":[{{"userId":"u-{n}"}}],"context":{{"app":{{"name":"a","version":"{n}"}}}}}}"#);
            counted(&mut book, "noisy", &body, &both());
            counted(&mut book, "noisy", &body, &both());
        }
        counted(&mut book, "calm", r#"{"batch":[{"userId":"u"}]}"#, &both());
        let page = &book.sources[&SourceId::parse("noisy").unwrap()];
        let others = page.others.as_ref().unwrap();
        assert_eq!((page.versions.len(), others.events, others.people().count()), (VERSIONS_OF_SOURCE_MAX, 14, 7));
        assert!(book.sources[&SourceId::parse("calm").unwrap()].others.is_none());
        let saved: Vec<Saved> = book.sources.iter().map(|(source, page)| Saved::of(source, page.clone())).collect();
        let again = Book::load(serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap());
        assert_eq!(again.versions, VERSIONS_OF_SOURCE_MAX + 1);
        assert_eq!(again.sources[&SourceId::parse("noisy").unwrap()].others.as_ref().unwrap().events, 14);
    }
}
