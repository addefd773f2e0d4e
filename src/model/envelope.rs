//! One accepted HTTP request, as it is journalled.

use std::{fmt, net::IpAddr};

use bytes::Bytes;

use super::{
    EventKind, PerDestination, Plan, Revision, Selection, SourceId, WallTime,
    outline::{EventPlace, Naming, Outline, Place},
};

/// The identity of an envelope: random, made at accept, kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnvelopeId(pub u128);

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Which of Segment's paths a request came by (protocol.md 1.2). The path itself, slash and query included, is kept beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/v1/batch`: many events, server side.
    Batch,
    /// `/v1/import`, with or without a slash at the end: many events, server side.
    Import,
    /// `/v1/b`: many events, client side.
    ClientBatch,
    /// `/v1/track` and its like: one event, server side.
    Single(EventKind),
    /// `/v1/t` and its like: one event, client side.
    ClientSingle(EventKind),
    /// `GET /v1/pixel/track` and its like: one event in the query, client side. Its journalled body is that event as JSON.
    Pixel(EventKind),
    /// `POST /hooks/segment/<source>`: one event that Segment has processed and passed on (protocol.md 4.1). It goes to RudderStack alone.
    Webhook,
}

impl Endpoint {
    /// Whether Segment takes the client's IP from the connection on this path (protocol.md T13).
    #[must_use]
    pub const fn is_client_side(self) -> bool {
        matches!(self, Self::ClientBatch | Self::ClientSingle(_) | Self::Pixel(_))
    }

    /// The type that an event has by its path alone; None for paths that carry batches.
    #[must_use]
    pub const fn kind(self) -> Option<EventKind> {
        match self {
            Self::Batch | Self::Import | Self::ClientBatch | Self::Webhook => None,
            Self::Single(kind) | Self::ClientSingle(kind) | Self::Pixel(kind) => Some(kind),
        }
    }
}

/// How the client used Basic authentication; Segment's copy does it the same way with the source's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BasicAuth {
    /// Not at all: the key is in the body or the query.
    Absent,
    /// As documented: the key, a colon, no password.
    Colon,
    /// The key without a colon, which Segment tolerates.
    Bare,
}

/// How the body is encoded on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Plain.
    Identity,
    /// `Content-Encoding: gzip`.
    Gzip,
}

/// One accepted request: its events as the client sent them, and all that delivery must know besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its identity.
    pub id: EnvelopeId,
    /// Whose it is.
    pub source: SourceId,
    /// When segue had the whole request, by the wall clock.
    pub received_at: WallTime,
    /// Which API call it was.
    pub endpoint: Endpoint,
    /// Path and query as they came; Segment's copy goes to the same.
    pub path: String,
    /// The client's public address; None when it is unknown, private or loopback.
    pub client_ip: Option<IpAddr>,
    /// The request's Content-Type, as it came; None when it had none.
    pub content_type: Option<String>,
    /// The request's User-Agent; None when it had none.
    pub user_agent: Option<String>,
    /// The request's X-Retry-Count, as it came; None when it had none.
    pub retry_count: Option<String>,
    /// How the client used Basic authentication.
    pub basic_auth: BasicAuth,
    /// The first bytes of the SHA-256 of the Segment key that the client used, which tells the keys of a source in
    /// rotation apart.
    pub key_print: [u8; 8],
    /// How `body` is encoded.
    pub encoding: Encoding,
    /// How many events `body` holds, 1 or more.
    pub events: u32,
    /// Which events go where.
    pub plan: Plan,
    /// How it came to be journalled.
    pub origin: Origin,
    /// Where the events stand in the inflated body; None: it has to be read again.
    pub outline: Option<Outline>,
    /// The body, byte for byte as the client sent it.
    pub body: Bytes,
}

/// How an envelope came to be journalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A client sent it, and it goes as its plan says.
    #[default]
    Client,
    /// A client sent it, and Segment was asked live with it: its plan has no Segment, which got it all the same.
    Relayed,
    /// A replay repeats a record.
    Replay(Repeated),
}

/// A record of the journal that a replay sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// The replay, by the revision that started it.
    pub job: Revision,
    /// The volume in which the record stood.
    pub volume: u64,
    /// Its place in there.
    pub offset: u64,
}

/// Why bytes are no envelope: a damaged record, or one of a newer segue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first byte names a version that this segue does not know.
    #[error("envelope version {0} is newer than this segue")]
    Version(u8),
    /// The bytes end early, or a field holds what it cannot hold.
    #[error("the envelope's {0} cannot be read")]
    Field(&'static str),
}

/// The version that [`Envelope::encode`] writes of what came from a client.
const VERSION: u8 = 1;
/// The version of anything else: how it came to be journalled stands before the other fields.
const VERSION_ORIGIN: u8 = 2;
const RELAYED: u8 = 1;
const REPLAY: u8 = 2;

impl Envelope {
    /// The bytes of a journal record: a version, the fields in order (numbers little-endian, texts and lists with their
    /// length before them), the body to the end.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // By what there is: `events` of a damaged record may be any number.
        let places = self.outline.as_ref().map_or(0, |outline| outline.events.len());
        let mut out = Vec::with_capacity(256 + self.path.len() + 16 * places + self.body.len());
        match self.origin {
            Origin::Client => out.push(VERSION),
            Origin::Relayed => out.extend_from_slice(&[VERSION_ORIGIN, RELAYED]),
            Origin::Replay(Repeated { job, volume, offset }) => {
                out.extend_from_slice(&[VERSION_ORIGIN, REPLAY]);
                for number in [job.0, volume, offset] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
        }
        out.extend_from_slice(&self.id.0.to_le_bytes());
        push_text(&mut out, self.source.as_str());
        out.extend_from_slice(&self.received_at.as_millis().to_le_bytes());
        push_endpoint(&mut out, self.endpoint);
        push_text(&mut out, &self.path);
        push_ip(&mut out, self.client_ip);
        for text in [&self.content_type, &self.user_agent, &self.retry_count] {
            push_option(&mut out, text.as_deref());
        }
        out.push(match self.basic_auth {
            BasicAuth::Absent => 0,
            BasicAuth::Colon => 1,
            BasicAuth::Bare => 2,
        });
        out.extend_from_slice(&self.key_print);
        out.push(match self.encoding {
            Encoding::Identity => 0,
            Encoding::Gzip => 1,
        });
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&self.plan.revision.0.to_le_bytes());
        push_selection(&mut out, &self.plan.events.segment);
        push_selection(&mut out, &self.plan.events.rudderstack);
        push_outline(&mut out, self.outline.as_ref());
        out.extend_from_slice(&self.body);
        out.into()
    }

    /// Reads what [`Envelope::encode`] wrote; the body shares `bytes`.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer version.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut fields = Fields { bytes, at: 0 };
        let origin = match fields.byte("version")? {
            VERSION => Origin::Client,
            VERSION_ORIGIN => match fields.byte("origin")? {
                RELAYED => Origin::Relayed,
                REPLAY => {
                    let mut number = || fields.array("repeated record").map(u64::from_le_bytes);
                    Origin::Replay(Repeated { job: Revision(number()?), volume: number()?, offset: number()? })
                }
                _ => return Err(DecodeError::Field("origin")),
            },
            newer => return Err(DecodeError::Version(newer)),
        };
        Ok(Self {
            id: EnvelopeId(u128::from_le_bytes(fields.array("id")?)),
            source: SourceId::parse(fields.text("source")?).map_err(|_| DecodeError::Field("source"))?,
            received_at: WallTime::from_millis(i64::from_le_bytes(fields.array("arrival")?)),
            endpoint: fields.endpoint()?,
            path: fields.text("path")?.to_owned(),
            client_ip: fields.ip()?,
            content_type: fields.option("content type")?,
            user_agent: fields.option("user agent")?,
            retry_count: fields.option("retry count")?,
            basic_auth: match fields.byte("authentication")? {
                0 => BasicAuth::Absent,
                1 => BasicAuth::Colon,
                2 => BasicAuth::Bare,
                _ => return Err(DecodeError::Field("authentication")),
            },
            key_print: fields.array("key")?,
            encoding: match fields.byte("encoding")? {
                0 => Encoding::Identity,
                1 => Encoding::Gzip,
                _ => return Err(DecodeError::Field("encoding")),
            },
            events: u32::from_le_bytes(fields.array("event count")?),
            plan: Plan {
                revision: Revision(u64::from_le_bytes(fields.array("revision")?)),
                events: PerDestination { segment: fields.selection()?, rudderstack: fields.selection()? },
            },
            origin,
            outline: fields.outline()?,
            body: bytes.slice(fields.at..),
        })
    }
}

/// Texts are cut at 64 KiB, far above what the header limits let in.
fn push_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

fn push_option(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        push_text(out, text);
    }
}

fn push_ip(out: &mut Vec<u8>, ip: Option<IpAddr>) {
    match ip {
        None => out.push(0),
        Some(IpAddr::V4(ip)) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

fn push_endpoint(out: &mut Vec<u8>, endpoint: Endpoint) {
    let (form, kind) = match endpoint {
        Endpoint::Batch => (0, None),
        Endpoint::Import => (1, None),
        Endpoint::ClientBatch => (2, None),
        Endpoint::Single(kind) => (3, Some(kind)),
        Endpoint::ClientSingle(kind) => (4, Some(kind)),
        Endpoint::Pixel(kind) => (5, Some(kind)),
        Endpoint::Webhook => (6, None),
    };
    let kind = kind.and_then(|kind| EventKind::ALL.iter().position(|k| *k == kind)).unwrap_or(0);
    out.extend_from_slice(&[form, u8::try_from(kind).unwrap_or(0)]);
}

fn push_selection(out: &mut Vec<u8>, selection: &Selection) {
    match selection {
        Selection::None => out.push(0),
        Selection::All => out.push(1),
        Selection::Some(chosen) => {
            out.push(2);
            out.extend_from_slice(&u16::try_from(chosen.len()).unwrap_or(u16::MAX).to_le_bytes());
            for index in chosen {
                out.extend_from_slice(&index.to_le_bytes());
            }
        }
    }
}

fn push_outline(out: &mut Vec<u8>, outline: Option<&Outline>) {
    let Some(outline) = outline else { return out.push(0) };
    out.push(match outline.naming {
        Naming::All => 1,
        Naming::Some => 2,
    });
    let absent = Place { start: u32::MAX, length: 0 };
    for place in outline.frame {
        push_place(out, place.unwrap_or(absent));
    }
    out.extend_from_slice(&u32::try_from(outline.events.len()).unwrap_or(0).to_le_bytes());
    for event in &outline.events {
        push_place(out, event.place);
        out.extend_from_slice(&event.person.to_le_bytes());
    }
}

fn push_place(out: &mut Vec<u8>, place: Place) {
    out.extend_from_slice(&place.start.to_le_bytes());
    out.extend_from_slice(&place.length.to_le_bytes());
}

/// A reader of fields that never runs past the end.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count)).ok_or(DecodeError::Field(field))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.take(1, field)?[0])
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        self.take(N, field)?.try_into().map_err(|_| DecodeError::Field(field))
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = u16::from_le_bytes(self.array(field)?);
        std::str::from_utf8(self.take(usize::from(length), field)?).map_err(|_| DecodeError::Field(field))
    }

    fn option(&mut self, field: &'static str) -> Result<Option<String>, DecodeError> {
        match self.byte(field)? {
            0 => Ok(None),
            1 => Ok(Some(self.text(field)?.to_owned())),
            _ => Err(DecodeError::Field(field)),
        }
    }

    fn ip(&mut self) -> Result<Option<IpAddr>, DecodeError> {
        match self.byte("address")? {
            0 => Ok(None),
            4 => Ok(Some(IpAddr::from(self.array::<4>("address")?))),
            6 => Ok(Some(IpAddr::from(self.array::<16>("address")?))),
            _ => Err(DecodeError::Field("address")),
        }
    }

    fn endpoint(&mut self) -> Result<Endpoint, DecodeError> {
        let [form, kind] = self.array("endpoint")?;
        let kind = EventKind::ALL.get(usize::from(kind)).copied().ok_or(DecodeError::Field("endpoint"))?;
        match form {
            0 => Ok(Endpoint::Batch),
            1 => Ok(Endpoint::Import),
            2 => Ok(Endpoint::ClientBatch),
            3 => Ok(Endpoint::Single(kind)),
            4 => Ok(Endpoint::ClientSingle(kind)),
            5 => Ok(Endpoint::Pixel(kind)),
            6 => Ok(Endpoint::Webhook),
            _ => Err(DecodeError::Field("endpoint")),
        }
    }

    fn selection(&mut self) -> Result<Selection, DecodeError> {
        match self.byte("selection")? {
            0 => Ok(Selection::None),
            1 => Ok(Selection::All),
            2 => {
                let count = usize::from(u16::from_le_bytes(self.array("selection")?));
                let indices = self.take(count * 2, "selection")?;
                Ok(Selection::Some(indices.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()))
            }
            _ => Err(DecodeError::Field("selection")),
        }
    }
}

impl Fields<'_> {
    fn outline(&mut self) -> Result<Option<Outline>, DecodeError> {
        let naming = match self.byte("outline")? {
            0 => return Ok(None),
            1 => Naming::All,
            2 => Naming::Some,
            _ => return Err(DecodeError::Field("outline")),
        };
        let mut frame = [None; 4];
        for place in &mut frame {
            *place = Some(self.place()?).filter(|place| place.start != u32::MAX);
        }
        let count = u32::from_le_bytes(self.array("outline")?) as usize;
        // A damaged count must not ask for more memory than there are bytes left.
        let mut events = Vec::with_capacity(count.min(self.bytes.len() / 16));
        for _ in 0..count {
            events.push(EventPlace { place: self.place()?, person: u64::from_le_bytes(self.array("outline")?) });
        }
        Ok(Some(Outline { events, frame, naming }))
    }

    fn place(&mut self) -> Result<Place, DecodeError> {
        Ok(Place { start: u32::from_le_bytes(self.array("outline")?), length: u32::from_le_bytes(self.array("outline")?) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            id: EnvelopeId(7),
            source: SourceId::parse("web").unwrap(),
            received_at: WallTime::from_millis(1_795_470_595_870),
            endpoint: Endpoint::ClientSingle(EventKind::Page),
            path: "/v1/p".into(),
            client_ip: Some("203.0.113.7".parse().unwrap()),
            content_type: Some("text/plain".into()),
            user_agent: None,
            retry_count: Some("2".into()),
            basic_auth: BasicAuth::Bare,
            key_print: [1, 2, 3, 4, 5, 6, 7, 8],
            encoding: Encoding::Gzip,
            events: 3,
            plan: Plan {
                revision: Revision(9),
                events: PerDestination { segment: Selection::All, rudderstack: Selection::Some(vec![0, 2]) },
            },
            origin: Origin::Client,
            outline: Some(Outline {
                events: vec![EventPlace { place: Place { start: 1, length: 2 }, person: 3 }],
                frame: [None, Some(Place { start: 4, length: 5 }), None, None],
                naming: Naming::Some,
            }),
            body: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn an_envelope_says_how_it_came_to_be_journalled() {
        for origin in [Origin::Replay(Repeated { job: Revision(7), volume: 3, offset: 4_096 }), Origin::Relayed] {
            let special = Envelope { origin, ..envelope() };
            let bytes = special.encode();
            assert_eq!(Envelope::decode(&bytes), Ok(special));
            for end in 0..26 {
                assert!(Envelope::decode(&bytes.slice(..end)).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn an_envelope_reads_back_as_it_was_written() {
        assert_eq!(Envelope::decode(&envelope().encode()), Ok(envelope()));
    }

    #[test]
    fn a_newer_version_is_refused_by_its_number() {
        let mut bytes = envelope().encode().to_vec();
        bytes[0] = 3;
        assert_eq!(Envelope::decode(&bytes.into()), Err(DecodeError::Version(3)));
    }

    /// Found by fuzzing: writing it again asked for 64 GiB at once, which ends the process.
    #[test]
    fn a_damaged_count_of_events_costs_no_memory() {
        let damaged = Envelope { events: u32::MAX, outline: None, ..envelope() };
        assert_eq!(Envelope::decode(&damaged.encode()), Ok(damaged));
    }

    #[test]
    fn an_envelope_cut_short_is_an_error_at_every_length() {
        let bytes = envelope().encode();
        for end in 0..bytes.len() - envelope().body.len() {
            assert!(Envelope::decode(&bytes.slice(..end)).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Envelope::decode(&bytes.into());
        }
    }
}
