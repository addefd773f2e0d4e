//! What a vendor made of an event.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a vendor made of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes on to the vendor's destinations.
    Accepted,
    /// The vendor said 200 and dropped it.
    Dropped(DropCode),
}

/// Why Segment drops an event after saying 200 (protocol.md 1.6). RudderStack refuses whole requests instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropCode {
    /// No source has that write key, or one of the other region.
    UnknownSource,
    /// The source is switched off.
    SourceDisabled,
    /// Neither userId nor anonymousId.
    NoUserAnonId,
    /// A userId or anonymousId that is empty or no string.
    IdNotString,
    /// A track call without `event`.
    EventNotDefined,
    /// An `event` that is no string.
    EventNotString,
    /// `properties` that are no object.
    PropertiesNotObject,
    /// `traits` that are no object.
    TraitsNotObject,
    /// A page's or screen's `name` that is no string, or empty.
    NameNotString,
    /// A page's or screen's `category` that is no string, or empty.
    CategoryNotString,
    /// A batch without events; a request's code, never an event's.
    EmptyBatch,
    /// An event above 32 KB inside a batch. The vendor's own word is not known.
    EventTooLarge,
    /// An event of a batch of more than 2500. The vendor's own word is not known.
    BatchTooLong,
    /// An item of a batch without `type` (segment-docs, delivery-overview-discards.html).
    MissingType,
    /// A `type` that is none of the six calls (segment-docs, delivery-overview-discards.html).
    InvalidType,
    /// An item of the batch that is no object. The vendor's own word is not known.
    EventNotObject,
}

impl DropCode {
    /// The vendor's word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::SourceDisabled => "source_disabled",
            Self::NoUserAnonId => "no_user_anon_id",
            Self::IdNotString => "id_not_string",
            Self::EventNotDefined => "event_not_defined",
            Self::EventNotString => "event_not_string",
            Self::PropertiesNotObject => "properties_not_object",
            Self::TraitsNotObject => "traits_not_object",
            Self::NameNotString => "name_not_string",
            Self::CategoryNotString => "category_not_string",
            Self::EmptyBatch => "empty_batch",
            Self::EventTooLarge => "event_too_large",
            Self::BatchTooLong => "batch_too_long",
            Self::MissingType => "missing_type",
            Self::InvalidType => "invalid_type",
            Self::EventNotObject => "event_not_object",
        }
    }
}

impl Verdict {
    /// `accepted`, or the drop code's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Dropped(code) => code.label(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

impl Serialize for DropCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}
