//! (under construction)

mod settings;

pub use settings::{Batch, Pace, Settings};
