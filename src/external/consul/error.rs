//! What can go wrong with Consul.

use thiserror::Error;

/// Why it is not as asked.
#[derive(Debug, Error)]
pub enum ConsulError {
    /// The address, the token or the files for TLS are no such thing.
    #[error("{0}")]
    Access(String),
    /// The request cannot be written.
    #[error("{what}: no request can be made of it")]
    Request {
        /// What was asked.
        what: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// Nobody heard it: it was not done.
    #[error("Consul at {address} cannot be reached")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// It was sent, and no whole answer came: it may have been done.
    #[error("{what}: no answer from Consul at {address}")]
    NoAnswer {
        /// What was asked.
        what: String,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The agent refuses.
    #[error("{what}: Consul answers {status}{}", if text.is_empty() { String::new() } else { format!(": {text}") })]
    Refused {
        /// What was asked.
        what: String,
        /// HTTP's status.
        status: u16,
        /// The agent's words.
        text: String,
    },
    /// The answer, or what was to be sent, is not what the API says.
    #[error("{what}: Consul's answer is not understood")]
    Nonsense {
        /// What was asked.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ConsulError {
    pub(super) fn of(what: &str, address: &str, error: ureq::Error) -> Self {
        use ureq::{Error, Timeout};
        let (what, address, source) = (what.to_owned(), address.to_owned(), Box::new(error));
        match source.as_ref() {
            Error::HostNotFound | Error::ConnectionFailed | Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Self::Unreachable { address, source }
            }
            Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Self::Unreachable { address, source },
            Error::BadUri(_) | Error::Http(_) | Error::Tls(_) => Self::Request { what, source },
            _ => Self::NoAnswer { what, address, source },
        }
    }

    /// Whether what was asked may have been done all the same. It is looked at before it is asked again.
    pub fn is_open(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::Nonsense { .. } => true,
            // A server that lost its leader in between says so with 500 (agent/http.go), and what it had begun may go on.
            Self::Refused { status, .. } => *status >= 500,
            Self::Access(_) | Self::Request { .. } | Self::Unreachable { .. } => false,
        }
    }

    /// Whether a token is missing, or may not do this.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }

    /// Whether the session that a lock was asked for has ended (500 `invalid session`).
    pub fn is_dead_session(&self) -> bool {
        matches!(self, Self::Refused { status: 500, text, .. } if text.contains("invalid session"))
    }

    /// Whether it may go well later: nobody answers, or there is no leader at the moment.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 500..),
            Self::Access(_) | Self::Request { .. } | Self::Nonsense { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { status: 401 | 403, .. } => {
                Some("give a token that may do this: CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_TOKEN or token_file in cluster.toml".into())
            }
            Self::Unreachable { .. } => Some("is the agent running? Another address: CONSUL_HTTP_ADDR or cluster.toml".into()),
            _ => None,
        }
    }
}
