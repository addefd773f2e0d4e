//! The bytes of the quarantine: entries, and marks that say what became of them.

use bytes::Bytes;

use super::super::{
    Quarantined,
    bytes::{Fields, destination_code, push_text},
    format::{FrameHeader, InGroup, Kind},
    lane_state::Totals,
    words::{LaneId, Position, QuarantineId},
};
use crate::model::{PerDestination, Revision, WallTime};

/// An entry without its event.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub id: QuarantineId,
    pub stand: Stand,
    pub lane: LaneId,
    pub origin: Position,
    pub index: u32,
    pub events: u32,
    pub status: u16,
    pub reason: String,
    pub at: WallTime,
}

/// Whether an entry waits for somebody to decide, or for its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    Waiting = 0,
    /// It is to be sent again.
    Due = 1,
}

/// What became of some entries of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    pub lane: LaneId,
    pub fate: Fate,
    /// How all entries of this lane that are no more had ended, these included.
    pub ended: Totals,
    pub ids: Vec<u64>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is to be sent again.
    Due = 1,
    /// It is no more.
    Gone = 2,
}

/// Whether a frame is one of these.
pub(super) fn is_known(header: &FrameHeader, body: &[u8]) -> bool {
    if header.kind == Kind::Marks { Marks::decode(header, body).is_some() } else { decode(header, body).is_some() }
}

/// The header of a frame with such a body. Its revision is a number that no entry has had yet.
pub(super) fn header(lane: &LaneId, kind: Kind, at: WallTime, next_id: u64, body: &[u8]) -> Option<FrameHeader> {
    Some(FrameHeader {
        kind,
        place: InGroup::Last,
        group: 1,
        revision: Revision(next_id),
        planned: PerDestination::default(),
        received_at: at,
        source: Some(lane.source.clone()),
        body_bytes: u32::try_from(body.len()).ok()?,
        body_crc: 0,
    })
}

/// An entry's body. Its stand comes first, so that a copy differs in its first byte alone.
pub(super) fn encode(id: QuarantineId, lane: &LaneId, item: &Quarantined) -> Vec<u8> {
    let texts = item.reason.len() + item.answer.len() + item.event.len() + item.envelope.len();
    let mut out = Vec::with_capacity(64 + texts);
    out.push(Stand::Waiting as u8);
    out.push(destination_code(lane.destination));
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&item.position.volume.to_le_bytes());
    out.extend_from_slice(&item.position.offset.to_le_bytes());
    out.extend_from_slice(&item.index.to_le_bytes());
    out.extend_from_slice(&item.events.to_le_bytes());
    out.extend_from_slice(&item.status.to_le_bytes());
    push_text(&mut out, &item.reason);
    push_text(&mut out, &item.answer);
    out.extend_from_slice(&u32::try_from(item.envelope.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&item.envelope);
    out.extend_from_slice(&item.event);
    out
}

/// Reads an entry, all but what it carries.
pub(super) fn decode_head<'a>(header: &FrameHeader, body: &'a [u8]) -> Option<(Head, Fields<'a>)> {
    let mut fields = Fields(body);
    let stand = match fields.u8()? {
        0 => Stand::Waiting,
        1 => Stand::Due,
        _ => return None,
    };
    let lane = LaneId { source: header.source.clone()?, destination: fields.destination()? };
    let id = QuarantineId(fields.u64()?);
    let origin = Position { volume: fields.u64()?, offset: fields.u64()? };
    let (index, events, status) = (fields.u32()?, fields.u32()?, fields.u16()?);
    let reason = fields.text()?;
    Some((Head { id, stand, lane, origin, index, events, status, reason, at: header.received_at }, fields))
}

/// Reads an entry.
pub(super) fn decode(header: &FrameHeader, body: &[u8]) -> Option<(QuarantineId, Quarantined)> {
    let (head, mut fields) = decode_head(header, body)?;
    let answer = fields.text()?;
    let length = fields.u32()? as usize;
    let envelope = Bytes::copy_from_slice(fields.take(length)?);
    let event = Bytes::copy_from_slice(fields.0);
    let Head { id, origin, index, events, status, reason, at, .. } = head;
    Some((id, Quarantined { position: origin, index, events, event, envelope, reason, status, answer, at }))
}

impl Marks {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(46 + self.ids.len() * 8);
        out.push(self.fate as u8);
        out.push(destination_code(self.lane.destination));
        let Totals { delivered, quarantined: _, deduplicated, suppressed, expired, purged } = self.ended;
        for sum in [delivered, deduplicated, suppressed, expired, purged] {
            out.extend_from_slice(&sum.to_le_bytes());
        }
        out.extend_from_slice(&u32::try_from(self.ids.len()).unwrap_or(u32::MAX).to_le_bytes());
        for id in &self.ids {
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(header: &FrameHeader, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let fate = match fields.u8()? {
            1 => Fate::Due,
            2 => Fate::Gone,
            _ => return None,
        };
        let lane = LaneId { source: header.source.clone()?, destination: fields.destination()? };
        let ended = Totals {
            delivered: fields.u64()?,
            quarantined: 0,
            deduplicated: fields.u64()?,
            suppressed: fields.u64()?,
            expired: fields.u64()?,
            purged: fields.u64()?,
        };
        let count = fields.u32()?;
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(fields.u64()?);
        }
        Some(Self { lane, fate, ended, ids })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Destination, SourceId};

    fn lane() -> LaneId {
        LaneId { source: SourceId::parse("web").unwrap(), destination: Destination::RudderStack }
    }

    fn item() -> Quarantined {
        Quarantined {
            position: Position { volume: 7, offset: 64 },
            index: 3,
            events: 1,
            event: Bytes::from_static(b"{\"event\":\"Bad\"}"),
            envelope: Bytes::from_static(b"\x01envelope"),
            reason: "refused".to_owned(),
            status: 400,
            answer: "no".to_owned(),
            at: WallTime::from_millis(9),
        }
    }

    #[test]
    fn entries_and_marks_read_back_as_they_were() {
        let body = encode(QuarantineId(5), &lane(), &item());
        let header = header(&lane(), Kind::Quarantined, item().at, 6, &body).unwrap();
        assert_eq!(decode(&header, &body), Some((QuarantineId(5), item())));
        let ended = Totals { delivered: 1, purged: 2, ..Totals::default() };
        let marks = Marks { lane: lane(), fate: Fate::Gone, ended, ids: vec![4, 5] };
        assert_eq!(Marks::decode(&header, &marks.encode()), Some(marks));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..100) {
            let header = header(&lane(), Kind::Quarantined, item().at, 6, &bytes).unwrap();
            let _ = (decode(&header, &bytes), Marks::decode(&header, &bytes));
            let body = encode(QuarantineId(5), &lane(), &item());
            // What is cut off the event itself nobody can tell but the checksum.
            let cut = cut.min(body.len() - item().event.len() - 1);
            prop_assert_eq!(decode(&header, &body[..cut]), None);
        }
    }
}
