//! (under construction)

mod settings;

pub use settings::{Mode, Settings};
