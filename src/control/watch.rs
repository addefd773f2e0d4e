//! The configuration looked at now and then, and read again when it has changed.
//!
//! It is read whole each time, with the files that it names, and what it says is compared: that sees an edit, a rename, a symbolic link that
//! Kubernetes swaps, a secret that was exchanged, and works on file systems that tell nobody of changes. Where the system does tell, it
//! is looked at at once. A file that is being written may be read half; so what was read counts when the next look says the same.

use std::{
    collections::BTreeSet,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use super::{ReloadError, Reloaded, Reloader, Reread};
use crate::routing::Author;

/// How often it is looked at, in seconds, whatever the system tells: a change is in force after two looks.
const LOOK_INTERVAL_S: i64 = 1;
/// How long after a change the second look is.
const SETTLE_INTERVAL: Duration = Duration::from_millis(200);

/// How long changes gather before they are looked at.
const GATHER_INTERVAL: Duration = Duration::from_millis(50);

/// Looks at the configuration until it is dropped.
#[derive(Debug)]
pub struct ConfigWatch {
    task: JoinHandle<()>,
}

impl ConfigWatch {
    /// Starts to look. `told` hears of each reload that did something or was refused. To be called on a tokio runtime.
    #[must_use]
    pub fn start(reloader: Reloader, told: impl Fn(Result<Reloaded, ReloadError>) + Send + 'static) -> Self {
        Self { task: tokio::spawn(watch(reloader, told)) }
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(reloader: Reloader, told: impl Fn(Result<Reloaded, ReloadError>)) {
    // None: the system tells nothing, or has no room for one more that asks.
    let mut bell = Bell::new().ok().map(Arc::new);
    let mut known: Option<Result<Reread, String>> = None;
    let mut before: Option<Result<Reread, String>> = None;
    loop {
        let seen = reloader.look().await;
        let is_settled = before.as_ref() == Some(&seen);
        if is_settled && known.as_ref() != Some(&seen) {
            let reloaded = reloader.reload(Author::ConfigFile).await;
            // The first time it is what the sidecar started with, unless it has changed since: nothing to tell.
            if known.is_some() || !reloaded.as_ref().is_ok_and(|reloaded| reloaded.changed.is_empty()) {
                told(reloaded);
            }
            known = Some(seen.clone());
        }
        if let (Some(bell), Ok(reread)) = (&bell, &seen) {
            bell.listen_at(reread.files.iter().filter_map(|file| file.parent()));
        }
        before = Some(seen);
        if !is_settled {
            sleep(SETTLE_INTERVAL).await;
            continue;
        }
        let rung = if let Some(bell) = bell.clone() {
            spawn_blocking(move || bell.wait()).await
        } else {
            sleep(Duration::from_secs(LOOK_INTERVAL_S.unsigned_abs())).await;
            Ok(())
        };
        if rung.is_err() {
            bell = None;
        }
    }
}

/// What the system tells of changes in directories. Links are swapped there, and files renamed into them.
#[derive(Debug)]
struct Bell {
    inotify: OwnedFd,
    directories: Mutex<BTreeSet<PathBuf>>,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, directories: Mutex::default() })
    }

    /// Listens at these directories, too. One that cannot be listened at is looked at like the others.
    fn listen_at<'a>(&self, directories: impl Iterator<Item = &'a Path>) {
        let mut known = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in directories {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            if known.insert(directory.to_owned()) {
                let what = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
                let _ = inotify::add_watch(&self.inotify, directory, what);
            }
        }
    }

    /// Returns when something has changed, what it was is of no interest, or after a while. Blocks.
    fn wait(&self) {
        let longest = Timespec { tv_sec: LOOK_INTERVAL_S, tv_nsec: 0 };
        let rung = poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&longest));
        if rung.is_ok_and(|count| count > 0) {
            // A directory in which much goes on does not have the file read all the time.
            std::thread::sleep(GATHER_INTERVAL);
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
            while reader.next().is_ok() {}
        }
    }
}
