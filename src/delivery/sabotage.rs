//! Rules of delivery that a simulation breaks on purpose, to prove that it would notice. Only in test builds.

use std::cell::Cell;

/// One rule broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A request that got no answer counts as delivered.
    RetryDropped,
    /// Copies for Segment are made as if they were sent at once.
    SentAtKept,
    /// A person's requests do not wait for each other.
    OrderBroken,
    /// A record is complete as soon as it is taken in.
    CompletedEarly,
    /// Limits are not waited for.
    LimitIgnored,
}

thread_local! {
    static BROKEN: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// Breaks a rule on this thread; None: none is broken.
pub(crate) fn sabotage(rule: Option<Sabotage>) {
    BROKEN.set(rule);
}

/// Whether that rule is broken here.
pub(super) fn is_broken(rule: Sabotage) -> bool {
    BROKEN.get() == Some(rule)
}
