//! The sockets that questions come by.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::ServeError;

/// Who may ask by the socket file: its owner and its group.
const MODE: u32 = 0o660;
/// A peer that is gone, or takes nothing, is given up after this.
const GIVE_UP: Duration = Duration::from_secs(60);

/// A socket file of ours: removed at the end.
#[derive(Debug)]
pub(in crate::frontend) struct SocketFile {
    path: PathBuf,
    /// Another daemon's, which has taken the place since, is not ours to remove.
    identity: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Listens on a socket file. One that a daemon left behind, which was killed, is removed.
pub(in crate::frontend) fn unix(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
    let fail = |source| ServeError::Socket { path: path.to_owned(), source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(fail)?;
    }
    remove_left_behind(path)?;
    // Until its mode is set only the owner, or whoever the umask lets write, can connect.
    let listener = UnixListener::bind(path).map_err(fail)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path) };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok((listener, file))
}

fn remove_left_behind(path: &Path) -> Result<(), ServeError> {
    let fail = |source| ServeError::Socket { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ServeError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ServeError::InUse(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(fail),
        Err(error) => Err(fail(error)),
    }
}

/// Listens on a TCP address.
pub(super) fn tcp(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| ServeError::Listen { address, source })
}

/// A connection that ends by itself when its peer is gone, or takes nothing.
pub(super) fn patient(stream: tokio::net::TcpStream) -> Result<tokio::net::TcpStream, Error> {
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(GIVE_UP))?;
    socket.set_tcp_user_timeout(Some(GIVE_UP))?;
    Ok(stream)
}
