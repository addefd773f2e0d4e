//! What RudderStack refuses (protocol.md 2.3, 2.4).
//!
//! segue makes requests of its own for it, so only what is wrong with one event counts: a batch has no limits of the client's.

use super::EVENT_BYTES_MAX;
use crate::model::{
    Head,
    json::{Kind, Raw},
};

/// The largest request, in bytes of JSON (protocol.md 2.3, `maxReqSizeInKB`). An event that is larger fits in none.
pub const REQUEST_BYTES_MAX: usize = 4_000 << 10;
/// The most levels of objects and arrays in an event, itself included (protocol.md 2.3: documented, not seen in the open gateway).
pub const DEPTH_MAX: usize = 200;

/// Why RudderStack will refuse an event, or is documented to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It is no object (2.3: `event is not a valid rudder event`).
    NotObject,
    /// Neither its userId nor its anonymousId says anything (T5). A number does; a blank text does not.
    NoIds,
    /// More than [`REQUEST_BYTES_MAX`].
    RequestTooLarge,
    /// More than [`EVENT_BYTES_MAX`]: documented for the hosted service, and not enforced by the open gateway (T10).
    EventTooLarge,
    /// More than [`DEPTH_MAX`] levels.
    TooDeep,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::NotObject, Self::NoIds, Self::RequestTooLarge, Self::EventTooLarge, Self::TooDeep];

    /// A word of ours: RudderStack answers with sentences.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotObject => "not_an_object",
            Self::NoIds => "no_ids",
            Self::RequestTooLarge => "request_too_large",
            Self::EventTooLarge => "event_too_large",
            Self::TooDeep => "too_deep",
        }
    }

    /// The member of the event that is at fault; of its size and depth, the whole.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::NoIds => "userId, anonymousId",
            Self::NotObject | Self::RequestTooLarge | Self::EventTooLarge | Self::TooDeep => "the event",
        }
    }
}

/// The reason for which RudderStack will refuse an event; None when it breaks no published rule.
#[must_use]
pub fn refusal(item: Raw<'_>) -> Option<Refusal> {
    let ids = ["userId", "anonymousId"];
    judge(item, || ids.into_iter().any(|id| item.get(id).is_some_and(says_something)))
}

/// As [`refusal`], of an item whose head was read already.
#[must_use]
pub fn refusal_of(item: Raw<'_>, head: &Head<'_>) -> Option<Refusal> {
    // What a head takes for an id, the gateway takes; the other way round there is a little more.
    if head.user_id.is_some() || head.anonymous_id.is_some() { judge(item, || true) } else { refusal(item) }
}

fn judge(item: Raw<'_>, has_ids: impl FnOnce() -> bool) -> Option<Refusal> {
    if item.kind() != Kind::Object {
        return Some(Refusal::NotObject);
    }
    let bytes = item.text().len();
    if !has_ids() {
        Some(Refusal::NoIds)
    } else if bytes > REQUEST_BYTES_MAX {
        Some(Refusal::RequestTooLarge)
    } else if bytes > EVENT_BYTES_MAX {
        Some(Refusal::EventTooLarge)
    } else if is_deep(item.text()) {
        Some(Refusal::TooDeep)
    } else {
        None
    }
}

/// As the gateway reads ids: anything but null is made a text and trimmed (2.4).
fn says_something(id: Raw<'_>) -> bool {
    match id.kind() {
        Kind::Null => false,
        Kind::String => id.string().is_some_and(|text| !text.trim().is_empty()),
        Kind::Bool | Kind::Number | Kind::Array | Kind::Object => true,
    }
}

/// Whether a valid JSON text has more than [`DEPTH_MAX`] levels.
fn is_deep(text: &str) -> bool {
    // Nearly no text has so many brackets at all, in strings or out of them.
    if memchr::memchr2_iter(b'{', b'[', text.as_bytes()).nth(DEPTH_MAX).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            (in_string, escaped) = match byte {
                _ if escaped => (true, false),
                b'\\' => (true, true),
                _ => (byte != b'"', false),
            };
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, json::parse};

    fn code(item: &str) -> Option<&'static str> {
        refusal(parse(item.as_bytes()).unwrap()).map(Refusal::code)
    }

    #[test]
    fn t05_events_of_nobody_are_refused_and_numbers_are_somebody() {
        for (item, want) in [
            (r#"{"event":"e"}"#, Some("no_ids")),
            (r#"{"userId":null,"anonymousId":" \t"}"#, Some("no_ids")),
            (r#"{"userId":"u","userId":""}"#, Some("no_ids")),
            (r#"{"userId":7}"#, None),
            (r#"{"anonymousId":"a"}"#, None),
            ("3", Some("not_an_object")),
        ] {
            assert_eq!(code(item), want, "{item}");
            let raw = parse(item.as_bytes()).unwrap();
            assert_eq!(refusal_of(raw, &Head::of(raw, Endpoint::Batch)).map(Refusal::code), want, "{item} by its head");
        }
    }

    #[test]
    fn t10_an_event_is_too_large_for_the_hosted_service_or_for_any() {
        let of = |bytes: usize| format!(r#"{{"userId":"u","p":"{}"}}"#, "x".repeat(bytes));
        assert_eq!(code(&of(EVENT_BYTES_MAX - 22)), None);
        assert_eq!(code(&of(EVENT_BYTES_MAX)), Some("event_too_large"));
        assert_eq!(code(&of(REQUEST_BYTES_MAX)), Some("request_too_large"));
    }

    #[test]
    fn levels_are_counted_outside_of_strings() {
        let of = |levels: usize, text: &str| format!(r#"{{"userId":"u","t":"{text}","p":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(code(&of(DEPTH_MAX - 1, "")), None);
        assert_eq!(code(&of(DEPTH_MAX, "")), Some("too_deep"));
        assert_eq!(code(&of(DEPTH_MAX, r#"\\\"]]"#)), Some("too_deep"));
        assert_eq!(code(&of(3, &r#"[{\"["#.repeat(200))), None, "brackets in a text are no levels");
    }

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let codes: std::collections::HashSet<_> = Refusal::ALL.into_iter().map(Refusal::code).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
    }
}
