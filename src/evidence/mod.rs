//! Evidence: does RudderStack get what Segment gets?
//!
//! Owns what is known about events after they were sent: the *ledger* (how the events of each source, destination, revision and minute
//! ended), *answers* (what both vendors said to the same event), *emissions* (what both vendors passed on, by their webhooks) and what
//! follows from them: *findings*, classes of differences, and *tallies*, on how many events both sides agree. Never delays an event:
//! whoever tells it something waits for a lock, and for nothing else.
//!
//! # What it rests on
//!
//! - Answers prove little, as Segment says 200 to what it drops. They are joined for each event that is planned for both sides; what
//!   the published rules say that Segment drops counts neither for nor against parity.
//! - Emissions are joined on messageId. That one vendor emitted an event and the other did not is judged when the other has had its
//!   time, and has shown meanwhile that its tap is alive; of a silent tap nothing follows.
//! - After a restart, events that were on their way are not judged by answers; emissions that wait for their twins are still there.
//!
//! # Bounds
//!
//! So many events are followed at one time as the settings say (350 bytes each, 70 MB by default); above that every second one, and so
//! on: a fair sample, which is told. Of those that wait to be delivered only the newest 32,768 are, as a backlog lives on disk. What is
//! remembered of events that are over takes 9 MB at most, samples of findings 16 MiB, the ledger 10 MB. On disk: as many bytes of waiting emissions as the settings say, and the files below.
//!
//! # Files (in `evidence/` in the data directory)
//!
//! | name | what |
//! |---|---|
//! | `ledger.json` `findings.json` `tallies.json` | what is known, saved every ten seconds and at a stop |
//! | `window-<8 hex>.log` | emissions that wait for their twins |
//!
//! A damaged file is put aside as `*.damaged`, and what it knew begins anew; decisions about findings are in the history, not here.

mod answers;
mod bodies;
mod findings;
mod handle;
mod join;
mod judge;
mod keeping;
mod ledger;
mod report;
mod ring;
mod settings;
mod slot;
mod tallies;
#[cfg(test)]
mod tests;
mod words;

pub use answers::{AnswerClass, AnswerCount};
pub use findings::{Decision, DecisionVerb, FindingKey, FindingState, Group, Sample, whole};
pub use handle::{Evidence, Trouble};
pub use report::{Finding, Followed, Parity, Standing, TapStanding};
pub use settings::Settings;
pub use slot::SideAnswer;
pub use tallies::{Agreement, Basis, Tally, Track};
pub use words::{Arrival, Emission, EndSums, Ends, LedgerRow, Sums, Twin};
