//! Which events go where: sources, routes, buckets and the decision.
//!
//! Pure: a decision depends on the routes and the events it is given, on nothing else.

mod decide;
mod route;
mod source;

pub use decide::{Bucket, Inquiry, Person, decide};
pub use route::{Route, RouteError, Stage};
pub use source::{Region, Source, SourceConflict, Sources};
