//! Giving up what waits for a lane.

use std::{io, time::Duration};

use tokio::time::timeout;

use super::{ChangeError, Journal, LaneId, Tally};

/// How long one record may take to come from the disk.
const ENTRY_PATIENCE: Duration = Duration::from_secs(10);

impl Journal {
    /// Gives up everything that waits for a lane, what is to be sent again from the quarantine included: it counts as purged. Returns how many events that
    /// were. Durable when it returns. The lane's consumer, if there is one, gets nothing more.
    ///
    /// # Errors
    /// When the disk does not read or keep it: what was not given up by then still waits.
    pub async fn purge(&self, id: &LaneId) -> Result<u64, ChangeError> {
        let mut lane = self.lane(id);
        let mut purged = 0;
        while self.pending(id) > 0 {
            let next = timeout(ENTRY_PATIENCE, lane.next()).await;
            let entry = next.map_err(|_| ChangeError::Disk(io::Error::from(io::ErrorKind::TimedOut)))?;
            purged += u64::from(entry.planned);
            lane.complete(entry.position, Tally { purged: entry.planned, ..Tally::default() });
        }
        self.save_now().await?;
        Ok(purged)
    }

    fn pending(&self, id: &LaneId) -> u64 {
        self.ledger().into_iter().find(|(of, _)| of == id).map_or(0, |(_, ledger)| ledger.pending)
    }
}
