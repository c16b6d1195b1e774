//! The daemon's ear for questions: HTTP on a socket file, and by TCP when that is asked for. A thread of its own, so that
//! whoever asks, and however slowly, holds up no guest. The only place that knows hyper.

mod answer;
mod error;
mod metrics;
mod page;
mod query;
mod socket;
mod token;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::board::Board;
use answer::{Desk, Visit};
pub use error::ServeError;
use page::Front;
pub use page::{Page, PageOptions, Sheet};
pub(in crate::frontend) use socket::{SocketFile, unix};

pub use token::Token;

/// The socket's name in the run directory.
pub const SOCKET: &str = "daemon.sock";

/// Connections at a time, for each of the two ways in. More are told so and closed.
const MOST_CONNECTIONS: usize = 64;
/// A question must be there in this time; a connection without one ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that follows no events ends after this.
const LONGEST_VISIT: Duration = Duration::from_secs(60);
/// A question is at most so long. hyper takes no less than 8192.
const MOST_BYTES: usize = 16 * 1024;
const MOST_HEADERS: usize = 32;
/// What is under way at the end may take this long to end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// After an error of accept(2), which is no use to repeat at once: too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Where to listen.
#[derive(Clone, Default)]
pub struct ServeOptions {
    /// The socket file.
    pub socket: PathBuf,
    /// A TCP address, too. Whoever asks there has to know the token.
    pub listen: Option<SocketAddr>,
    /// The file that the token is in.
    pub token_file: Option<PathBuf>,
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// A page for people, too.
    pub page: Option<PageOptions>,
}

/// A thread that answers. It ends with this.
pub struct Server {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
    _socket: SocketFile,
}

impl Server {
    /// Where TCP is listened to: with the port that the kernel chose when 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error: the thread has ended by itself.
        let _ = self.stop.send(true);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Begins to answer.
///
/// # Errors
/// When there can be no socket; when TCP is asked for without a token that is kept.
pub fn serve(board: &Board, options: &ServeOptions) -> Result<Server, ServeError> {
    // What is this host's alone needs no token, and has none: whoever is on it sees as much by other ways.
    let open_page = options.page.as_ref().map(|page| page.address).filter(|address| !address.ip().is_loopback());
    let token = match (&options.listen, open_page, &options.token_file) {
        (Some(address), _, None) => return Err(ServeError::NoToken(*address)),
        (None, Some(address), None) => return Err(ServeError::NoPageToken(address)),
        (Some(_), _, Some(path)) | (None, Some(_), Some(path)) => Some(Token::read(path)?),
        (None, None, Some(_)) => return Err(ServeError::TokenWithoutListen),
        (None, None, None) => None,
    };
    let front = match &options.page {
        Some(page) => Some((socket::tcp(page.address)?, Front::new(page, token.clone().filter(|_| open_page.is_some())))),
        None => None,
    };
    let tcp = options.listen.map(socket::tcp).transpose()?;
    let address = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
    let (unix, socket) = socket::unix(&options.socket)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Thread)?;
    let (stop, stopped) = watch::channel(false);
    let desk = Arc::new(Desk::new(board.clone(), options.run_dir.clone(), stopped));
    let work = move || runtime.block_on(listen(unix, tcp.zip(token), front, desk));
    let thread = std::thread::Builder::new().name("serve".into()).spawn(work).map_err(ServeError::Thread)?;
    Ok(Server { stop, thread: Some(thread), address, _socket: socket })
}

async fn listen(unix: UnixListener, tcp: Option<(TcpListener, Token)>, front: Option<(TcpListener, Front)>, desk: Arc<Desk>) {
    let mut stopped = desk.stopped();
    // Each has connections of its own: nobody in the network can take the socket file's.
    let doors = [(); 3].map(|()| Arc::new(Semaphore::new(MOST_CONNECTIONS)));
    let [by_unix, by_tcp, by_page] = doors.clone();
    let unix = tokio::net::UnixListener::from_std(unix);
    let (tcp, token) = tcp.unzip();
    let (page, front) = front.unzip();
    let open = |listener: Option<TcpListener>| listener.map(tokio::net::TcpListener::from_std).transpose();
    // All were set not to block; a runtime that cannot watch them is one without epoll.
    let (Ok(unix), Ok(tcp), Ok(page)) = (unix, open(tcp), open(page)) else { return };
    let (local, remote) = (Visit::local(desk.clone()), token.map(|token| Visit::remote(desk.clone(), token)));
    let from_unix = accept(&by_unix, async || unix.accept().await.map(|(s, _)| s), |stream, place| converse(stream, local.again(), place));
    let from_tcp = async {
        match (&tcp, &remote) {
            (Some(tcp), Some(remote)) => {
                let next = async || tcp.accept().await.and_then(|(s, _)| socket::patient(s));
                accept(&by_tcp, next, |stream, place| converse(stream, remote.again(), place)).await
            }
            _ => std::future::pending().await,
        }
    };
    let from_page = async {
        match (&page, &front) {
            (Some(page), Some(front)) => {
                let next = async || page.accept().await.and_then(|(s, _)| socket::patient(s));
                accept(&by_page, next, |stream, place| show(stream, front.clone(), place)).await
            }
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = from_unix => {}
        () = from_tcp => {}
        () = from_page => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    let all = u32::try_from(MOST_CONNECTIONS).unwrap_or(u32::MAX);
    let ended = async {
        for door in doors {
            let _ = door.acquire_many(all).await;
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, ended).await;
}

/// Takes connections for ever.
async fn accept<S, F>(door: &Arc<Semaphore>, next: impl AsyncFn() -> std::io::Result<S>, talk: impl Fn(S, OwnedSemaphorePermit) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let Ok(mut stream) = next().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        match door.clone().try_acquire_owned() {
            Ok(place) => drop(tokio::spawn(talk(stream, place))),
            Err(_) => {
                // What does not fit into the socket's buffer at once is not worth waiting for.
                let full = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\nconnection: close\r\n\r\n";
                let _ = tokio::time::timeout(Duration::ZERO, stream.write_all(full)).await;
            }
        }
    }
}

/// One connection of somebody who looks at the page.
async fn show<S>(stream: S, front: Front, _place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|question| std::future::ready(Ok::<_, std::convert::Infallible>(front.answer(&question))));
    let connection = http().serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(LONGEST_VISIT, connection).await;
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_headers(MOST_HEADERS).max_buf_size(MOST_BYTES);
    http
}

/// One connection, from beginning to end.
async fn converse<S>(stream: S, visit: Visit, _place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let follows = visit.follows.clone();
    let service = service_fn(|question| visit.answer(question));
    let connection = http().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How it ended is the other side's business.
    tokio::select! {
        _ = &mut connection => return,
        () = tokio::time::sleep(LONGEST_VISIT) => {}
    }
    if follows.load(Ordering::Relaxed) {
        let _ = connection.await;
    }
}
