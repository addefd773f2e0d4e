//! (under construction)

mod copy;

pub use copy::{Edits, SegmentCopy, segment_copy};
