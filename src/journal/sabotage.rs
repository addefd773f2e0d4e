//! Faults that the mutation tests put into the journal on purpose. Only in test builds.

/// One promise broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sabotage {
    /// None.
    #[default]
    None,
    /// Appends are answered before the sync.
    AckBeforeSync,
    /// Volumes are freed by cursors that are not durable yet.
    FreeBeforeCursor,
    /// What is copied to a spill is decided by cursors that are not durable yet.
    SpillBeforeCursor,
    /// What a spill stands for goes before the spill is synced.
    SpillUnsynced,
    /// A failed sync is tried again on the same file.
    SyncRetried,
    /// Checksums are not compared.
    TornTailAccepted,
    /// Checksums know neither the volume nor the place.
    StaleBlocksAccepted,
}
