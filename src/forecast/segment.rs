//! What Segment drops after its 200 (protocol.md 1.5, 1.6).
//!
//! Its limit of 10,000 properties is not looked for: an event with so many is over the limit of its bytes.

use crate::model::{
    Endpoint, EventKind, Member,
    json::{Kind, Raw},
};

/// The largest event, in bytes of JSON (protocol.md 1.5).
pub const EVENT_BYTES_MAX: usize = 32 * 1024;
/// The largest batch request, in bytes of JSON.
pub const BATCH_BYTES_MAX: usize = 500 * 1024;
/// The most events in one batch (T11).
pub const BATCH_EVENTS_MAX: usize = 2_500;

/// Why Segment will drop an event, or a whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Discard {
    /// Neither a userId nor an anonymousId.
    NoUserAnonId,
    /// A userId or anonymousId that is empty or no string (T22).
    IdNotString,
    /// A track call without the name of an event.
    EventNotDefined,
    /// A track call whose `event` is no string.
    EventNotString,
    /// `properties` of a track, page or screen call that are no object.
    PropertiesNotObject,
    /// `traits` of an identify or group call that are no object.
    TraitsNotObject,
    /// The `name` of a page or screen call that is empty or no string.
    NameNotString,
    /// The `category` of a page or screen call that is empty or no string.
    CategoryNotString,
    /// A batch without events.
    EmptyBatch,
    /// An item of a batch that is no object.
    NotObject,
    /// More than [`EVENT_BYTES_MAX`] (T10).
    EventTooLarge,
    /// A batch request of more than [`BATCH_BYTES_MAX`] (T10), which is answered 400.
    BatchTooLarge,
    /// More than [`BATCH_EVENTS_MAX`] in one batch (T11).
    TooManyEvents,
}

impl Discard {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::NoUserAnonId,
        Self::IdNotString,
        Self::EventNotDefined,
        Self::EventNotString,
        Self::PropertiesNotObject,
        Self::TraitsNotObject,
        Self::NameNotString,
        Self::CategoryNotString,
        Self::EmptyBatch,
        Self::NotObject,
        Self::EventTooLarge,
        Self::BatchTooLarge,
        Self::TooManyEvents,
    ];

    /// Segment's code; for the last four, which have none published, a word of ours.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoUserAnonId => "no_user_anon_id",
            Self::IdNotString => "id_not_string",
            Self::EventNotDefined => "event_not_defined",
            Self::EventNotString => "event_not_string",
            Self::PropertiesNotObject => "properties_not_object",
            Self::TraitsNotObject => "traits_not_object",
            Self::NameNotString => "name_not_string",
            Self::CategoryNotString => "category_not_string",
            Self::EmptyBatch => "empty_batch",
            Self::NotObject => "not_an_object",
            Self::EventTooLarge => "event_too_large",
            Self::BatchTooLarge => "batch_too_large",
            Self::TooManyEvents => "too_many_events",
        }
    }

    /// The member of the event that is at fault; of its size and its batch's, the whole.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::NoUserAnonId | Self::IdNotString => "userId, anonymousId",
            Self::EventNotDefined | Self::EventNotString => "event",
            Self::PropertiesNotObject => "properties",
            Self::TraitsNotObject => "traits",
            Self::NameNotString => "name",
            Self::CategoryNotString => "category",
            Self::NotObject | Self::EventTooLarge => "the event",
            Self::EmptyBatch | Self::BatchTooLarge | Self::TooManyEvents => "the batch",
        }
    }
}

/// The members that a rule looks at. Null counts as absent: SDKs send null ids, and Segment takes them.
#[derive(Default)]
struct Call<'a> {
    kind: Option<EventKind>,
    ids: [Option<Raw<'a>>; 2],
    event: Option<Raw<'a>>,
    properties: Option<Raw<'a>>,
    traits: Option<Raw<'a>>,
    name: Option<Raw<'a>>,
    category: Option<Raw<'a>>,
}

/// The reason for which Segment will drop an event that came by `endpoint`; None when it breaks no published rule.
#[must_use]
pub fn discard(item: Raw<'_>, endpoint: Endpoint) -> Option<Discard> {
    discard_of(item, item.members(), endpoint)
}

/// As [`discard`], of an item whose members are known already ([`Reading::members`](crate::model::Reading::members)).
#[must_use]
pub fn discard_of<'a>(item: Raw<'a>, members: impl IntoIterator<Item = Member<'a>>, endpoint: Endpoint) -> Option<Discard> {
    if item.kind() != Kind::Object {
        return Some(Discard::NotObject);
    }
    if item.text().len() > EVENT_BYTES_MAX {
        return Some(Discard::EventTooLarge);
    }
    let call = Call::of(members, endpoint);
    call.identity().or_else(|| call.content())
}

/// The reason for which Segment will drop a whole request of so many events and bytes of JSON; None when it is within the
/// limits. A single call has one event and no limit but the event's own.
#[must_use]
pub const fn discard_request(endpoint: Endpoint, events: usize, inflated_bytes: usize) -> Option<Discard> {
    match endpoint {
        Endpoint::Single(_) | Endpoint::ClientSingle(_) | Endpoint::Pixel(_) | Endpoint::Webhook => None,
        Endpoint::Batch | Endpoint::Import | Endpoint::ClientBatch => {
            if events == 0 {
                Some(Discard::EmptyBatch)
            } else if events > BATCH_EVENTS_MAX {
                Some(Discard::TooManyEvents)
            } else if inflated_bytes > BATCH_BYTES_MAX {
                Some(Discard::BatchTooLarge)
            } else {
                None
            }
        }
    }
}

impl<'a> Call<'a> {
    fn of(members: impl IntoIterator<Item = Member<'a>>, endpoint: Endpoint) -> Self {
        let mut call = Self::default();
        for (key, value) in members {
            let stated = Some(value).filter(|value| !value.is_null());
            match key.name().as_ref() {
                "type" => call.kind = value.string().and_then(|text| EventKind::parse(&text)),
                "userId" => call.ids[0] = stated,
                "anonymousId" => call.ids[1] = stated,
                "event" => call.event = stated,
                "properties" => call.properties = stated,
                "traits" => call.traits = stated,
                "name" => call.name = stated,
                "category" => call.category = stated,
                _ => {}
            }
        }
        call.kind = call.kind.or(endpoint.kind());
        call
    }

    fn identity(&self) -> Option<Discard> {
        let mut ids = self.ids.iter().flatten();
        if ids.clone().all(|id| id.kind() == Kind::String && is_empty(*id)) {
            return Some(Discard::NoUserAnonId);
        }
        ids.any(|id| !is_text(*id)).then_some(Discard::IdNotString)
    }

    fn content(&self) -> Option<Discard> {
        let not = |value: Option<Raw<'_>>, kind: Kind, discard| value.filter(|value| value.kind() != kind).map(|_| discard);
        match self.kind? {
            EventKind::Track => match self.event {
                None => Some(Discard::EventNotDefined),
                Some(name) if name.kind() != Kind::String => Some(Discard::EventNotString),
                Some(name) if is_empty(name) => Some(Discard::EventNotDefined),
                Some(_) => not(self.properties, Kind::Object, Discard::PropertiesNotObject),
            },
            EventKind::Page | EventKind::Screen => {
                let name = self.name.filter(|name| !is_text(*name)).map(|_| Discard::NameNotString);
                name.or_else(|| self.category.filter(|category| !is_text(*category)).map(|_| Discard::CategoryNotString))
                    .or_else(|| not(self.properties, Kind::Object, Discard::PropertiesNotObject))
            }
            EventKind::Identify | EventKind::Group => not(self.traits, Kind::Object, Discard::TraitsNotObject),
            EventKind::Alias => None,
        }
    }
}

/// Whether a value is a string that says something.
fn is_text(value: Raw<'_>) -> bool {
    value.kind() == Kind::String && !is_empty(value)
}

fn is_empty(value: Raw<'_>) -> bool {
    value.text() == "\"\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::json::parse;

    const TRACK: Endpoint = Endpoint::Single(EventKind::Track);

    #[test]
    fn t06_drops_are_predicted_by_segments_codes() {
        let table = [
            (r#"{"event":"e"}"#, Some("no_user_anon_id")),
            (r#"{"event":"e","userId":null,"anonymousId":""}"#, Some("no_user_anon_id")),
            (r#"{"event":"e","userId":"u","anonymousId":null}"#, None),
            (r#"{"event":"e","anonymousId":"a","properties":null}"#, None),
            (r#"{"event":"e","userId":7}"#, Some("id_not_string")),
            (r#"{"event":"e","userId":"","anonymousId":"a"}"#, Some("id_not_string")),
            (r#"{"userId":"u"}"#, Some("event_not_defined")),
            (r#"{"userId":"u","event":""}"#, Some("event_not_defined")),
            (r#"{"userId":"u","event":7}"#, Some("event_not_string")),
            (r#"{"userId":"u","event":"e","properties":[1]}"#, Some("properties_not_object")),
            (r#"{"userId":"u","type":"identify","traits":"x"}"#, Some("traits_not_object")),
            (r#"{"userId":"u","type":"group","traits":{}}"#, None),
            (r#"{"userId":"u","type":"page"}"#, None),
            (r#"{"userId":"u","type":"page","name":""}"#, Some("name_not_string")),
            (r#"{"userId":"u","type":"screen","name":"n","category":3}"#, Some("category_not_string")),
            (r#"{"userId":"u","type":"page","properties":"x"}"#, Some("properties_not_object")),
            (r#"{"userId":"u","type":"alias"}"#, None),
            ("7", Some("not_an_object")),
        ];
        for (item, want) in table {
            assert_eq!(discard(parse(item.as_bytes()).unwrap(), TRACK).map(Discard::code), want, "{item}");
        }
    }

    #[test]
    fn t10_and_t11_limits_are_segments() {
        let large = format!(r#"{{"userId":"u","event":"{}"}}"#, "x".repeat(EVENT_BYTES_MAX));
        assert_eq!(discard(parse(large.as_bytes()).unwrap(), TRACK), Some(Discard::EventTooLarge));
        assert_eq!(discard_request(Endpoint::Batch, 0, 12), Some(Discard::EmptyBatch));
        assert_eq!(discard_request(Endpoint::Import, 2_500, 512_000), None);
        assert_eq!(discard_request(Endpoint::ClientBatch, 2_501, 100), Some(Discard::TooManyEvents));
        assert_eq!(discard_request(Endpoint::Batch, 1, 512_001), Some(Discard::BatchTooLarge));
        assert_eq!(discard_request(TRACK, 1, 1_000_000), None, "the event's own limit speaks for a single call");
    }

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let codes: std::collections::HashSet<_> = Discard::ALL.into_iter().map(Discard::code).collect();
        assert_eq!(codes.len(), Discard::ALL.len());
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_fall(text in r#"[\[\]{}":,a-z0-9 ]{0,40}"#) {
            if let Ok(raw) = parse(text.as_bytes()) {
                let discard = discard(raw, Endpoint::Batch);
                prop_assert!(discard.is_none_or(|discard| Discard::ALL.contains(&discard)));
            }
        }
    }
}
