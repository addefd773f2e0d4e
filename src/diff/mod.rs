//! Where two JSON values differ, and what of that is worth a look.
//!
//! Two questions, two answers:
//!
//! - *What did segue send to each side?* [`compare`] tells every place where two texts differ, and judges nothing: each difference was
//!   made by segue, and the caller says by which rule.
//! - *What did the vendors make of it?* [`emitted`] compares what both passed on for one event, as the taps caught it. Segment and
//!   RudderStack differ in dozens of places for every event, by design; that is *noise*, and what is left are *mismatches*.
//!
//! [`Noise`] holds what counts as noise for one source: the list of protocol.md 5, always, and what people said
//! about their own events ([`NoiseRule`]). Nothing is dropped silently: whatever is taken for noise is counted with its [`Reason`].
//!
//! Both walk the texts themselves ([`crate::model::json`]): big integers and long decimals are what they are written as, and never go
//! through a double. The order of members counts for nothing, of repeated members the last counts (protocol.md T31), items of arrays are compared by
//! their place. Depth, the number of differences told and the length of a path are bounded, and the work is linear in the texts: both may come
//! from somebody who means harm.
//!
//! Nothing here reads a clock, and nothing is remembered from one event to the next: counting over events is the caller's.

mod emitted;
#[cfg(test)]
mod emitted_tests;
mod expected;
mod integrations;
mod mismatch;
mod noise;
#[cfg(test)]
mod noise_tests;
mod number;
mod pattern;
mod place;
mod print;
mod sent;
mod walk;

pub use emitted::{Arrival, Comparison, Pair, emitted};
pub use mismatch::{Mismatch, MismatchKind, UnknownMismatchKind};
pub use noise::{Noise, NoiseAt, NoiseHit, NoiseRule, Origin, Reason, Scope, TooManyRules, Treatment, UnknownReason};
pub use pattern::{Pattern, PatternError};
pub use sent::{Difference, DifferenceKind, compare};
