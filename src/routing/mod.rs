//! Which events go where: sources, routes, buckets and the decision; and how routes change, by hand or by a ramp.
//!
//! Pure: a decision depends on the routes and the events it is given, on nothing else.

mod change;
mod decide;
mod gates;
mod history;
mod pilot;
mod ramp;
mod replay;
mod route;
mod rule;
mod source;
mod version;

pub use change::{Author, Change, Deed, FindingDecision, FindingVerb, Sifted};
pub use decide::{Bucket, Inquiry, Person, decide, unversioned};
pub use gates::{Gate, GateError, GateReading, GateStanding, GateWatch, Gates, ParityReading, Requests};
pub use history::{History, Seal};
pub use pilot::{Pilot, Verdict};
pub use ramp::{Course, CourseState, End, OnRed, Pause, Ramp, RampError, RampKind, RampMove};
pub use replay::{Replay, Step, Which};
pub use route::{Route, RouteError, Stage};
pub use rule::{Conditions, Facts, Match, Pattern, Rule, Software, platform};
pub use source::{Region, Source, SourceConflict, Sources};
pub use version::{RangeError, Version, VersionRange};
