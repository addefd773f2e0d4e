//! RudderStack's dialect: how the RudderStack copy of one event is made (design promise 5, protocol.md section 3).

mod rules;
mod settings;
mod translate;

pub use rules::{Rule, Rules};
pub use settings::{Idless, Ipv6, Settings, Traits};
pub use translate::{Facts, Refusal, Translation, translate};
