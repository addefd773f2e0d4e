//! Which events go where: sources, routes, buckets and the decision.
//!
//! Pure: a decision depends on the routes and the events it is given, on nothing else.

mod change;
mod decide;
mod history;
mod replay;
mod route;
mod rule;
mod source;
mod version;

pub use change::{Author, Change, Deed, FindingDecision, FindingVerb, Sifted};
pub use decide::{Bucket, Inquiry, Person, decide, unversioned};
pub use history::{History, Seal};
pub use replay::{Replay, Step, Which};
pub use route::{Route, RouteError, Stage};
pub use rule::{Conditions, Facts, Match, Pattern, Rule, Software};
pub use source::{Region, Source, SourceConflict, Sources};
pub use version::{RangeError, Version, VersionRange};
