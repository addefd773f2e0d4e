//! (under construction)

mod settings;

pub use settings::{Limits, OnFull, Settings};
