//! The whole pipeline in virtual time: clients, the sidecar, both vendors and a disk in one thread, with everything that goes
//! wrong drawn from a seed (reliability.md P13). Only in test builds.
//!
//! What is real: the ingress from HTTP on, routing, the journal but for its threads, delivery, the dialect, the upstream client
//! but for TCP and TLS, and the stand-ins that play the vendors. What is played: the network (`pipe`, `network`), the disk
//! ([`crate::journal`]'s model, which loses what was not synced), time (tokio's, paused), and the apps (`client`).
//!
//! A run is a function of its seed: the same seed gives the same trace. `SEGUE_SEED=n` replays one and prints its trace,
//! `SEGUE_SIM_SEEDS=n` tries so many. A seed that failed once stands in `regression_seeds.txt` and is run every time.

mod client;
mod facts;
mod mutant_tests;
mod network;
mod oracle;
mod outage_tests;
mod pipe;
mod script;
mod site;
mod tests;
mod trace;
mod weather;
mod world;
