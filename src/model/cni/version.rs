//! The versions of the specification that this plugin speaks.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::error::{CniError, Code};

/// A version of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Results with interfaces, plugins in a chain.
    V0_3_1,
    /// CHECK, and the last result for DEL.
    V0_4_0,
    /// Addresses no longer say their family.
    V1_0_0,
    /// GC and STATUS; the MTU of interfaces, more of routes.
    V1_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The newest.
    pub const NEWEST: Self = Self::V1_1_0;

    /// As a configuration says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = CniError;

    fn from_str(text: &str) -> Result<Self, CniError> {
        if let Some(known) = Self::ALL.into_iter().find(|version| version.as_str() == text) {
            return Ok(known);
        }
        let known = Self::ALL.map(Self::as_str).join(", ");
        if !is_semantic(text) {
            return Err(CniError::new(Code::Decoding, format!("cniVersion {text:?} is no version: one of {known} is")));
        }
        Err(CniError::new(Code::IncompatibleVersion, "incompatible CNI versions")
            .with(format!("the configuration has {text}, this plugin speaks {known}")))
    }
}

/// Three numbers, and perhaps more behind them.
fn is_semantic(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3 && numbers.split('.').all(is_number)
}

/// The answer to VERSION.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    #[serde(rename = "cniVersion")]
    version: String,
    #[serde(rename = "supportedVersions")]
    supported: Vec<&'static str>,
}

impl Versions {
    /// In answer to a document that says which version is spoken; the newest where it does not.
    pub fn answer(input: Option<&serde_json::Value>) -> Self {
        let asked = input.and_then(|value| value.get("cniVersion")?.as_str()).filter(|text| is_semantic(text));
        let version = asked.unwrap_or(Version::NEWEST.as_str()).to_owned();
        Self { version, supported: Version::ALL.map(Version::as_str).to_vec() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_version_is_known_or_too_old_or_too_new_or_none() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
        }
        for text in ["0.1.0", "0.2.0", "0.3.0", "1.2.0", "2.0.0", "1.1.0-rc1"] {
            assert_eq!(text.parse::<Version>().unwrap_err().code(), 1, "{text}");
        }
        for text in ["", "1", "1.1", "one", "1.1.x", "1.1.0.0", "99999999999.0.0"] {
            assert_eq!(text.parse::<Version>().unwrap_err().code(), 6, "{text}");
        }
    }

    #[test]
    fn version_is_answered_with_the_version_that_was_asked_with() {
        let answer = |input: &str| serde_json::to_value(Versions::answer(serde_json::from_str(input).ok().as_ref())).unwrap();
        assert_eq!(answer(r#"{"cniVersion":"0.4.0"}"#)["cniVersion"], "0.4.0");
        for input in ["", "[]", r#"{"cniVersion":7}"#, r#"{"cniVersion":"x"}"#] {
            assert_eq!(answer(input)["cniVersion"], "1.1.0", "{input}");
        }
        assert_eq!(answer("{}")["supportedVersions"], serde_json::json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
    }
}
