//! The socket's file: ours alone, never somebody else's, never in place of something that is alive.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use nix::unistd::Gid;
use tokio::net::UnixListener;

/// A bound socket. Its file goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Tells whether the file at the path is still this socket's.
    inode: u64,
}

/// Why there is no socket. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// What stands at the path is no socket.
    #[error("{path} is {what}, which segue neither follows nor replaces; remove it, or name another path in [admin] socket")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Another sidecar has it.
    #[error("another sidecar answers at {0}; give this one a path of its own in [admin] socket")]
    Taken(PathBuf),
    /// The directory is open to others.
    #[error("others may write to {0}, so the socket there could be exchanged; chmod go-w it, or name another path in [admin] socket")]
    OpenDirectory(PathBuf),
    /// The path does not fit.
    #[error("{path} has {bytes} bytes, and a socket's path has at most {PATH_BYTES_MAX}; name a shorter one in [admin] socket")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length, with what it is called while it is made.
        bytes: usize,
    },
    /// The system refused.
    #[error("{path} cannot be listened on: {source}")]
    System {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// `sun_path` has 108 bytes, the last of which is zero.
const PATH_BYTES_MAX: usize = 107;
/// What the socket is called until it is whole.
const UNFINISHED: &str = ".tmp";

impl Socket {
    /// Listens at `path`. A socket of our own that nobody answers at is replaced; the directory is made with mode 0700 when there is
    /// none. Blocks for a moment. To be called on a tokio runtime.
    ///
    /// Some group: its members may connect, too, and a directory that is made lets them through.
    pub(super) fn bind(path: &Path, group: Option<Gid>) -> Result<Self, SocketError> {
        let system = |source| SocketError::System { path: path.to_owned(), source };
        let bytes = path.as_os_str().len() + UNFINISHED.len();
        if bytes > PATH_BYTES_MAX {
            return Err(SocketError::TooLong { path: path.to_owned(), bytes });
        }
        check_directory(path, group)?;
        check_present(path)?;
        // Made under another name and put in place whole: nobody finds it before its mode is right.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        check_present(&unfinished)?;
        let _ = fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished).map_err(system)?;
        let made = give(&unfinished, group, 0o600).and_then(|()| fs::rename(&unfinished, path));
        if let Err(error) = made {
            let _ = fs::remove_file(&unfinished);
            return Err(system(error));
        }
        let inode = fs::symlink_metadata(path).map_err(system)?.ino();
        Ok(Self { listener, path: path.to_owned(), inode })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives a file its owner's mode, and the group, if there is one, as much.
fn give(path: &Path, group: Option<Gid>, mode: u32) -> io::Result<()> {
    match group {
        None => fs::set_permissions(path, Permissions::from_mode(mode)),
        Some(group) => {
            chown(path, None, Some(group.as_raw()))?;
            fs::set_permissions(path, Permissions::from_mode(mode | mode >> 3))
        }
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Has a directory that no other user can exchange the socket in.
fn check_directory(path: &Path, group: Option<Gid>) -> Result<(), SocketError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let system = |source| SocketError::System { path: path.to_owned(), source };
    let found = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(system)?;
            if let Some(group) = group {
                chown(directory, None, Some(group.as_raw())).map_err(system)?;
                // Through it to the socket, and nothing more.
                fs::set_permissions(directory, Permissions::from_mode(0o710)).map_err(system)?;
            }
            fs::metadata(directory).map_err(system)?
        }
        found => found.map_err(system)?,
    };
    let is_ours = found.uid() == own_uid() || found.uid() == 0;
    // In a sticky directory others can make files, but not exchange ours.
    let is_closed = found.mode() & 0o022 == 0 || found.mode() & 0o1000 != 0;
    if is_ours && is_closed { Ok(()) } else { Err(SocketError::OpenDirectory(directory.to_owned())) }
}

/// Looks at what stands at the path: nothing, or a socket of ours that nobody answers at, is no hindrance.
fn check_present(path: &Path) -> Result<(), SocketError> {
    let foreign = |what| Err(SocketError::Foreign { path: path.to_owned(), what });
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SocketError::System { path: path.to_owned(), source }),
        Ok(found) => found,
    };
    if found.file_type().is_symlink() {
        return foreign("a symbolic link");
    }
    if !found.file_type().is_socket() {
        return foreign("no socket");
    }
    if found.uid() != own_uid() {
        return foreign("a socket of another user");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        _ => Err(SocketError::Taken(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_ours_alone_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/admin.sock");
        let socket = Socket::bind(&path, None).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::Taken(_))));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_group_gets_through_to_the_socket_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/admin.sock");
        let own = Gid::from_raw(rustix::process::getegid().as_raw());
        let _socket = Socket::bind(&path, Some(own)).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o710));
        assert_eq!(fs::metadata(&path).unwrap().gid(), own.as_raw());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let mut stale = Socket::bind(&path, None).unwrap();
        stale.inode = 0;
        drop(stale);
        assert!(path.exists(), "it was left behind, as by a kill");
        drop(Socket::bind(&path, None).unwrap());

        let target = dir.path().join("precious");
        fs::write(&target, "kept").unwrap();
        symlink(&target, &path).unwrap();
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::Foreign { what: "a symbolic link", .. })));
        assert!(matches!(Socket::bind(&target, None), Err(SocketError::Foreign { what: "no socket", .. })));
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Socket::bind(&dir.path().join("admin.sock"), None), Err(SocketError::OpenDirectory(_))));
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(Socket::bind(&long, None), Err(SocketError::TooLong { .. })));
    }
}
