//! The two vendors, played: Segment's tracking API with its CDN, and RudderStack's gateway.
//!
//! They answer as protocol.md says the real ones do, keep what they took so that a test can ask, and fail on demand. They
//! are an independent oracle: nothing here uses segue's own protocol or dialect. They call nobody but the webhooks that they are given, and listen on
//! loopback unless told otherwise.
//!
//! ```no_run
//! # async fn story() -> std::io::Result<()> {
//! use segue::standin::{Fault, Key, Options, RudderStandin, Rule};
//! let rudder = RudderStandin::start(Options { keys: vec![Key::enabled("wk_test_rudder")], ..Options::default() }).await?;
//! rudder.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
//! let counts = rudder.wait_for(std::time::Duration::from_secs(5), |counts| counts.distinct >= 10).await;
//! assert!(counts.is_ok(), "at {}: {:?}", rudder.url(), rudder.taken().events);
//! rudder.stop().await;
//! # Ok(())
//! # }
//! ```

mod alteration;
mod book;
mod broken;
mod control;
mod counts;
mod encoding;
mod exchange;
mod fault;
mod identity;
mod moment;
mod object;
mod options;
mod query;
mod rudder_answer;
mod rudder_event;
mod rudder_pixel;
mod rudderstack;
mod segment;
mod segment_event;
mod server;
mod service;
mod settings_json;
mod taken;
mod verdict;
mod webhook;
mod wire;

pub use alteration::{Alteration, AlterationId, Change, Which};
pub use counts::Counts;
pub use fault::{Fault, Faults, Rule, RuleId};
pub use options::{Keep, Key, KeyState, Options, Region, SourceKind};
pub use server::{RudderStandin, SegmentStandin, Standin, Vendor, serve};
pub use taken::{Sighting, Taken, TakenEvent, TakenRequest, Times};
pub use verdict::{DropCode, Verdict};
pub use webhook::{Emissions, EmittedCounts, Webhook};
