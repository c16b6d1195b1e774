//! Why nobody can be answered.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why nobody can be answered.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There can be no socket file.
    #[error("cannot listen on {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody listens there already.
    #[error("{0} is in use: another daemon answers there (end it, or give this one another --socket)")]
    InUse(PathBuf),
    /// What is there is no socket.
    #[error("{0} is there, and is no socket: give another --socket, or remove it")]
    NoSocket(PathBuf),
    /// There can be no TCP socket.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// TCP without a token.
    #[error(
        "--listen {0} needs --token-file FILE: whoever asks by TCP must know what is in it (make one: umask 077; head -c 32 /dev/urandom | base64 > FILE)"
    )]
    NoToken(SocketAddr),
    /// A page for everybody without a token.
    #[error(
        "--page {0} is not this host's alone and needs --token-file FILE: whoever looks at it gives what is in it as password (make one: umask 077; head -c 32 /dev/urandom | base64 > FILE)"
    )]
    NoPageToken(SocketAddr),
    /// A token that nobody asks for.
    #[error("--token-file is for --listen ADDRESS:PORT: give both, or neither")]
    TokenWithoutListen,
    /// The token's file cannot be read.
    #[error("token file {path}")]
    TokenFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token is not kept well.
    #[error("token file {path}: {why}")]
    BadToken {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to type.
        why: String,
    },
    /// There can be no thread.
    #[error("cannot start the thread that answers")]
    Thread(#[source] std::io::Error),
}
