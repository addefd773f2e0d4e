//! `segue top`: the dashboard in a terminal. A client of the admin API and nothing else.
//!
//! News and keys change the state ([`app`]), which says what has to be done outside ([`run`]) and is drawn when it changed
//! ([`screen`]). What is shown is what the sidecar said, greyed and dated once it says nothing more.

mod app;
mod changing;
mod control;
mod copying;
mod data;
mod dialog;
mod feed;
mod figure;
mod graph;
mod input;
mod keys;
mod look;
mod palette;
mod question;
#[cfg(test)]
mod ramp_tests;
mod run;
mod screen;
mod table;
mod tapped;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod track;
#[cfg(test)]
mod trial;

pub use keys::documentation;
pub use look::{Look, Palette, Signs};
pub use run::{Options, TopError, run};
