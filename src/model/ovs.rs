//! Open vSwitch: what its database has of a bridge and a port, what a port is to be, and what can go wrong with it.
//! Names of columns are those of ovs-vswitchd.conf.db(5).

use std::collections::BTreeMap;
use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::types::{IfName, VlanId};
use super::vlan::{PortVlans, VlanRange};

/// What the database has of the names that a request leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OvsFacts {
    /// The bridge of the request's first word.
    pub bridge: Option<OvsBridge>,
    /// The port that has the name of our veth's host end.
    pub port: Option<OvsPort>,
}

/// A bridge in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OvsBridge {
    /// A row of the table Bridge.
    Real,
    /// A VLAN of another bridge under a name of its own (`ovs-vsctl add-br NAME PARENT VLAN`).
    Fake {
        /// The bridge that it is a part of.
        parent: String,
        /// The VLAN of its ports.
        vlan: VlanId,
    },
}

/// A port in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsPort {
    /// Its name.
    pub name: String,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
    /// Its VLANs.
    pub vlans: OvsVlans,
    /// `external_ids` of its interface.
    pub ids: BTreeMap<String, String>,
    /// `_uuid` of the port's row.
    pub uuid: String,
    /// The rows of the port and of its interface as JSON, of which they are made again; empty when it has several.
    pub raw: String,
}

/// The key of `external_ids` that a bridge has which we made.
pub const BRIDGE_MARK: &str = "pipework.bridge";

/// The key of `external_ids` that the original, too, writes the port's own name under.
pub const OWN_NAME: &str = "pipework.interface";

impl OvsPort {
    /// Whether pipework, this one or the original, made it.
    pub fn is_ours(&self) -> bool {
        !self.raw.is_empty() && self.ids.get(OWN_NAME) == Some(&self.name)
    }
}

/// How a port is to the VLANs: the columns `vlan_mode`, `tag` and `trunks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsVlans {
    /// `vlan_mode`; when absent it is `access` with a tag, else `trunk`.
    pub mode: Option<String>,
    /// `tag`
    pub tag: Option<u16>,
    /// `trunks`, ascending.
    pub trunks: Vec<u16>,
}

impl From<&PortVlans> for OvsVlans {
    fn from(vlans: &PortVlans) -> Self {
        let mode = match (vlans.untagged, vlans.tagged.is_empty()) {
            // As the original leaves it: the tag alone makes it an access port.
            (_, true) => None,
            (Some(_), false) => Some("native-untagged".to_owned()),
            (None, false) => Some("trunk".to_owned()),
        };
        let trunks = vlans.tagged.iter().flat_map(VlanRange::numbers).collect();
        Self { mode, tag: vlans.untagged.map(VlanId::get), trunks }
    }
}

impl OvsVlans {
    fn effective_mode(&self) -> &str {
        match (&self.mode, self.tag) {
            (Some(mode), _) => mode,
            (None, Some(_)) => "access",
            (None, None) => "trunk",
        }
    }

    /// Whether the same frames pass.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.effective_mode(), self.tag, &self.trunks) == (other.effective_mode(), other.tag, &other.trunks)
    }

    /// `trunks` as ovs-vsctl takes it: `20-30,40`.
    pub fn trunk_text(&self) -> String {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for id in &self.trunks {
            match runs.last_mut() {
                Some((_, last)) if *id == last.saturating_add(1) => *last = *id,
                _ => runs.push((*id, *id)),
            }
        }
        let text = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
        runs.iter().map(text).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for OvsVlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.mode.is_none() && self.tag.is_none() && self.trunks.is_empty();
        if all {
            return f.write_str("all");
        }
        f.write_str(self.effective_mode())?;
        self.tag.map_or(Ok(()), |tag| write!(f, " {tag}"))?;
        if self.trunks.is_empty() { Ok(()) } else { write!(f, ", tagged {}", self.trunk_text()) }
    }
}

/// A port that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOvsPort {
    /// The bridge, a real one.
    pub bridge: IfName,
    /// The port, its interface and the link.
    pub name: IfName,
    /// Its VLANs.
    pub vlans: OvsVlans,
    /// `external_ids` of its interface.
    pub ids: BTreeMap<String, String>,
    /// What a dead attach left under this name: it makes room, and is put back by an undo.
    pub replaces: Option<OvsPort>,
}

/// What went wrong between us, the database and the switch.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OvsError {
    /// Not an address of a database.
    #[error("database address {text:?}: {why}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody listens there.
    #[error("no Open vSwitch database server at {address}: {why}")]
    Gone {
        /// Where.
        address: String,
        /// What the system says.
        why: String,
    },
    /// The socket may not be opened.
    #[error("the Open vSwitch database at {address} may not be opened: permission denied")]
    Permission {
        /// Where.
        address: String,
    },
    /// It took the connection and says nothing.
    #[error("the Open vSwitch database server at {address} did not answer within {ms} ms")]
    Silent {
        /// Where.
        address: String,
        /// For how long, in milliseconds.
        ms: u64,
    },
    /// It went away between request and answer.
    #[error("the Open vSwitch database server at {address} went away before it answered ({why})")]
    Lost {
        /// Where.
        address: String,
        /// What was seen of it.
        why: String,
    },
    /// It is no RFC 7047 answer.
    #[error("the answer from {address} is not a database server's: {why}")]
    Garbled {
        /// Where.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// It serves something else.
    #[error("{address} serves no Open vSwitch database that we know: {why}")]
    WrongSchema {
        /// Where.
        address: String,
        /// What the server says of it.
        why: String,
    },
    /// It refused the transaction (RFC 7047, section 3.1): nothing of it was done.
    #[error("the database refused: {error}: {details}")]
    Refused {
        /// The short name of the error.
        error: String,
        /// The server's explanation.
        details: String,
    },
    /// Somebody else changed it since we looked: nothing was done.
    #[error("{what}")]
    Changed {
        /// What is not as it was.
        what: String,
        /// The error number that a link in that place would give.
        errno: Errno,
    },
    /// Nobody acts on what is in the database.
    #[error("ovs-vswitchd did not take the change within {ms} ms")]
    NotTaken {
        /// For how long, in milliseconds.
        ms: u64,
    },
    /// ovs-vswitchd could not do it.
    #[error("ovs-vswitchd could not set up {name}: {why}")]
    Switch {
        /// The bridge or port.
        name: String,
        /// `Interface.error`, or what is missing.
        why: String,
    },
    /// A signal came while we waited for ovs-vswitchd.
    #[error("interrupted by {0}")]
    Interrupted(&'static str),
}

impl OvsError {
    /// The error number, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        if let Self::Changed { errno, .. } = self { Some(*errno) } else { None }
    }

    /// Whether the database may have been changed all the same.
    pub fn outcome_unknown(&self) -> bool {
        use OvsError::{Garbled, Interrupted, Lost, NotTaken, Silent, Switch};
        matches!(self, Silent { .. } | Lost { .. } | Garbled { .. } | NotTaken { .. } | Switch { .. } | Interrupted(_))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => "give unix:/path/to/db.sock or tcp:ADDRESS:PORT by --ovsdb or OVS_DB".into(),
            Self::Gone { .. } => {
                "is Open vSwitch installed and running (systemctl start openvswitch-switch)? --ovsdb or OVS_DB name another address".into()
            }
            Self::Permission { .. } => "run as root, or as a member of the socket's group".into(),
            Self::Silent { .. } => "is ovsdb-server stopped or overloaded? `ovs-vsctl --timeout=5 show` asks it as well".into(),
            Self::Lost { .. } => "did ovsdb-server end? its log says why; run the same command again".into(),
            Self::Garbled { .. } | Self::WrongSchema { .. } => {
                "is it the address of another program, or of another database such as OVN's? Open vSwitch's own is mostly unix:/var/run/openvswitch/db.sock".into()
            }
            Self::Refused { error, .. } if error == "permission error" => {
                "the server's role-based access control does not let this client change bridges: use its local socket (unix:...)".into()
            }
            Self::Refused { .. } | Self::Interrupted(_) => return None,
            Self::Changed { .. } => "run it again".into(),
            Self::NotTaken { .. } => "is ovs-vswitchd running? systemctl status openvswitch-switch, or ovs-appctl version".into(),
            Self::Switch { .. } => "ovs-vswitchd's log says more (/var/log/openvswitch/ovs-vswitchd.log); a bridge of the kernel's datapath needs the module: modprobe openvswitch".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn vlans(text: &str) -> OvsVlans {
        (&text.parse::<PortVlans>().unwrap()).into()
    }

    #[test]
    fn words_become_columns() {
        assert_eq!(vlans("10"), OvsVlans { mode: None, tag: Some(10), trunks: vec![] });
        assert_eq!(vlans("10,20-22"), OvsVlans { mode: Some("native-untagged".into()), tag: Some(10), trunks: vec![20, 21, 22] });
        assert_eq!(vlans(",5"), OvsVlans { mode: Some("trunk".into()), tag: None, trunks: vec![5] });
        assert_eq!(vlans("10,20-22,24,4093-4094").trunk_text(), "20-22,24,4093-4094");
    }

    #[test]
    fn a_mode_that_is_left_out_is_the_same_as_the_one_written() {
        assert!(vlans("10").is_same(&OvsVlans { mode: Some("access".into()), tag: Some(10), trunks: vec![] }));
        assert!(OvsVlans::default().is_same(&OvsVlans { mode: Some("trunk".into()), ..OvsVlans::default() }));
        assert!(!vlans("10").is_same(&vlans("10,20")));
        assert!(!vlans("10").is_same(&OvsVlans::default()));
    }
}
