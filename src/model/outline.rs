//! Where the events of a body stand: found once, at arrival, and kept with the envelope, so that delivery needs not look again.

use super::{Frame, Reading, json::Raw};

/// The places of a body's events and of what it says about all of them, in its inflated bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The events, in order.
    pub events: Vec<EventPlace>,
    /// `sentAt`, `context`, `integrations` and `writeKey` of the frame.
    pub(super) frame: [Option<Place>; 4],
    /// Whether the events have messageIds of their own.
    pub naming: Naming,
}

/// One event of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPlace {
    pub(super) place: Place,
    /// The hash of the person whose event it is, as routing and ordering know people.
    pub person: u64,
}

/// Whether events have messageIds of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Every one has.
    All,
    /// Some have none.
    Some,
}

/// A stretch of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub start: u32,
    pub length: u32,
}

impl Outline {
    /// The outline of a body that was read; `persons` has one hash for each event. None when a place does not fit 32 bits, as
    /// no body that is let in does.
    #[must_use]
    pub fn of(body: &[u8], reading: &Reading<'_>, persons: impl IntoIterator<Item = u64>, naming: Naming) -> Option<Self> {
        let place = |raw: Raw<'_>| Place::of(raw, body);
        let frame = [reading.frame.sent_at, reading.frame.context, reading.frame.integrations, reading.frame.write_key];
        if frame.iter().flatten().any(|raw| place(*raw).is_none()) {
            return None;
        }
        let events = reading.items.iter().zip(persons).map(|(item, person)| Some(EventPlace { place: place(*item)?, person }));
        Some(Self { events: events.collect::<Option<_>>()?, frame: frame.map(|raw| raw.and_then(place)), naming })
    }

    /// The events and the frame in the body that the outline was made of; None when it does not fit that body.
    #[must_use]
    pub fn cut<'a>(&self, body: &'a [u8]) -> Option<(Vec<Raw<'a>>, Frame<'a>)> {
        let text = std::str::from_utf8(body).ok()?;
        let items = self.events.iter().map(|event| event.place.cut(text)).collect::<Option<_>>()?;
        let [sent_at, context, integrations, write_key] = self.frame.map(|place| place.and_then(|place| place.cut(text)));
        Some((items, Frame { sent_at, context, integrations, write_key }))
    }
}

impl Outline {
    /// The event at `index` in the body that the outline was made of, without reading the others; None when there is none.
    #[must_use]
    pub fn event<'a>(&self, index: usize, body: &'a [u8]) -> Option<Raw<'a>> {
        self.events.get(index)?.place.cut_alone(body)
    }

    /// What stands as `context` beside the events of that body; None when nothing does.
    #[must_use]
    pub fn context<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        self.frame[1]?.cut_alone(body).map(Raw::text)
    }
}

impl Place {
    fn of(raw: Raw<'_>, body: &[u8]) -> Option<Self> {
        let start = (raw.text().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        Some(Self { start: u32::try_from(start).ok()?, length: u32::try_from(raw.text().len()).ok()? })
    }

    fn cut(self, text: &str) -> Option<Raw<'_>> {
        let start = self.start as usize;
        Raw::accepted(text.get(start..start + self.length as usize)?)
    }

    fn cut_alone(self, body: &[u8]) -> Option<Raw<'_>> {
        let start = self.start as usize;
        Raw::accepted(std::str::from_utf8(body.get(start..start + self.length as usize)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    #[test]
    fn an_outline_cuts_what_was_read() {
        let body = "\u{feff} {\"sentAt\":\"s\",\"batch\":[ {\"a\":\"\u{e9}\"} , 7],\"context\":{}} ".as_bytes();
        let reading = Reading::of(Endpoint::Batch, body).unwrap();
        let outline = Outline::of(body, &reading, [1, 2], Naming::Some).unwrap();
        let (items, frame) = outline.cut(body).unwrap();
        assert_eq!(items, reading.items);
        assert_eq!((frame.sent_at, frame.context, frame.integrations), (reading.frame.sent_at, reading.frame.context, None));
        assert!(outline.cut(&body[..20]).is_none(), "another body");
        assert_eq!([0, 1].map(|index| outline.event(index, body)), [0, 1].map(|index| reading.items.get(index).copied()));
        assert_eq!((outline.event(2, body), outline.context(body)), (None, reading.frame.context.map(Raw::text)));
        assert!(outline.event(0, &body[..20]).is_none(), "another body");
    }
}
