//! RudderStack's dialect: how the RudderStack copy of one event is made (design promise 5, protocol.md section 3).

mod context;
mod draft;
mod ids;
mod integrations;
mod object;
mod rules;
mod settings;
#[cfg(test)]
mod tests;
mod times;
mod translate;

pub use rules::{Rule, Rules};
pub use settings::{Idless, Ipv6, Settings, Traits};
pub use translate::{Facts, Refusal, Translation, translate};
