//! A print of a JSON value: the same for all ways to write it.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::number;
use crate::model::json::{Kind, Raw};

/// Seeded anew in each process: nobody can make values that share a print.
static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Below this depth values are taken as they are written.
const DEPTH_MAX: usize = 16;

/// The print of a value in this process. The order of members counts for nothing, nor do members that are null.
pub(super) fn print_of(value: Raw<'_>) -> u64 {
    print_at(value, 0)
}

fn print_at(value: Raw<'_>, depth: usize) -> u64 {
    match value.kind() {
        _ if depth >= DEPTH_MAX => STATE.hash_one((0_u8, value.text())),
        Kind::Null => 0,
        Kind::Bool => STATE.hash_one((1_u8, value.text())),
        Kind::Number => STATE.hash_one((2_u8, number::canonical(value.text()))),
        Kind::String => STATE.hash_one((3_u8, value.string())),
        Kind::Array => value.items().fold(STATE.hash_one(4_u8), |print, item| STATE.hash_one((print, print_at(item, depth + 1)))),
        Kind::Object => {
            let member =
                |(key, value): (crate::model::json::Key<'_>, Raw<'_>)| STATE.hash_one((5_u8, key.name(), print_at(value, depth + 1)));
            let members = value.members().filter(|(_, value)| !value.is_null()).map(member);
            // A sum, as their order counts for nothing.
            members.fold(STATE.hash_one(6_u8), u64::wrapping_add)
        }
    }
}
