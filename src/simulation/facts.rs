//! What clients did and were told: the obligations of a run.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::WallTime;

/// One event of a client.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) source: usize,
    pub(super) person: String,
    /// Its number among its client's.
    pub(super) order: u64,
    /// Whether it came with a messageId.
    pub(super) message_id: Option<String>,
    /// Whether RudderStack refuses it for good.
    pub(super) is_poison: bool,
    /// As the client wrote it.
    pub(super) json: String,
    /// By the true clock.
    pub(super) happened: WallTime,
    /// How often it was sent.
    pub(super) attempts: u32,
    /// Whether the client was told that it was taken.
    pub(super) told: Told,
    /// By vendor: whether its plan has it.
    pub(super) planned: [bool; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Taken,
    Nothing,
}

/// All of them, by the name that each carries in its properties; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts(Arc<Mutex<BTreeMap<String, Fact>>>);

impl Facts {
    pub(super) fn all(&self) -> MutexGuard<'_, BTreeMap<String, Fact>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name that an event carries.
pub(super) fn name_of(json: &str) -> Option<&str> {
    json.split_once("\"n\":\"")?.1.split_once('"').map(|(name, _)| name)
}
