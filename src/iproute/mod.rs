//! iproute2's grammar and its way of printing (ip-route(8), ip-rule(8), tc(8)): words to what is asked, and what the kernel
//! has to text. Pure: what the words need to know of the system (tables' names, links' indexes) is given to it.

pub mod address;
pub mod given;
pub mod names;
pub mod options;
pub mod route;
pub mod rule;
pub mod tc;
mod words;

pub use words::{Keyword, Words, abbreviates, keyword, number, short, whole};

use std::fmt;

use thiserror::Error;

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `ip route`
    Route,
    /// `ip rule`
    Rule,
    /// `tc`
    Tc,
}

impl Tool {
    /// The program that knows all of its words, and the words that stand before the user's.
    pub fn program(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Route => ("ip", &["route"]),
            Self::Rule => ("ip", &["rule"]),
            Self::Tc => ("tc", &[]),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Route => "route",
            Self::Rule => "rule",
            Self::Tc => "tc",
        })
    }
}

/// Why words are no command for us.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WordsError {
    /// A word that this program does not know; iproute2's own program may.
    #[error("{word:?} is not known here{}", .place.map(|place| format!(" ({place})")).unwrap_or_default())]
    Unknown {
        /// The word.
        word: String,
        /// Where it stands: `route add`, `qdisc netem`.
        place: Option<&'static str>,
    },
    /// Wrong, whichever program reads it; says what to type instead.
    #[error("{0}")]
    Bad(String),
}
