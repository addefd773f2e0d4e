//! What an event is.

use std::fmt;

use super::EnvelopeId;

/// The six calls of the Segment spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// Something a user did.
    Track,
    /// Who a user is.
    Identify,
    /// A web page seen.
    Page,
    /// A screen of an app seen.
    Screen,
    /// The company or team a user belongs to.
    Group,
    /// Two ids that are one user.
    Alias,
}

impl EventKind {
    /// All six.
    pub const ALL: [Self; 6] = [Self::Track, Self::Identify, Self::Page, Self::Screen, Self::Group, Self::Alias];

    /// The value of an event's `type`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// Reads a `type`; None for anything that is not exactly one of the six.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == text)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A messageId that segue gave to an event that came without one (protocol.md T7).
///
/// It follows from the envelope's id and the event's place in it, so both copies, every retry and every restart agree on
/// it without a table. 47 characters at most, below Segment's limit of 100.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// The id of the event at `index` (0 is the first) of an envelope.
    #[must_use]
    pub fn assigned(envelope: EnvelopeId, index: usize) -> Self {
        Self(format!("segue-{envelope}-{index}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
