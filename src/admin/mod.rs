//! The admin API: HTTP and JSON on a unix socket, for the command line and the dashboard.
//!
//! It owns the socket. It answers root, its own user and the groups that the configuration lets in, each as far as its role goes; its requests, bodies, connections and times are bounded, so
//! that nothing that happens here reaches the way of an event. It never tells a write key, and every change is in the log
//! with the user who asked for it.

mod answer;
mod caller;
mod evidence;
mod extract;
mod impact;
mod lanes;
mod limits;
mod mask;
mod predictions;
mod purge;
mod quarantine;
mod ramps;
mod rates;
mod replays;
mod retirement;
mod router;
mod routes;
mod sent;
mod series;
mod server;
mod socket;
mod status;
mod stream;
mod tapped;
mod versions;

pub use server::{AdminServer, Hub, Live};
pub use socket::SocketError;
