//! (under construction)

mod acceptance;
mod copy;

pub use acceptance::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Discard, EVENT_BYTES_MAX, predict, predict_request};
pub use copy::{Edits, SegmentCopy, needs_edit, segment_copy};
