//! Steps of a link straight between two guests.

use serde::{Deserialize, Serialize};

use super::Op;
use crate::model::pair::End;
use crate::model::types::{IfName, LinkRef};

/// One end of a veth pair between two guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairEnd {
    /// The guest, as the user named it.
    pub guest: String,
    /// The interface's name there.
    pub interface: IfName,
}

/// A veth pair between two guests that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPair {
    /// Where it is made.
    pub first: PairEnd,
    /// Where it leads.
    pub second: PairEnd,
    /// MTU of both ends in bytes; the kernel's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

impl Op {
    /// A step as one guest would do for it, where there are two.
    #[must_use]
    pub fn unnamed(self) -> Self {
        match self {
            Self::At { step, .. } => *step,
            other => other,
        }
    }

    /// The same step in one of two linked guests.
    #[must_use]
    pub fn at(self, end: End, guest: &str) -> Self {
        Self::At { end, guest: guest.to_owned(), step: Box::new(self) }
    }
}

impl NewPair {
    /// The same pair with that end first.
    #[must_use]
    pub fn seen_from(&self, end: End) -> Self {
        match end {
            End::First => self.clone(),
            End::Second => Self { first: self.second.clone(), second: self.first.clone(), mtu: self.mtu },
        }
    }

    /// With one end goes the other.
    pub(super) fn undo(&self) -> Op {
        Op::DelOwnLink { link: LinkRef::guest(&self.first.interface) }.at(End::First, &self.first.guest)
    }

    pub(super) fn describe(&self) -> String {
        let Self { first, second, .. } = self;
        format!("make veth pair {} in {} and {} in {}", first.interface, first.guest, second.interface, second.guest)
    }
}

/// The words of a step that one guest would do for, where there are two: `set eth1 in web up`.
pub(super) fn describe_at(guest: &str, step: &Op) -> String {
    step.describe().replace("the guest", guest)
}
