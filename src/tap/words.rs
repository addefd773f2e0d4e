//! What is said to the tap, and what a viewer takes from it.

use std::{sync::Arc, time::Duration};

use crate::model::{Destination, Endpoint, EnvelopeId, Outcome, Outline, PerDestination, Selection, SourceId, WallTime};

/// An accepted request, as ingress tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Passed<'a> {
    /// Whose it is.
    pub source: &'a SourceId,
    /// When it arrived.
    pub at: WallTime,
    /// By which path it came.
    pub endpoint: Endpoint,
    /// How many events it has.
    pub events: usize,
    /// Which of them go where.
    pub plan: &'a PerDestination<Selection>,
    /// The inflated body.
    pub body: &'a [u8],
    /// Where they stand in it; None: they cannot be shown, and count as lost when they are picked.
    pub outline: Option<&'a Outline>,
}

/// What one viewer has seen since the last time.
#[derive(Debug, Default)]
pub struct Catch {
    /// Events that passed.
    pub seen: u64,
    /// Those of them that were picked, and for which there was no room.
    pub lost: u64,
    /// Those of them that were picked, oldest first.
    pub rows: Vec<Row>,
    /// What became of these and of those picked before, oldest first.
    pub ends: Vec<Ended>,
}

/// One event that was picked.
#[derive(Debug)]
pub struct Row {
    /// Its number among all events that this viewer saw, from 1.
    pub id: u64,
    /// When it arrived.
    pub at: WallTime,
    /// Whose it is.
    pub source: SourceId,
    /// The envelope that it came in.
    pub envelope: EnvelopeId,
    /// Its place among the events of that envelope.
    pub index: usize,
    /// By which path it came.
    pub endpoint: Endpoint,
    /// Its JSON.
    pub event: Box<str>,
    /// What stood as `context` beside the events of its batch; None: nothing did.
    pub context: Option<Arc<str>>,
    /// Where it goes.
    pub to: PerDestination<bool>,
}

/// What became of an event that was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The event's number.
    pub id: u64,
    /// Where it went.
    pub destination: Destination,
    /// What became of it.
    pub outcome: Outcome,
    /// The status of the answer; 0: there was none.
    pub status: u16,
    /// From the request that carried it to the answer.
    pub took: Duration,
}
