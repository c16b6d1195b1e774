//! A page for people, served beside the daemon's answers for programs: what is on it, somebody else says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, full, said, with};
use super::token::Token;

/// What a page consists of. It is asked by a thread that answers all: it never waits.
pub trait Page: Send + Sync {
    /// The sheet of that path.
    fn sheet(&self, path: &str) -> Option<Sheet>;
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Its media type.
    pub kind: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Where a page is, and what.
#[derive(Clone)]
pub struct PageOptions {
    /// Where it is listened.
    pub address: SocketAddr,
    /// What is served.
    pub page: Arc<dyn Page>,
}

/// Nothing from elsewhere, and nothing of ours in somebody else's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// One connection's way in.
#[derive(Clone)]
pub(super) struct Front {
    page: Arc<dyn Page>,
    token: Option<Token>,
    is_local: bool,
}

impl Front {
    pub(super) fn new(options: &PageOptions, token: Option<Token>) -> Self {
        Self { page: options.page.clone(), token, is_local: options.address.ip().is_loopback() }
    }

    pub(super) fn answer<B>(&self, question: &Request<B>) -> Answer {
        let told = question.headers().get(hyper::header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if self.token.as_ref().is_some_and(|token| !token.is_in(told) && !token.is_password_in(told)) {
            return with(said(StatusCode::UNAUTHORIZED, "give the token as password"), WWW_AUTHENTICATE, "Basic realm=\"pipework\"");
        }
        let host = question.headers().get(HOST).and_then(|host| host.to_str().ok());
        if self.is_local && !host.is_some_and(is_this_host) {
            // A name of somebody else's that leads to this host by now: a page from there would read ours.
            return said(StatusCode::MISDIRECTED_REQUEST, "this page is at 127.0.0.1, [::1] and localhost");
        }
        if !matches!(*question.method(), Method::GET | Method::HEAD) {
            return with(said(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here"), hyper::header::ALLOW, "GET, HEAD");
        }
        let answer = match self.page.sheet(question.uri().path()) {
            Some(Sheet { kind, bytes }) => full(StatusCode::OK, kind, bytes.into()),
            None => said(StatusCode::NOT_FOUND, "the page is at /"),
        };
        let answer = with(with(answer, CONTENT_SECURITY_POLICY, POLICY), X_CONTENT_TYPE_OPTIONS, "nosniff");
        with(with(answer, REFERRER_POLICY, "no-referrer"), X_FRAME_OPTIONS, "DENY")
    }
}

/// Whether a `Host` header names this host, by what nobody else can give away.
fn is_this_host(host: &str) -> bool {
    let name = match host.parse::<SocketAddr>() {
        Ok(address) => return address.ip().is_loopback(),
        Err(_) => host.rsplit_once(':').map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }),
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_header_has_to_be_this_host() {
        for (host, wanted) in [
            ("127.0.0.1:8585", true),
            ("127.0.0.1", true),
            ("localhost:8585", true),
            ("LOCALHOST", true),
            ("[::1]:8585", true),
            ("[::1]", true),
            ("evil.example:8585", false),
            ("localhost.evil.example", false),
            ("192.168.1.1:8585", false),
            ("", false),
        ] {
            assert_eq!(is_this_host(host), wanted, "{host}");
        }
    }
}
