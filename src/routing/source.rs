//! Sources, and how a write key finds its own.

use std::{collections::HashMap, sync::Arc};

use super::{Route, Rule};
use crate::model::{KeyPrint, PerDestination, RateLimit, Revision, Secret, SourceId};

/// Which of Segment's regions a source lives in (protocol.md 1.1): a key sent to the other one is answered 200 and lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Region {
    /// Oregon, `api.segment.io`.
    #[default]
    Us,
    /// Dublin, `events.eu1.segmentapis.com`.
    Eu,
}

/// One source, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its stable id.
    pub id: SourceId,
    /// Its name for people and metrics.
    pub name: String,
    /// Its Segment write keys, the current one first; more than one while a key is rotated. Never empty.
    pub segment_keys: Vec<Secret>,
    /// Its RudderStack write key; None while no part of its route is RudderStack's.
    pub rudderstack_key: Option<Secret>,
    /// Its Segment region.
    pub region: Region,
    /// Its route.
    pub route: Route,
    /// What of it goes another way; the first rule that matches an event wins.
    pub rules: Vec<Rule>,
    /// Whether Segment is not contacted for it any more. The configuration never says so; an operator does.
    pub is_retired: bool,
    /// Its own limits in events per second, beside its destinations'.
    pub rate_limits: PerDestination<RateLimit>,
}

/// Two sources claim one Segment key, or one id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceConflict {
    /// A key must say whose an event is.
    #[error("the sources `{0}` and `{1}` share a Segment write key")]
    Key(String, String),
    /// An id must say whose a record is.
    #[error("two sources have the id `{0}`")]
    Id(SourceId),
}

/// All sources under one revision: what a request is decided by, swapped as a whole.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    revision: Revision,
    list: Vec<Arc<Source>>,
    by_key: HashMap<KeyPrint, Arc<Source>>,
    by_id: HashMap<SourceId, Arc<Source>>,
}

impl Sources {
    /// Builds the tables.
    ///
    /// # Errors
    /// When two sources share an id or a Segment key.
    pub fn new(revision: Revision, sources: impl IntoIterator<Item = Source>) -> Result<Self, SourceConflict> {
        let mut built = Self { revision, ..Self::default() };
        for source in sources.into_iter().map(Arc::new) {
            for key in &source.segment_keys {
                if let Some(other) = built.by_key.insert(key.print(), Arc::clone(&source)) {
                    return Err(SourceConflict::Key(other.name.clone(), source.name.clone()));
                }
            }
            if built.by_id.insert(source.id.clone(), Arc::clone(&source)).is_some() {
                return Err(SourceConflict::Id(source.id.clone()));
            }
            built.list.push(source);
        }
        Ok(built)
    }

    /// The same sources under another revision: a journal that has seen changes goes on from its own.
    #[must_use]
    pub fn at(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// The revision these routes stand for.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// All sources, in the order of the file.
    #[must_use]
    pub fn list(&self) -> &[Arc<Source>] {
        &self.list
    }

    /// Whether Segment is not contacted for any of them; false when there are none.
    #[must_use]
    pub fn are_all_retired(&self) -> bool {
        !self.list.is_empty() && self.list.iter().all(|source| source.is_retired)
    }

    /// The source that a Segment write key belongs to; None for a key that is not configured.
    #[must_use]
    pub fn by_key(&self, key: &str) -> Option<&Arc<Source>> {
        self.by_key.get(&KeyPrint::of(key))
    }

    /// The source of that id; None when it is no longer configured.
    #[must_use]
    pub fn by_id(&self, id: &SourceId) -> Option<&Arc<Source>> {
        self.by_id.get(id)
    }
}

impl Source {
    /// The routes that its events may have: its own, and its rules'.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        [self.route].into_iter().chain(self.rules.iter().map(|rule| rule.route))
    }

    /// The Segment key that a record's client used, by its fingerprint; the current one when that key has gone.
    #[must_use]
    pub fn segment_key(&self, print: [u8; 8]) -> &Secret {
        self.segment_keys.iter().find(|key| key.print().short() == print).unwrap_or(&self.segment_keys[0])
    }
}
