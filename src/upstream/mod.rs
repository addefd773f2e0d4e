//! (under construction)

mod settings;

pub use settings::{Addresses, Settings};
