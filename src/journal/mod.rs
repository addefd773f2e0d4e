//! (under construction)

mod settings;

pub use settings::Settings;
