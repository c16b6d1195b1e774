//! How attachments stand: what `status --json` prints.

use std::net::IpAddr;

use serde::Serialize;

use super::difference::Difference;
use super::lease::LeaseReport;
use super::report::GuestReport;
use super::types::{IfAddr, IfName, MacAddr};

/// All that is recorded, and how it is.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// Version of this document ([`super::report::SCHEMA`]).
    pub schema: u32,
    /// The attachments.
    pub attachments: Vec<AttachmentStatus>,
    /// Containers that run and have no attachment; there only when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unattached: Option<Vec<Unattached>>,
    /// Records that cannot be read, engines that do not answer.
    pub warnings: Vec<String>,
}

/// How one attachment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it is wanted.
    Ok,
    /// Something is not; `differences` tells what.
    Drifted,
    /// The guest is gone.
    Gone,
    /// A run is at work on it, or was cut off.
    Unfinished,
    /// It is wanted, and was not made since the last boot.
    Wanted,
    /// It is recorded; nobody looked at it now.
    Recorded,
    /// It could not be looked at; `problem` tells why.
    Unknown,
}

/// One attachment: as it is, not as it was asked.
#[derive(Clone, Debug, Serialize)]
pub struct AttachmentStatus {
    /// The guest.
    pub guest: GuestReport,
    /// The interface in the guest.
    pub interface: IfName,
    /// How it stands.
    pub standing: Standing,
    /// Its addresses.
    pub addresses: Vec<IfAddr>,
    /// The guest's default gateways through it.
    pub gateways: Vec<IpAddr>,
    /// The bridge or NIC that was asked for.
    pub host_interface: String,
    /// The link's end on the host, where there is one.
    pub host_link: Option<String>,
    /// The bridge that the host end is on, or the NIC that the link lies on.
    pub on: Option<String>,
    /// VLAN or partition key, as it was asked.
    pub vlan: Option<String>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// MAC address.
    pub mac: Option<MacAddr>,
    /// What a DHCP server lent.
    pub lease: Option<LeaseReport>,
    /// Whether the process that keeps the lease runs; absent when nobody has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_kept: Option<bool>,
    /// When it was made (RFC 3339).
    pub since: String,
    /// What is not as it is wanted.
    pub differences: Vec<Difference>,
    /// Why it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A container without an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unattached {
    /// `docker` or `podman`.
    pub engine: &'static str,
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: String,
}

impl AttachmentStatus {
    /// Whether all is well.
    pub fn is_ok(&self) -> bool {
        self.standing == Standing::Ok
    }

    /// How it stands, in a few words.
    pub fn words(&self) -> String {
        let fields: Vec<&str> = self.differences.iter().map(|difference| difference.field.words()).collect();
        match self.standing {
            Standing::Ok => "ok".to_owned(),
            Standing::Drifted => format!("drifted: {}", fields.join(", ")),
            Standing::Gone => "gone".to_owned(),
            Standing::Unfinished => format!("unfinished: {}", self.problem.clone().unwrap_or_default()),
            Standing::Wanted => "wanted, not made".to_owned(),
            Standing::Recorded => "recorded".to_owned(),
            Standing::Unknown => format!("unknown: {}", self.problem.clone().unwrap_or_default()),
        }
    }
}
