//! How routes stand, how a change of one is asked for, and why it is refused.

use crate::{
    journal::ChangeError,
    model::{Destination, Percent, RateLimit, Revision, SourceId, WallTime},
    routing::{Author, Change, Route, Rule, Seal, SourceConflict},
};

/// A change of one source's route, as it is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The source.
    pub source: SourceId,
    /// Its new route, but for the verify share.
    pub route: Route,
    /// Its new verify share; None: it stays.
    pub verify: Option<Percent>,
    /// The revision of the source that the author looked at; None: whatever it is now.
    pub based_on: Option<Revision>,
    /// Who asks.
    pub by: Author,
    /// Why.
    pub reason: Option<String>,
}

/// What is to be taken back.
#[derive(Debug, Clone)]
pub enum Undoing {
    /// The newest change of any route.
    Newest,
    /// The newest change of this source's route.
    Of(SourceId),
    /// All changes after this revision.
    To(Revision),
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flipped {
    /// How the source stood before.
    pub before: SourceStanding,
    /// How it stands now; the same when it had that route already.
    pub after: SourceStanding,
}

/// How a source stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStanding {
    /// Its id.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// The revision that changed its route, or anything of it by a reload; 0: it is as the configuration had it at the start.
    pub revision: Revision,
    /// Its route. The kill switch stands above it.
    pub route: Route,
    /// Its route in the configuration.
    pub configured: Route,
    /// Its rules, which are the configuration's.
    pub rules: Vec<Rule>,
    /// Since when Segment is not contacted for it: its route is RudderStack alone then, and it has no rules. None: it is not retired.
    pub retired_at: Option<WallTime>,
}

/// Whether Segment is contacted for a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retiring {
    /// It is not, from now on.
    Retire,
    /// It is again, as the route says.
    Unretire,
}

/// How everything stands at one moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The newest revision.
    pub revision: Revision,
    /// What turned the kill switch on; None: it is off.
    pub killed: Option<Change>,
    /// All configured sources, in the configuration's order.
    pub sources: Vec<SourceStanding>,
}

/// A change of a limit, as it is asked for.
#[derive(Debug, Clone)]
pub struct LimitAsked {
    /// The source; None: all lanes to the destination together.
    pub source: Option<SourceId>,
    /// The destination.
    pub destination: Destination,
    /// The limit it gets.
    pub limit: RateLimit,
    /// Who asks.
    pub by: Author,
    /// Why.
    pub reason: Option<String>,
    /// Whether only to say what would change.
    pub is_plan: bool,
}

/// How a limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitStanding {
    /// The source; None: all lanes to the destination together.
    pub source: Option<SourceId>,
    /// The destination.
    pub destination: Destination,
    /// The revision that changed it; 0: it is as the configuration has it.
    pub revision: Revision,
    /// The limit.
    pub limit: RateLimit,
    /// The limit in the configuration.
    pub configured: RateLimit,
}

/// What the history's seals say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// How many lines there are.
    pub lines: usize,
    /// Which of them, counted from 1, were changed or stand behind one that is gone.
    pub broken: Vec<usize>,
    /// The newest line's seal: whoever notes it elsewhere finds out when all lines are written anew.
    pub seal: Seal,
}

/// What came of other sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconfigured {
    /// The sources that came, went or changed.
    pub changed: Vec<SourceId>,
    /// The revision in force now.
    pub revision: Revision,
    /// Segment keys that stand under another source than before.
    pub moved: Vec<KeyMoved>,
}

/// A source that went, and one that came with a Segment key of it: the same under another name, perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMoved {
    /// The one that went.
    pub from: SourceId,
    /// The one that came.
    pub to: SourceId,
    /// Its name.
    pub to_name: String,
    /// Events that wait for the one that went.
    pub waiting: u64,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FlipError {
    /// There is no such source in the configuration.
    #[error("there is no source {0} in the configuration")]
    UnknownSource(SourceId),
    /// The source is configured, and should not be.
    #[error("{0} is in the configuration")]
    Configured(String),
    /// The source changed since the author looked at it.
    #[error("{name} changed since: it is at revision {}, not {asked}", current.revision)]
    Conflict {
        /// The source's name.
        name: String,
        /// The revision that the author looked at.
        asked: Revision,
        /// How it stands.
        current: Box<SourceStanding>,
        /// What changed it; None when the configuration did.
        change: Option<Box<Change>>,
    },
    /// Segment is not contacted for the source any more.
    #[error("{0} is retired: its events go to RudderStack alone")]
    Retired(String),
    /// RudderStack's share needs its key.
    #[error("{0} has no rudderstack_write_key")]
    NoRudderKey(String),
    /// RudderStack's share needs an address.
    #[error("the configuration has no [rudderstack] url")]
    NoRudderUrl,
    /// Two sources claim one key or id.
    #[error(transparent)]
    Sources(#[from] SourceConflict),
    /// There is nothing to take back.
    #[error("there is no change to undo")]
    NothingToUndo,
    /// There was no such revision yet.
    #[error("there is no revision {0} yet")]
    NoRevision(Revision),
    /// It could not be made durable.
    #[error(transparent)]
    Journal(#[from] ChangeError),
}
