//! What each vendor will make of an event, by the rules that it has published: known at arrival, days before somebody misses it.
//!
//! Segment says 200 to nearly everything and drops later, silently, what breaks a rule (protocol.md 1.6); RudderStack takes most of
//! that (T6) and refuses other things (2.3). So these events are where the two sides differ for a known reason. Where both take an
//! event, its names may still end in different columns and tables of a warehouse (6). A forecast changes nothing: the event is sent
//! as it is.

mod columns;
mod rudderstack;
mod segment;

pub use columns::{Column, columns};
pub use rudderstack::{DEPTH_MAX, REQUEST_BYTES_MAX, Refusal, refusal, refusal_of};
pub use segment::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Discard, EVENT_BYTES_MAX, discard, discard_of, discard_request};

use crate::model::{Endpoint, json::Raw};

/// What becomes of one event at each vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Why Segment will drop it; None: it breaks no rule that Segment has published.
    pub segment: Option<Discard>,
    /// Why RudderStack will refuse its copy; None: it breaks no rule that RudderStack has published.
    pub rudderstack: Option<Refusal>,
}

/// Foretells one event of a request that came by `endpoint`, with its batch's context folded in or not: no rule looks at that. What
/// is wrong with a whole request, [`discard_request`] tells.
#[must_use]
pub fn predict_pair(item: Raw<'_>, endpoint: Endpoint) -> Forecast {
    Forecast { segment: discard(item, endpoint), rudderstack: refusal(item) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, json::parse};

    #[test]
    fn an_event_may_be_one_vendors_alone() {
        let deep = format!(r#"{{"userId":"u","event":"e","properties":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        let table = [
            (r#"{"event":"e","userId":7}"#, Some("id_not_string"), None),
            (r#"{"event":"e","userId":" "}"#, None, Some("no_ids")),
            (r#"{"event":"e"}"#, Some("no_user_anon_id"), Some("no_ids")),
            (r#"{"event":"e","userId":"u"}"#, None, None),
            (&deep, Some("properties_not_object"), Some("too_deep")),
            ("[]", Some("not_an_object"), Some("not_an_object")),
        ];
        for (item, segment, rudderstack) in table {
            let forecast = predict_pair(parse(item.as_bytes()).unwrap(), Endpoint::Single(EventKind::Track));
            assert_eq!((forecast.segment.map(Discard::code), forecast.rudderstack.map(Refusal::code)), (segment, rudderstack), "{item}");
        }
    }
}
