//! One event, from Segment's form to RudderStack's.

use std::net::IpAddr;

use super::{
    Rule, Rules, Settings, context,
    draft::{Draft, Field},
    ids, integrations, times,
};
use crate::model::{
    Endpoint, Envelope, EnvelopeId, Frame, MessagePrint, WallTime,
    json::{Kind, Raw},
};

/// What the copy of an event depends on besides the event.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The envelope that it came in.
    pub envelope: EnvelopeId,
    /// Its place there; 0 is the first.
    pub index: usize,
    /// When segue had the request.
    pub received_at: WallTime,
    /// Which API call it came by.
    pub endpoint: Endpoint,
    /// The client's public address; None when it is unknown, private or loopback.
    pub client_ip: Option<IpAddr>,
    /// What the body says about all its events.
    pub frame: Frame<'a>,
}

/// The RudderStack copy of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// The event: one JSON object, an item for `/v1/batch`.
    pub json: Vec<u8>,
    /// The print of its messageId.
    pub message: MessagePrint,
    /// The rules that changed it.
    pub rules: Rules,
    /// The rules that found something which they leave as it is: a batch-level member too large to fold in (T4), an overlong
    /// messageId (T7), an event over 32 KB (T10), an IPv6 address left out (T14), integrations without end (T15), ids that
    /// are no strings (T22).
    pub noticed: Rules,
}

/// Why an event has no RudderStack copy. RudderStack would refuse it for good, and its whole batch with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It has neither a userId nor an anonymousId (protocol.md T5).
    #[error("request neither has anonymousId nor userId")]
    NoId,
    /// It is no JSON object (protocol.md 2.3).
    #[error("event is not a valid rudder event")]
    NotObject,
    /// It is no event but Segment's word that a user was deleted (protocol.md 4.1): RudderStack is told so by its own API.
    #[error("a deletion of a user, which is no event")]
    Deletion,
}

impl Refusal {
    /// The reason in RudderStack's words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoId => "request neither has anonymousId nor userId",
            Self::NotObject => "event is not a valid rudder event",
            Self::Deletion => "Segment deleted this user: tell RudderStack by its user suppression API, then release this entry",
        }
    }

    /// Segment's code for dropping the same event (protocol.md 1.6); None where it publishes none.
    #[must_use]
    pub const fn segment_code(self) -> Option<&'static str> {
        match self {
            Self::NoId => Some("no_user_anon_id"),
            Self::NotObject | Self::Deletion => None,
        }
    }
}

impl<'a> Facts<'a> {
    /// The facts of the event at `index` of an envelope whose body has that frame.
    #[must_use]
    pub const fn of(envelope: &Envelope, index: usize, frame: Frame<'a>) -> Self {
        Self {
            envelope: envelope.id,
            index,
            received_at: envelope.received_at,
            endpoint: envelope.endpoint,
            client_ip: envelope.client_ip,
            frame,
        }
    }
}

fn is_deletion(draft: &Draft<'_>) -> bool {
    draft.get(Field::Type).and_then(Raw::string).is_some_and(|kind| kind == "delete")
}

/// Segment's limit for one event, in bytes (protocol.md 1.5).
const EVENT_BYTES_MAX: usize = 32 * 1024;

/// What the copy may be longer than the event, in bytes, before its buffer has to grow: the times, the channel, an IP, the
/// default of integrations.
const ADDED_BYTES: usize = 320;

/// Makes the RudderStack copy of one event. Pure: the same arguments give the same bytes, at every retry and replay.
///
/// # Errors
/// When RudderStack would refuse the event for good.
pub fn translate(item: Raw<'_>, facts: &Facts<'_>, settings: &Settings) -> Result<Translation, Refusal> {
    if item.kind() != Kind::Object {
        return Err(Refusal::NotObject);
    }
    let mut draft = Draft::of(item);
    if facts.endpoint == Endpoint::Webhook && is_deletion(&draft) {
        return Err(Refusal::Deletion);
    }
    ids::settle(&mut draft, facts, *settings)?;
    let message = ids::name(&mut draft, facts);
    let kind = ids::complete(&mut draft, facts);
    if facts.endpoint == Endpoint::Webhook {
        // Segment has corrected the times and taken the address from the connection where it does (T2, T3, T13); what it calls the
        // channel is another thing than RudderStack's (T23).
        for (field, rule) in SEGMENTS_OWN {
            draft.remove(field, rule);
        }
    } else {
        times::compute(&mut draft, facts);
        context::settle(&mut draft, facts, *settings, kind);
    }
    integrations::settle(&mut draft, facts);
    for (field, rule) in STRIPPED {
        draft.remove(field, rule);
    }
    if matches!(facts.endpoint, Endpoint::Pixel(_)) {
        draft.rules.insert(Rule::PIXEL);
    }
    if item.text().len() > EVENT_BYTES_MAX {
        draft.noticed.insert(Rule::SIZE);
    }
    let (rules, noticed) = (draft.rules, draft.noticed);
    Ok(Translation { json: draft.write(item.text().len() + ADDED_BYTES), message, rules, noticed })
}

/// What Segment adds to an event for itself before it passes it on (protocol.md 4.3).
const SEGMENTS_OWN: [(Field, Rule); 4] = [
    (Field::Version, Rule::RESERVED),
    (Field::ProjectId, Rule::RESERVED),
    (Field::SegmentMetadata, Rule::METADATA),
    (Field::Channel, Rule::CHANNEL),
];

/// What RudderStack shall not see: the client's key, what SDKs say about themselves, and the members that RudderStack
/// would take for its own (a `request_ip` even spreads over the rest of its batch, protocol.md 2.4).
const STRIPPED: [(Field, Rule); 5] = [
    (Field::WriteKey, Rule::WRITE_KEY),
    (Field::Metadata, Rule::METADATA),
    (Field::RequestIp, Rule::RESERVED),
    (Field::RudderId, Rule::RESERVED),
    (Field::ReceivedAt, Rule::RESERVED),
];
