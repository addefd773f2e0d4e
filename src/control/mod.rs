//! Routes that change while the sidecar runs: one switchboard for all changes, and the kill switch.
//!
//! Owns the history of changes and what is in force. It promises that a change is durable before it is in force, and in force
//! before it is confirmed; that two changes never happen at once; and that a change of a source that changed since it was looked at
//! is refused. It never touches what was journalled before.

mod attribution;
mod findings;
mod kill_file;
mod lanes;
mod purge;
mod ramp_turns;
mod ramps;
mod recent;
mod reload;
mod replay_run;
mod replay_scan;
mod replays;
mod retire;
mod sent;
mod standing;
mod switchboard;
mod watch;

pub use findings::{decide_finding, restore_findings};
pub use kill_file::{KillFile, POLL_INTERVAL};
pub use purge::{PurgeAsked, Purged};
pub use ramp_turns::{RampAsked, RampPlanned, RampRefused};
pub use ramps::{RampStanding, Ramps, ReadGates, WeakRamps};
pub use recent::{Recent, app_of};
pub use reload::{Read, Refusal, ReloadError, Reloaded, Reloader, Reread};
pub use replay_scan::Found;
pub use replays::{ReplayError, ReplayStanding, ReplayState, Replayer, WeakReplayer};
pub use sent::{DiffGroup, SentDifference, SentDiffs, SentEvent};
pub use standing::{
    Asked, Audit, FlipError, Flipped, KeyMoved, LimitAsked, LimitStanding, Reconfigured, Retiring, SourceStanding, Standing, Undoing,
};
pub use switchboard::{Kill, Switchboard};
pub use watch::ConfigWatch;
