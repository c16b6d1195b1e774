//! What is answered to whom.

use std::convert::Infallible;
use std::future::ready;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::super::board::{Board, Event, Follower};
use super::metrics;
use super::query::EventQuery;
use super::token::Token;
use crate::lifecycle;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Answer = Response<Body>;

/// Those who follow events, at a time.
const MOST_FOLLOWERS: usize = 32;
/// A line without anything in it, so that a follower's end is noticed when there is nothing to tell.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Records are read at most so often, however many ask.
const FRESH: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const JSON_LINES: &str = "application/jsonl";

/// All that answers are made of.
pub(super) struct Desk {
    board: Board,
    run_dir: PathBuf,
    stopped: watch::Receiver<bool>,
    followers: Arc<AtomicUsize>,
    attachments: Mutex<Option<(Instant, Attachments)>>,
}

/// The attachments as they were read: how many, and as JSON; or why not.
type Attachments = Result<(usize, Bytes), String>;

impl Desk {
    pub(super) fn new(board: Board, run_dir: PathBuf, stopped: watch::Receiver<bool>) -> Self {
        Self { board, run_dir, stopped, followers: Arc::default(), attachments: Mutex::default() }
    }

    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.clone()
    }

    fn attachments(&self) -> Attachments {
        let mut known = self.attachments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, read)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return read.clone();
        }
        let read = self.read();
        *known = Some((Instant::now(), read.clone()));
        read
    }

    fn read(&self) -> Attachments {
        let report = lifecycle::recorded(&self.run_dir).map_err(|error| error.chain().join(": "))?;
        let json = serde_json::to_vec(&report).map_err(|error| error.to_string())?;
        Ok((report.attachments.len(), json.into()))
    }

    /// The events that are kept, and, when that is asked for, those to come.
    fn events(self: &Arc<Self>, query: &EventQuery) -> Option<Body> {
        if !query.follow {
            let lines = self.board.recent(&query.since).iter().map(|event| line(event)).collect::<Vec<Bytes>>();
            return Some(Full::new(lines.concat().into()).boxed_unsync());
        }
        let place = Place::take(&self.followers)?;
        let (before, follower) = self.board.follow(&query.since);
        let before = stream::iter(before.into_iter().map(|event| line(&event)));
        let after = stream::unfold((follower, self.stopped(), place), |(mut follower, mut stopped, place)| async move {
            let bytes = next(&mut follower, &mut stopped).await?;
            Some((bytes, (follower, stopped, place)))
        });
        let frames = before.chain(after).map(|bytes| Ok(Frame::data(bytes)));
        Some(StreamBody::new(frames).boxed_unsync())
    }
}

fn line(event: &Event) -> Bytes {
    (event.json() + "\n").into()
}

/// What a follower is told next; nothing more when the daemon ends, and all is told.
async fn next(follower: &mut Follower, stopped: &mut watch::Receiver<bool>) -> Option<Bytes> {
    tokio::select! {
        biased;
        event = follower.next() => event.map(|event| line(&event)),
        _ = stopped.wait_for(|stopped| *stopped) => None,
        () = tokio::time::sleep(SIGN_OF_LIFE) => Some(Bytes::from_static(b"\n")),
    }
}

/// A follower's place: given back at its end.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |now: usize| (now < MOST_FOLLOWERS).then_some(now + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(count.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection's way in.
pub(super) struct Visit {
    desk: Arc<Desk>,
    token: Option<Token>,
    /// Whether events are followed: such a connection may last.
    pub(super) follows: Arc<AtomicBool>,
}

impl Visit {
    /// By the socket file: whoever can open it may ask.
    pub(super) fn local(desk: Arc<Desk>) -> Self {
        Self { desk, token: None, follows: Arc::default() }
    }

    /// By TCP: whoever knows the token may ask.
    pub(super) fn remote(desk: Arc<Desk>, token: Token) -> Self {
        Self { token: Some(token), ..Self::local(desk) }
    }

    /// The same way in, for another connection.
    pub(super) fn again(&self) -> Self {
        Self { desk: self.desk.clone(), token: self.token.clone(), follows: Arc::default() }
    }

    pub(super) fn answer(&self, question: Request<Incoming>) -> impl Future<Output = Result<Answer, Infallible>> + use<> {
        let told = question.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_let_in = self.token.as_ref().is_none_or(|token| token.is_in(told));
        ready(Ok(if is_let_in { self.route(&question) } else { unauthorised() }))
    }

    fn route(&self, question: &Request<Incoming>) -> Answer {
        if !matches!(*question.method(), Method::GET | Method::HEAD) {
            return with(said(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here"), ALLOW, "GET, HEAD");
        }
        let uri = question.uri();
        match uri.path() {
            "/metrics" => {
                let count = self.desk.attachments().ok().map(|(count, _)| count);
                full(StatusCode::OK, metrics::TYPE, metrics::text(&self.desk.board, count).into())
            }
            "/healthz" => self.health(),
            "/v1/attachments" => match self.desk.attachments() {
                Ok((_, json)) => full(StatusCode::OK, JSON, json),
                Err(why) => said(StatusCode::INTERNAL_SERVER_ERROR, &why),
            },
            "/v1/events" => self.events(uri.query()),
            _ => said(StatusCode::NOT_FOUND, "there are /metrics, /healthz, /v1/attachments and /v1/events"),
        }
    }

    fn health(&self) -> Answer {
        let complaints = self.desk.board.health().complaints();
        if complaints.is_empty() { said(StatusCode::OK, "ok") } else { said(StatusCode::SERVICE_UNAVAILABLE, &complaints.join("\n")) }
    }

    fn events(&self, query: Option<&str>) -> Answer {
        let query = match EventQuery::parse(query) {
            Ok(query) => query,
            Err(why) => return said(StatusCode::BAD_REQUEST, &why),
        };
        let Some(body) = self.desk.events(&query) else {
            return said(StatusCode::SERVICE_UNAVAILABLE, &format!("{MOST_FOLLOWERS} follow already: try again later"));
        };
        if query.follow {
            self.follows.store(true, Ordering::Relaxed);
        }
        typed(StatusCode::OK, JSON_LINES, body)
    }
}

fn unauthorised() -> Answer {
    with(said(StatusCode::UNAUTHORIZED, "give the token: Authorization: Bearer TOKEN"), WWW_AUTHENTICATE, "Bearer realm=\"pipework\"")
}

pub(super) fn said(status: StatusCode, text: &str) -> Answer {
    full(status, TEXT, format!("{text}\n").into())
}

pub(super) fn full(status: StatusCode, kind: &'static str, bytes: Bytes) -> Answer {
    typed(status, kind, Full::new(bytes).boxed_unsync())
}

fn typed(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    with(with(answer, CONTENT_TYPE, kind), CACHE_CONTROL, "no-store")
}

pub(super) fn with(mut answer: Answer, name: hyper::header::HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
