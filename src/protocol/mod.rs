//! (under construction)

mod copy;

pub use copy::{Edits, SegmentCopy, needs_edit, segment_copy};
