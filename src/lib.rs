//! segue: a sidecar that an app talks to instead of Segment.
//!
//! It terminates TLS, keeps every analytics event on disk before it says yes, and delivers it to Segment, to
//! RudderStack or to both, as each source's route says.
//!
//! # The house
//!
//! A module imports from lower floors only, never from its own; `tests/house.rs` holds that line.
//!
//! | floor | modules | may do |
//! |---|---|---|
//! | 0 words | [`model`] | plain data; no I/O, no tokio, no clock |
//! | 1 rules | [`protocol`] (Segment's API) [`dialect`] (RudderStack's) [`routing`] [`policy`] [`diff`] [`forecast`] (what each vendor will make of an event) [`parity`] (how sure is a share) [`wire`] (what the admin API says) | decide; pure: time and randomness are arguments |
//! | 2 resources | [`census`] (who events come from, what is foretold of them) [`chance`] [`clock`] [`evidence`] (what both sides made of events) [`journal`] [`shelf`] (what Segment's CDN served last) [`tap`] (events as they pass) [`tls`] [`telemetry`] [`upstream`] [`client`] (of the admin API) | own one outside thing each |
//! | 3 flows | [`ingress`] [`delivery`] | move events from one resource to another; they meet at the journal |
//! | 4 settings | [`config`] [`control`] (routes that change while running) | compose every module's own `Settings`; load, check |
//! | 5 control | [`admin`] | show and change the running system |
//! | 6 whole | [`app`] [`standin`] | the running sidecar; the two vendors, played for demos and tests |
//! | 7 shows | [`demo`] [`simulation`] [`tui`] | sidecar, stand-ins and traffic in one process; the same in virtual time, for tests; the dashboard |
//! | 8 faces | [`cli`] | talk to people |
//!
//! [`simulation`]: # "only in test builds"
//!
//! # Words
//!
//! *source*: a Segment source, with its write keys and its route. *destination*: Segment or RudderStack. *event*: one
//! track, identify, page, screen, group or alias call. *envelope*: one accepted HTTP request with its events. *plan*: which
//! events of an envelope go to which destination, and the *revision* of the routes it was decided under. *journal*,
//! *volume*, *record*, *position*: the durable log, one file of it, one entry, its place. *lane*: the queue of one
//! (source, destination). *verdict*: what an upstream's answer means. *park*: a lane stopped by a fault of
//! configuration. *hold*: a lane stopped by an operator; a *deferred* lane waits because its destination asked for it (`Retry-After`).
//! *quarantine*: events that a destination refuses for good, kept with the reason; *re-driven*, they are sent again, *released*, given up.

pub mod admin;
pub mod app;
pub mod census;
pub mod chance;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
pub mod delivery;
pub mod demo;
pub mod dialect;
pub mod diff;
pub mod evidence;
pub mod forecast;
pub mod ingress;
pub mod journal;
pub mod model;
pub mod parity;
pub mod policy;
pub mod protocol;
pub mod routing;
pub mod shelf;
#[cfg(test)]
pub mod simulation;
pub mod standin;
pub mod tap;
pub mod telemetry;
pub mod tls;
pub mod tui;
pub mod upstream;
pub mod wire;
