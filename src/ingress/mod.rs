//! The way in: from a client's connection to the answer it hears.
//!
//! Owns the listeners and every byte that clients send. Promises: `{"success":true}` is said only after the journal has the
//! events on disk (or Segment has answered itself); no client's bytes are streamed on, every request upstream is built
//! anew; every limit refuses or closes and none grows memory. Never waits for RudderStack, and never for Segment longer
//! than `relay_timeout`.
//!
//! `listener` accepts and `room` gives places, `opening` waits for the first words, `connection` speaks HTTP and `standing` knows when it has to go, `framing` refuses
//! what could mean two things, `request` decides what is asked and journals it, `pass` and `relay` ask Segment live, `page`
//! serves settings and scripts. `hooks` takes what vendors post.

mod bodies;
mod body;
mod client_ip;
mod connection;
mod counters;
mod decided;
mod descriptors;
mod enrolled;
mod framing;
mod head_guard;
mod hooks;
mod leak;
mod listener;
mod metered;
mod opening;
mod page;
mod pass;
mod relay;
mod request;
mod room;
mod settings;
mod standing;
mod suspension;
mod tapped;

pub use counters::{Count, Counters, SourceCounts};
pub use leak::SettingsFetches;
pub use listener::{Ingress, ListenError};
pub use page::Rests;
pub use relay::Relays;
pub use request::Desk;
pub use settings::{Hooks, Limits, OnFull, Settings};
pub use suspension::Suspensions;
