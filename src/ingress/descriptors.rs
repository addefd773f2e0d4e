//! How many connections the process may have, by the files that it may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are kept for all that is not a client's connection: the journal's volumes and cursors, upstream connections, the
/// metrics' and admin's listeners. A flood of connections cannot take them.
const RESERVED_FILES: u64 = 1_024;

/// As many connections as asked for, or as the limit on open files leaves. The soft limit is raised first, as far as it may be;
/// below twice the reserve, half of the files are for connections.
pub(super) fn connections_max(asked: usize) -> usize {
    let wanted = RESERVED_FILES.saturating_add(u64::try_from(asked).unwrap_or(u64::MAX));
    let limit = getrlimit(Resource::Nofile);
    let may_open = raise(limit, wanted);
    let left = may_open.saturating_sub(RESERVED_FILES).max(may_open / 2);
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(asked).max(1);
    if most < asked {
        tracing::warn!(
            event = "connections_capped",
            connections = most,
            asked,
            open_files = may_open,
            "the limit on open files leaves fewer connections than limits.connections_max; raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    most
}

/// Raises the soft limit to what is wanted, and says what it is then; None is no limit at all.
fn raise(limit: Rlimit, wanted: u64) -> u64 {
    let soft = limit.current.unwrap_or(u64::MAX);
    let reachable = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    if soft >= reachable {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum: limit.maximum }) {
        Ok(()) => reachable,
        Err(_) => soft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_files_leaves_room_for_everything_else() {
        assert_eq!(connections_max(10), 10);
        let most = connections_max(usize::MAX);
        let limit = getrlimit(Resource::Nofile);
        let may_open = limit.current.unwrap_or(u64::MAX);
        assert!(u64::try_from(most).unwrap() <= may_open.saturating_sub(RESERVED_FILES).max(may_open / 2));
    }
}
