//! What a container's own words may ask for.

use thiserror::Error;

use super::Container;
use crate::model::request::AttachRequest;
use crate::model::topology::{How, Located};

/// Which containers may use what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {}

/// What is refused, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{rule} does not allow {what}")]
pub struct Refusal {
    /// The rule, as it can be found in the file.
    pub rule: String,
    /// What was asked.
    pub what: String,
}

impl Policy {
    /// Reads the file.
    ///
    /// # Errors
    /// Every mistake in it, with its line.
    pub fn read(text: &str) -> Result<Self, Vec<Located>> {
        let _ = text;
        Ok(Self {})
    }

    /// Whether the container may have what its words ask for.
    ///
    /// # Errors
    /// The first rule that does not allow it.
    pub fn check(&self, container: &Container, request: &AttachRequest, how: &How) -> Result<(), Refusal> {
        let _ = (container, how);
        if request.direct_phys {
            return Err(Refusal { rule: "the default policy".into(), what: "--direct-phys".into() });
        }
        Ok(())
    }
}
