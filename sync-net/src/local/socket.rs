//! The Unix socket of the local endpoint: made so that nobody but its owner can ever connect.
//!
//! A socket file appears with the permissions that the umask leaves, and `chmod` comes too late for a
//! connection made in between. So it is bound inside a new directory that only we may enter, gets its
//! mode there, and is then renamed to its place. The rename also replaces the socket of a process that
//! died; one that answers is left alone, and so is anything that is no socket.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use crate::error::StartError;

/// A process that does not answer a connection attempt in this time still counts as alive.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// The socket file; dropping it removes the file, unless another process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: what we made, and nothing else, is ours to remove.
    made: (u64, u64),
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.made) {
            // If it stays, the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path` with mode 0600.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), StartError> {
    let failed = |source| StartError::Socket { path: path.to_owned(), source };
    SocketAddr::from_pathname(path).map_err(failed)?;
    make_way(path).await?;
    let mut nonce = [0; 4];
    getrandom::fill(&mut nonce).map_err(|error| StartError::Randomness { reason: error.to_string() })?;
    let private = PrivateDir::beside(path, u32::from_ne_bytes(nonce)).map_err(failed)?;
    let (listener, made) = private.bind_and_move_to(path).map_err(failed)?;
    Ok((listener, SocketFile { path: path.to_owned(), made }))
}

/// Makes sure that what lies at `path`, if anything, may be replaced.
async fn make_way(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(StartError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match tokio::time::timeout(PROBE_TIME, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // A full backlog says `WouldBlock`: somebody listens.
        Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(StartError::SocketInUse { path: path.to_owned() }),
    }
}

/// A directory of mode 0700 next to the socket's place; removed when dropped.
struct PrivateDir(PathBuf);

impl PrivateDir {
    fn beside(path: &Path, nonce: u32) -> io::Result<Self> {
        // A short name: a socket's path may have 107 bytes, and this one is longer than the final one.
        let dir = path.with_file_name(format!(".{nonce:08x}"));
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self(dir))
    }

    fn bind_and_move_to(&self, path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
        let inside = self.0.join("s");
        let listener = UnixListener::bind(&inside)?;
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
        let meta = fs::symlink_metadata(&inside)?;
        fs::rename(&inside, path)?;
        Ok((listener, (meta.dev(), meta.ino())))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // Ours alone, so at most our own unmoved socket is in it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("sync.sock");
        let (listener, file) = bind(&path).await.expect("nothing is in the way");
        let mode = fs::symlink_metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "the private directory is gone");
        UnixStream::connect(&path).await.expect("the moved socket is the bound one");
        drop((listener, file));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("sync.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
        assert!(path.exists(), "a process that dies leaves its socket");
        let first = bind(&path).await.expect("a dead socket is replaced");
        let refused = bind(&path).await.expect_err("the first one lives");
        assert!(matches!(refused, StartError::SocketInUse { .. }), "{refused}");
        drop(first);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("notes.txt");
        fs::write(&path, "precious").expect("writes");
        let refused = bind(&path).await.expect_err("no socket");
        assert!(matches!(refused, StartError::NotASocket { .. }), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "precious");
    }

    #[tokio::test]
    async fn a_path_too_long_or_without_a_directory_is_refused_with_the_path() {
        let long = PathBuf::from(format!("/tmp/{}/s", "x".repeat(120)));
        let missing = PathBuf::from("/nonexistent-directory/sync.sock");
        for path in [long, missing] {
            let refused = bind(&path).await.expect_err("cannot be made");
            assert!(refused.to_string().contains(&*path.to_string_lossy()), "{refused}");
        }
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_is_not_removed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("sync.sock");
        let (listener, file) = bind(&path).await.expect("nothing is in the way");
        drop(listener);
        let successor = bind(&path).await.expect("the first one is dead");
        drop(file);
        UnixStream::connect(&path).await.expect("the successor's socket is still there");
        drop(successor);
    }
}
