//! RudderStack's dialect: how the RudderStack copy of one event is made (design promise 5).
//!
//! [`translate()`] is a pure function of the event, the facts of its envelope and the settings of its source; it says which of
//! the rules T1 to T33 of protocol.md section 3 it applied, which is the event's "sent" diff. What needs no change is copied
//! as text: big integers, the order of keys, number text and escapes stay the client's. It never reads a clock, never fails
//! on an event that RudderStack would take, and never lets one through that would cost its batch a 400.
//!
//! # Where each rule is held
//!
//! | rule | here | elsewhere |
//! |---|---|---|
//! | T1 success body | | `protocol`: the answers |
//! | T2 times at arrival, T3 clock skew | `times` | `protocol`: the same for Segment's copy when it is late |
//! | T4 batch-level members | `times`, `context`, `integrations` | |
//! | T5 event without ids | `ids`, [`Refusal::NoId`], [`Idless`] | `delivery`: bisects a 400, quarantines |
//! | T6 dropped by Segment alone | | `forecast`: told at arrival |
//! | T7 messageId | `ids` | `protocol`: the same id in Segment's copy |
//! | T8 paths | `ids`: the type | `protocol`: the paths; `delivery`: posts to `/v1/batch` alone |
//! | T9 keys | [`translate()`]: stripped | `delivery`: Basic, from the source's RudderStack key |
//! | T10 sizes | [`translate()`]: noticed | `delivery`: batches, splits on 413; `forecast`: told at arrival |
//! | T11 over 2500 events | | `forecast`: told at arrival |
//! | T12 compression | | `ingress`: inflates with a cap; `delivery`: deflates |
//! | T13 client IP, T14 IPv6 | `context`, [`Ipv6`] | `protocol`: the same for Segment's copy; `delivery`: X-Forwarded-For |
//! | T15 integrations | `integrations` | |
//! | T16 import path | | `delivery`: posts to `/v1/batch` alone |
//! | T17 SDK metadata | [`translate()`]: `_metadata` stripped | `ingress`: `/v1/m` is never journalled |
//! | T18 pixel | [`translate()`]: an event like others | `protocol`: reads the query; `ingress`: answers the gif |
//! | T19 traits | `context`, [`Traits`] | |
//! | T20 previousId, T21 null ids, T22 numeric ids | `ids` | |
//! | T23 channel | `context` | |
//! | T24 reserved keys | [`translate()`] | |
//! | T25 order per user | | `delivery`: lanes, the `AnonymousId` header |
//! | T26 deduplication | | `delivery`: each messageId once within a window; replay passes it |
//! | T27 retries | | `policy`: backoff, breaker |
//! | T28 invalid key | | `policy`: 401 and 404 park the lane; no client hears of them |
//! | T29 double path | | README: one path for each source |
//! | T30 old events | `times`: the event's time is kept, `receivedAt` stripped | README: RudderStack's own arrival |
//! | T31 repeated keys, number text | `object`, `draft` | |
//! | T32 client answer | | `ingress`, `protocol`: 200 once durable |
//! | T33 consent, tracking plans | | README: not bridged |

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

/// RudderStack's names of a destination that Segment calls so (protocol.md T15); none: it is called the same.
#[must_use]
pub fn integration_names(name: &str) -> Vec<String> {
    integrations::names_of(name).unwrap_or_default().into_iter().map(std::borrow::Cow::into_owned).collect()
}

pub use rules::{Rule, Rules};
pub use settings::{Idless, Ipv6, Settings, Traits};
pub use translate::{Facts, Refusal, Translation, translate};
