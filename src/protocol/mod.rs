//! Segment's API, as SDKs speak it and as segue answers it (protocol.md 1).
//!
//! Pure: what a path means, where a write key may stand, how a body is inflated, what an answer looks like. It never sends,
//! stores or logs anything.

mod answer;
mod copy;
mod inflate;
mod key;
mod path;
mod pixel;
mod settings;

pub use answer::{ABSENT, ACCEPTED, Answer, BadRequest, PIXEL, bad_request, busy, cors, preflight};
pub use copy::{Edits, SegmentCopy, needs_edit, segment_copy};
pub use inflate::{InflateError, InflateLimits, inflate};
pub use key::{Claims, basic_credentials, claims, is_bearer};
pub use path::{Target, classify, masked_path, page_key};
pub use pixel::{pixel_event, pixel_path};
pub use settings::{api_host, are_settings, destinations, rewrite_api_host};

/// The largest request that Segment takes, inflated (protocol.md 1.5: 500 KB; SDKs send up to 512,000 bytes). Above it Segment
/// answers 400, and RudderStack up to 4 MB does not.
pub const REQUEST_BYTES_MAX: usize = 512 << 10;

/// The most events that are looked for in one request. Segment rejects batches above 2,500 with a 200 (protocol.md 1.5); far
/// above that a body is not an SDK's, and is left to Segment.
pub const EVENTS_MAX: usize = 10_000;
