//! Why a plugin could not do what it was asked, as the protocol says it.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::version::Version;

/// The kind of an error. Numbers up to 99 are the specification's, the others are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The configuration is of a version that this plugin does not speak.
    IncompatibleVersion,
    /// A key of the configuration that nobody here knows.
    UnsupportedField,
    /// There is no such container: nothing has to be cleaned up.
    UnknownContainer,
    /// A `CNI_` variable is missing or wrong.
    Environment,
    /// Reading or writing failed.
    Io,
    /// What was to be JSON is none.
    Decoding,
    /// A value of the configuration is wrong.
    Configuration,
    /// It may go well in a moment.
    TryAgain,
    /// STATUS: an ADD would fail.
    NotAvailable,
    /// It was not done, and nothing is left of it.
    NotDone,
    /// An interface of that name is there already.
    Exists,
    /// CHECK: it is not as it was made.
    Differs,
    /// DEL or GC: not all could be taken away.
    Left,
    /// As a delegated plugin says.
    Delegated(u32),
}

impl Code {
    /// The number.
    pub fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnsupportedField => 2,
            Self::UnknownContainer => 3,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decoding => 6,
            Self::Configuration => 7,
            Self::TryAgain => 11,
            Self::NotAvailable => 50,
            Self::NotDone => 100,
            Self::Exists => 101,
            Self::Differs => 102,
            Self::Left => 103,
            Self::Delegated(number) => number,
        }
    }
}

/// Why it could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct CniError {
    kind: Code,
    message: String,
    details: String,
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, ": {}", self.details) }
    }
}

/// Longer texts are cut: what is wrong may be a megabyte of somebody's input.
const LONGEST: usize = 2000;

impl CniError {
    /// An error in one sentence.
    pub fn new(kind: Code, message: impl Into<String>) -> Self {
        Self { kind, message: cut(message.into()), details: String::new() }
    }

    /// With more about it.
    #[must_use]
    pub fn with(self, details: impl Into<String>) -> Self {
        Self { details: cut(details.into()), ..self }
    }

    /// A value of the configuration is wrong.
    pub fn configuration(key: &str, why: impl fmt::Display) -> Self {
        Self::new(Code::Configuration, format!("{key}: {why}"))
    }

    /// What kind it is.
    pub fn kind(&self) -> Code {
        self.kind
    }

    /// Its number.
    pub fn code(&self) -> u32 {
        self.kind.number()
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

/// An error as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    #[serde(rename = "cniVersion")]
    version: &'static str,
    code: u32,
    msg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    details: String,
}

impl Failure {
    /// In the version that is spoken; the newest where that is not known.
    pub fn new(version: Option<Version>, error: &CniError) -> Self {
        let version = version.unwrap_or(Version::NEWEST).as_str();
        Self { version, code: error.code(), msg: error.message.clone(), details: error.details.clone() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_error_is_printed_in_the_protocol_s_form_and_never_endless() {
        let error = CniError::new(Code::TryAgain, "later").with("é".repeat(4000));
        let printed = serde_json::to_value(Failure::new(Some(Version::V0_4_0), &error)).unwrap();
        assert_eq!(
            (printed["cniVersion"].as_str(), printed["code"].as_u64(), printed["msg"].as_str()),
            (Some("0.4.0"), Some(11), Some("later"))
        );
        assert!(printed["details"].as_str().unwrap().len() < 2100);
        assert_eq!(serde_json::to_value(Failure::new(None, &CniError::new(Code::Io, "x"))).unwrap()["cniVersion"], "1.1.0");
    }
}
