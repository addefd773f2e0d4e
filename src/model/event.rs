//! What an event is.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{EnvelopeId, SourceId};

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

/// What an event is known by where very many are remembered: 128 bits of the SHA-256 of its messageId, mixed with its source's, as
/// two sources may use one id. Nobody finds two ids with one print, or one with somebody else's, at a price worth paying, so no
/// event can be passed off as the resend of another. The same in every process and after every restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessagePrint(u128);

impl MessagePrint {
    /// The print of a messageId, whatever its source.
    #[must_use]
    pub fn of(message_id: &str) -> Self {
        Self(half_of_sha256(message_id))
    }

    /// The print of the same messageId in that source.
    #[must_use]
    pub fn within(self, source: SourcePrint) -> u128 {
        self.0 ^ source.0
    }
}

/// What tells the messageIds of sources apart; made once for a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourcePrint(u128);

impl SourcePrint {
    /// The print of a source.
    #[must_use]
    pub fn of(source: &SourceId) -> Self {
        Self(half_of_sha256(source.as_str()))
    }
}

fn half_of_sha256(text: &str) -> u128 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let (half, _) = digest.split_at(16);
    half.iter().fold(0, |bits, byte| (bits << 8) | u128::from(*byte))
}
