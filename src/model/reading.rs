//! The body of one API call, read once: where its events stand, and what it says about all of them.

use std::borrow::Cow;

use super::{
    Endpoint, EnvelopeId, EventKind, MessageId,
    json::{self, Key, Kind, NotJson, Raw},
};

/// A body whose events have been found. Everything in it is a slice of the body.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// The whole body.
    pub whole: Raw<'a>,
    /// The events, in order. An item that is no object stays in the list: Segment drops it alone, and so must its copy.
    pub items: Vec<Raw<'a>>,
    /// What stood beside the events of a batch; of a single call, what stands in the event itself.
    pub frame: Frame<'a>,
    /// The members of all events, one event's after the other's.
    members: Vec<Member<'a>>,
    /// Where each event's members end in `members`.
    ends: Vec<usize>,
}

/// One member of an event: its name and its value.
pub type Member<'a> = (Key<'a>, Raw<'a>);

/// The members of the body that speak for all its events (protocol.md T4). Of repeats the last counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame<'a> {
    /// `sentAt`
    pub sent_at: Option<Raw<'a>>,
    /// `context`; None for a single call, whose own it is.
    pub context: Option<Raw<'a>>,
    /// `integrations`; None for a single call, whose own it is.
    pub integrations: Option<Raw<'a>>,
    /// `writeKey`
    pub write_key: Option<Raw<'a>>,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON.
    #[error(transparent)]
    NotJson(#[from] NotJson),
    /// It is JSON, but no object.
    #[error("the body is no JSON object")]
    NoObject,
    /// It came by a batch path without a `batch` array.
    #[error("the body has no `batch` array")]
    NoBatch,
    /// It has more events, or its events more members, than any vendor takes.
    #[error("the body has more events or members than are read")]
    TooMany,
}

/// Events of a batch that are read: above what is journalled, and far above the 2,500 that Segment takes.
const ITEMS_MAX: usize = 16 << 10;
/// Members of all events of a body that are read. A body of nothing but `"":0,` would take thirteen times its size in memory.
const MEMBERS_MAX: usize = 128 << 10;

/// The members of one event that routing, ordering and joining look at, read in one pass.
#[derive(Debug, Clone, Default)]
pub struct Head<'a> {
    /// `type` when it is one of the six, else the path's.
    pub kind: Option<EventKind>,
    /// `messageId`: a string, or a number's own text (protocol.md T7). None when absent, null, blank or a container.
    pub message_id: Option<Cow<'a, str>>,
    /// `anonymousId`, as `message_id` is read.
    pub anonymous_id: Option<Cow<'a, str>>,
    /// `userId`, as `message_id` is read.
    pub user_id: Option<Cow<'a, str>>,
    /// `writeKey`, which browsers repeat in each event of a batch (protocol.md 1.3).
    pub write_key: Option<Cow<'a, str>>,
}

impl<'a> Reading<'a> {
    /// Reads an inflated body that came by `endpoint`.
    ///
    /// # Errors
    /// When it is not JSON, no object, or lacks the `batch` that its path promises.
    pub fn of(endpoint: Endpoint, body: &'a [u8]) -> Result<Self, ReadError> {
        match endpoint {
            Endpoint::Batch | Endpoint::Import | Endpoint::ClientBatch => Self::of_batch(body),
            Endpoint::Single(_) | Endpoint::ClientSingle(_) | Endpoint::Pixel(_) | Endpoint::Webhook => Self::of_single(body),
        }
    }

    /// The members of the event at `index`, in order, repeats included; none of an item that is no object.
    #[must_use]
    pub fn members(&self, index: usize) -> &[Member<'a>] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.members[start..self.ends[index]]
    }

    fn of_single(body: &'a [u8]) -> Result<Self, ReadError> {
        let mut members = Vec::with_capacity(16);
        let whole = json::parse_visiting(body, |level, key, value| {
            if let (1, Some(key)) = (level, key)
                && members.len() <= MEMBERS_MAX
            {
                members.push((key, value));
            }
        })?;
        if whole.kind() != Kind::Object {
            return Err(ReadError::NoObject);
        }
        if members.len() > MEMBERS_MAX {
            return Err(ReadError::TooMany);
        }
        let mut frame = Frame::default();
        for (key, value) in &members {
            frame.note(*key, *value);
        }
        let frame = Frame { context: None, integrations: None, ..frame };
        Ok(Self { whole, items: vec![whole], frame, ends: vec![members.len()], members })
    }

    fn of_batch(body: &'a [u8]) -> Result<Self, ReadError> {
        // Items of every array of the body are gathered until its name is known; a later `batch` takes an earlier one's place.
        let (mut items, mut members, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let (mut frame, mut batch) = (Frame::default(), None);
        let whole = json::parse_visiting(body, |level, key, value| match (level, key) {
            (3, Some(key)) if members.len() <= MEMBERS_MAX => members.push((key, value)),
            (2, None) if items.len() <= ITEMS_MAX => {
                items.push(value);
                ends.push(members.len());
            }
            (1, Some(key)) => {
                let (items, members, ends) = (std::mem::take(&mut items), std::mem::take(&mut members), std::mem::take(&mut ends));
                if key.is("batch") {
                    batch = (value.kind() == Kind::Array).then_some((items, members, ends));
                } else {
                    frame.note(key, value);
                }
            }
            _ => {}
        })?;
        if whole.kind() != Kind::Object {
            return Err(ReadError::NoObject);
        }
        let (items, members, ends): (Vec<_>, Vec<_>, Vec<_>) = batch.ok_or(ReadError::NoBatch)?;
        if items.len() > ITEMS_MAX || members.len() > MEMBERS_MAX {
            return Err(ReadError::TooMany);
        }
        Ok(Self { whole, items, frame, members, ends })
    }
}

impl<'a> Frame<'a> {
    fn note(&mut self, key: Key<'a>, value: Raw<'a>) {
        match key.name().as_ref() {
            "sentAt" => self.sent_at = Some(value),
            "context" => self.context = Some(value),
            "integrations" => self.integrations = Some(value),
            "writeKey" => self.write_key = Some(value),
            _ => {}
        }
    }
}

impl<'a> Head<'a> {
    /// Reads one event of a request that came by `endpoint`. An item that is no object has an empty head.
    #[must_use]
    pub fn of(item: Raw<'a>, endpoint: Endpoint) -> Self {
        Self::of_members(item.members(), endpoint)
    }

    /// As [`Head::of`], of members that are known already ([`Reading::members`]).
    #[must_use]
    pub fn of_members(members: impl IntoIterator<Item = Member<'a>>, endpoint: Endpoint) -> Self {
        let mut head = Self::default();
        for (key, value) in members {
            match key.name().as_ref() {
                "type" => head.kind = value.string().and_then(|text| EventKind::parse(&text)),
                "messageId" => head.message_id = scalar(value),
                "anonymousId" => head.anonymous_id = scalar(value),
                "userId" => head.user_id = scalar(value),
                "writeKey" => head.write_key = scalar(value),
                _ => {}
            }
        }
        head.kind = head.kind.or(endpoint.kind());
        head
    }

    /// The event's messageId in both copies: its own, or the one that segue assigns (protocol.md T7).
    #[must_use]
    pub fn message_id(&self, envelope: EnvelopeId, index: usize) -> Cow<'_, str> {
        match &self.message_id {
            Some(own) => Cow::Borrowed(own),
            None => Cow::Owned(MessageId::assigned(envelope, index).as_str().to_owned()),
        }
    }
}

/// A string that is not blank (RudderStack replaces a blank messageId by one of its own), or the text of a number.
fn scalar(value: Raw<'_>) -> Option<Cow<'_, str>> {
    match value.kind() {
        Kind::String => value.string().filter(|text| !text.trim().is_empty()),
        Kind::Number => Some(Cow::Borrowed(value.text())),
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_its_items_and_a_frame() {
        let body = br#"{"batch":[{"type":"track","userId":7},3],"sentAt":"a","sentAt":"b","context":{"x":1},"writeKey":"k"}"#;
        let reading = Reading::of(Endpoint::Batch, body).unwrap();
        assert_eq!(reading.items.len(), 2);
        assert_eq!(reading.frame.sent_at.map(Raw::text), Some("\"b\""), "of repeats the last counts");
        assert_eq!(reading.frame.context.map(Raw::text), Some("{\"x\":1}"));
        let head = Head::of(reading.items[0], Endpoint::Batch);
        assert_eq!((head.kind, head.user_id.as_deref()), (Some(EventKind::Track), Some("7")));
        assert_eq!(head.message_id(EnvelopeId(1), 0), "segue-00000000000000000000000000000001-0");
    }

    #[test]
    fn members_are_those_of_each_event() {
        let body = br#"{"other":[{"no":0}],"batch":[{"old":0}],"batch":[{"a":1,"b":{"c":2}},3,{"d":[4]},{}],"x":[5]}"#;
        let reading = Reading::of(Endpoint::Batch, body).unwrap();
        assert_eq!(reading.items.len(), 4);
        for (index, item) in reading.items.iter().enumerate() {
            assert_eq!(reading.members(index), item.members().collect::<Vec<_>>(), "item {index}");
        }
    }

    #[test]
    fn a_single_call_is_its_own_event() {
        let reading = Reading::of(Endpoint::ClientSingle(EventKind::Page), br#"{"context":{},"messageId":"m"}"#).unwrap();
        assert!(reading.frame.context.is_none());
        let head = Head::of(reading.items[0], Endpoint::ClientSingle(EventKind::Page));
        assert_eq!((head.kind, head.message_id.as_deref()), (Some(EventKind::Page), Some("m")));
    }

    #[test]
    fn what_is_no_call_says_why() {
        assert!(matches!(Reading::of(Endpoint::Batch, b"{"), Err(ReadError::NotJson(_))));
        assert!(matches!(Reading::of(Endpoint::Batch, b"[]"), Err(ReadError::NoObject)));
        assert!(matches!(Reading::of(Endpoint::Batch, b"{}"), Err(ReadError::NoBatch)));
        assert!(matches!(Reading::of(Endpoint::ClientBatch, br#"{"batch":{}}"#), Err(ReadError::NoBatch)));
    }

    #[test]
    fn no_more_is_read_than_any_vendor_takes() {
        let batch = |items: usize| format!(r#"{{"other":[{}0],"batch":[{}{{}}]}}"#, "0,".repeat(ITEMS_MAX), "{},".repeat(items - 1));
        assert_eq!(Reading::of(Endpoint::Batch, batch(ITEMS_MAX).as_bytes()).unwrap().items.len(), ITEMS_MAX);
        assert!(matches!(Reading::of(Endpoint::Batch, batch(ITEMS_MAX + 1).as_bytes()), Err(ReadError::TooMany)));
        let single = |members: usize| format!(r#"{{{}"":0}}"#, r#""":0,"#.repeat(members - 1));
        let endpoint = Endpoint::Single(EventKind::Track);
        assert!(Reading::of(endpoint, single(MEMBERS_MAX).as_bytes()).is_ok());
        assert!(matches!(Reading::of(endpoint, single(MEMBERS_MAX + 1).as_bytes()), Err(ReadError::TooMany)));
        let in_batch = format!(r#"{{"batch":[{}]}}"#, single(MEMBERS_MAX + 1));
        assert!(matches!(Reading::of(Endpoint::Batch, in_batch.as_bytes()), Err(ReadError::TooMany)));
    }
}
