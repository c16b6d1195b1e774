//! The engine's questions and our answers, as HTTP. Bounded in all ways: how many, how long, how large.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Shop;
use super::driver::Driver;
use crate::kernel::signal::{Signals, obey};
use crate::model::network_driver::{Answer, Call, CallError, MOST_BYTES};

/// Connections at a time: the engine keeps some open.
const MOST_CONNECTIONS: usize = 128;
/// Questions that are worked on at a time.
const MOST_AT_WORK: usize = 32;
/// A body must be there in this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an error of accept(2), which is no use to repeat at once.
const PAUSE: Duration = Duration::from_millis(200);
/// What is under way at the end may take this long.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// An answer that is made is sent in this time.
const SENDING: Duration = Duration::from_millis(50);
const MOST_HEADERS: usize = 64;
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// As the engine asks for it (docker's pkg/plugins/transport).
const KIND: &str = "application/vnd.docker.plugins.v1.1+json";

/// Answers until a signal comes.
pub(super) fn serve(listener: UnixListener, shop: &Arc<Shop>, signals: Signals) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(MOST_AT_WORK).build()?;
    let (stop, stopped) = watch::channel(false);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut signals = signals;
        while signals.take().is_none() {
            let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
        }
        let _ = stop.send(true);
    })?;
    runtime.block_on(listen(listener, shop.clone(), stopped))?;
    runtime.shutdown_timeout(LAST_WORDS);
    Ok(())
}

async fn listen(listener: UnixListener, shop: Arc<Shop>, mut stopped: watch::Receiver<bool>) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let busy = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let door = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let forever = async {
        loop {
            // Who comes when all places are taken waits in the socket's own queue.
            let Ok(place) = door.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(converse(stream, shop.clone(), busy.clone(), place))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    tokio::select! {
        () = forever => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    // Those that wait for a server, or for Consul, are to stop. What was asked is answered: the engine cannot ask it again.
    shop.stop.ask();
    let all = u32::try_from(MOST_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(LAST_WORDS, busy.acquire_many(all)).await;
    tokio::time::sleep(SENDING).await;
    Ok(())
}

/// One connection, from beginning to end.
async fn converse(stream: UnixStream, shop: Arc<Shop>, busy: Arc<Semaphore>, _place: OwnedSemaphorePermit) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_headers(MOST_HEADERS).max_buf_size(MOST_HEAD_BYTES);
    let service = service_fn(|question| {
        let (shop, busy) = (shop.clone(), busy.clone());
        async move {
            let _busy = busy.acquire().await;
            answer(question, shop).await
        }
    });
    // How it ended is the other side's business.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(question: Request<Incoming>, shop: Arc<Shop>) -> Result<Response<Full<Bytes>>, Infallible> {
    if question.method() != Method::POST {
        return Ok(said(StatusCode::METHOD_NOT_ALLOWED, &Answer::failed("calls are made with POST")));
    }
    let path = question.uri().path().to_owned();
    let body = Limited::new(question.into_body(), MOST_BYTES).collect();
    let body = match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Ok(said(StatusCode::BAD_REQUEST, &Answer::failed(&format!("the body: {error}")))),
        Err(_) => return Ok(said(StatusCode::REQUEST_TIMEOUT, &Answer::failed("the body does not come"))),
    };
    let worked = tokio::task::spawn_blocking(move || work(&path, &body, &shop)).await;
    Ok(worked.unwrap_or_else(|error| said(StatusCode::INTERNAL_SERVER_ERROR, &Answer::failed(&error.to_string()))))
}

/// On a thread of its own: the kernel, files and servers are waited for.
fn work(path: &str, body: &[u8], shop: &Arc<Shop>) -> Response<Full<Bytes>> {
    obey(&shop.stop);
    match Call::read(path, body) {
        Ok(call) => said(StatusCode::OK, &Driver::of(shop).answer(call)),
        Err(error @ CallError::Unknown(_)) => said(StatusCode::NOT_FOUND, &Answer::failed(&error.to_string())),
        Err(error) => said(StatusCode::BAD_REQUEST, &Answer::failed(&error.to_string())),
    }
}

fn said(status: StatusCode, answer: &Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.text().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
    response
}
