//! The kill switch's third way: a file that works when nothing else answers.
//!
//! While the file is there the switch is on. Removing it turns the switch off again, unless somebody else turned it on.

use std::{path::PathBuf, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{FlipError, Switchboard, switchboard::Kill};
use crate::routing::Author;

/// How often the file is looked for.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The watch over the file. Dropping it ends it.
#[derive(Debug)]
pub struct KillFile {
    task: JoinHandle<()>,
}

struct Watch {
    path: PathBuf,
    switchboard: Switchboard,
    /// What the last look found that was heeded.
    was_there: bool,
}

impl KillFile {
    /// Looks for the file once before it returns, and from now on.
    pub async fn watch(path: PathBuf, switchboard: Switchboard) -> Self {
        let was_there = is_by_file(&switchboard);
        let mut watch = Watch { path, switchboard, was_there };
        watch.look().await;
        Self { task: tokio::spawn(watch.run()) }
    }

    /// Ends it: when this returns, nothing of it holds the journal any more.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for KillFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_by_file(switchboard: &Switchboard) -> bool {
    switchboard.standing().killed.is_some_and(|change| change.by == Author::KillFile)
}

impl Watch {
    async fn run(mut self) {
        let mut looks = interval(POLL_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        // A file that cannot be looked at says nothing: things stay as they are.
        let Ok(is_there) = tokio::fs::try_exists(&self.path).await else { return };
        if is_there == self.was_there {
            return;
        }
        match self.turn(is_there).await {
            Ok(()) => self.was_there = is_there,
            // Tried again at the next look.
            Err(error) => tracing::error!(event = "kill_not_durable", %error, path = %self.path.display(), "the kill switch was not kept"),
        }
    }

    async fn turn(&self, is_there: bool) -> Result<(), FlipError> {
        if is_there {
            self.switchboard.kill(Kill::On, Author::KillFile, None).await?;
        } else if is_by_file(&self.switchboard) {
            self.switchboard.kill(Kill::Off, Author::KillFile, None).await?;
        }
        Ok(())
    }
}
