//! Which events go where: sources, routes, buckets and the decision.
//!
//! Pure: a decision depends on the routes and the events it is given, on nothing else.

mod change;
mod decide;
mod history;
mod route;
mod source;

pub use change::{Author, Change, Deed};
pub use decide::{Bucket, Inquiry, Person, decide};
pub use history::{History, Seal};
pub use route::{Route, RouteError, Stage};
pub use source::{Region, Source, SourceConflict, Sources};
