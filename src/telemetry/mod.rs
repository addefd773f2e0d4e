//! (under construction)

mod settings;

pub use settings::{LogFormat, Settings};
