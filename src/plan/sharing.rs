//! Sharing a NIC: macvlan, macvtap, ipvlan, and where they cannot be.

use thiserror::Error;

use super::{Job, Kind, PlanError};
use crate::model::facts::{LinkFacts, LinkKind, Sibling};
use crate::model::sharing::Sharing;

/// Why a NIC cannot be shared as asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SharingError {
    /// The option means nothing for the first word's kind.
    #[error("{option} is for NICs: {name} is {is}")]
    NotANic {
        /// The option.
        option: String,
        /// The first word.
        name: String,
        /// What that is.
        is: &'static str,
    },
    /// A NIC is shared, or moved.
    #[error("{option} shares a NIC, --direct-phys moves it: give one of them")]
    WithDirectPhys {
        /// The option.
        option: String,
    },
    /// A MAC address where the NIC's own is used.
    #[error("{kind} has the NIC's own MAC address: no other can be given")]
    Mac {
        /// `an ipvlan`, `a macvlan in passthru mode`.
        kind: &'static str,
    },
    /// No broadcast, so nobody can be asked for an address.
    #[error("{word} cannot work with {option}: at layer 3 there is no broadcast")]
    NoBroadcast {
        /// The third word.
        word: String,
        /// The option.
        option: String,
    },
    /// Passthru takes every frame from the host.
    #[error("{nic} carries this host's default route: in passthru mode the guest gets every frame, and the host is cut off")]
    CutsHostOff {
        /// The NIC.
        nic: String,
    },
    /// What the NIC carries already does not go together with what is asked.
    #[error("{nic} carries {}: {why}", list(.siblings))]
    Siblings {
        /// The NIC.
        nic: String,
        /// Whom.
        siblings: Vec<Sibling>,
        /// Why that is in the way.
        why: &'static str,
    },
    /// Frames for another MAC address do not reach an ipvlan.
    #[error("{nic} is itself an ipvlan, which hears one MAC address only: no {kind} can be on it")]
    OnIpvlan {
        /// The NIC.
        nic: String,
        /// `macvlan`, `macvtap`.
        kind: &'static str,
    },
}

fn list(siblings: &[Sibling]) -> String {
    let names: Vec<String> = siblings.iter().map(|s| format!("{} {}", mode(&s.sharing), s.name)).collect();
    names.join(", ")
}

impl SharingError {
    /// What to type instead.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::NotANic { option, .. } => format!("leave {option} out, or name a NIC"),
            Self::WithDirectPhys { option } => format!("leave out --direct-phys, or {option}"),
            Self::Mac { .. } => "leave the MAC address out, or use --macvlan bridge".into(),
            Self::NoBroadcast { .. } => "give the address, or use --ipvlan l2".into(),
            Self::CutsHostOff { .. } => {
                "use --macvlan bridge, which leaves the host its share; --force gives the NIC away all the same".into()
            }
            Self::Siblings { siblings, .. } => match siblings.first() {
                Some(first) if !first.sharing.is_passthru() => format!("use {}, as they do, or another NIC", first.sharing),
                _ => "use another NIC, or take the other one away first".into(),
            },
            Self::OnIpvlan { .. } => "use --ipvlan, or the NIC below it".into(),
        }
    }
}

/// Refuses what options contradict, before the NIC is looked at.
pub(super) fn check_options(job: &Job<'_>, kind: Kind) -> Result<(), PlanError> {
    let Some(sharing) = &job.request.sharing else { return Ok(()) };
    let option = sharing.to_string();
    let is = match kind {
        Kind::Nic => None,
        Kind::Bridge => Some("a bridge"),
        Kind::Ovs => Some("an Open vSwitch bridge"),
        Kind::Ipoib => Some("an InfiniBand interface, whose children are IPoIB's own"),
        Kind::Dummy => Some("no interface at all"),
    };
    if let Some(is) = is {
        return Err(SharingError::NotANic { option, name: job.host_name(), is }.into());
    }
    if job.request.direct_phys {
        return Err(SharingError::WithDirectPhys { option }.into());
    }
    if job.request.mac.is_some() && (sharing.is_ipvlan() || sharing.is_passthru()) {
        let kind = if sharing.is_ipvlan() { "an ipvlan" } else { "a macvlan in passthru mode" };
        return Err(SharingError::Mac { kind }.into());
    }
    if let Some(dynamic) = job.request.dynamic.as_ref().filter(|_| sharing.is_layer3()) {
        return Err(SharingError::NoBroadcast { word: dynamic.to_string(), option }.into());
    }
    Ok(())
}

/// Refuses what the NIC carries, or is, already. `parent` is absent when it is yet to be made.
pub(super) fn check_parent(job: &Job<'_>, name: &str, parent: Option<&LinkFacts>, sharing: &Sharing) -> Result<(), PlanError> {
    let nic = name.to_owned();
    let on_ipvlan = parent.is_some_and(|p| matches!(&p.kind, LinkKind::Shared(own) if own.is_ipvlan()));
    if on_ipvlan && !sharing.is_ipvlan() {
        return Err(SharingError::OnIpvlan { nic, kind: sharing.kind() }.into());
    }
    if sharing.is_passthru() && job.facts.host.nic.carries_default() && !job.request.force {
        return Err(SharingError::CutsHostOff { nic }.into());
    }
    if parent.is_none() {
        return Ok(());
    }
    let Some(why) = in_the_way(sharing, &job.facts.host.siblings) else { return Ok(()) };
    Err(SharingError::Siblings { nic, siblings: job.facts.host.siblings.clone(), why }.into())
}

/// Why the new link cannot be with those that are there.
fn in_the_way(sharing: &Sharing, siblings: &[Sibling]) -> Option<&'static str> {
    if siblings.iter().any(|s| s.sharing.is_ipvlan() != sharing.is_ipvlan()) {
        return Some("macvlan and ipvlan cannot be together on a NIC");
    }
    if siblings.iter().any(|s| s.sharing.is_passthru()) {
        return Some("a macvlan in passthru mode has its NIC to itself");
    }
    if sharing.is_passthru() && !siblings.is_empty() {
        return Some("passthru mode wants the NIC to itself");
    }
    let differs = sharing.is_ipvlan() && siblings.iter().any(|s| s.sharing != *sharing);
    differs.then_some("all ipvlans on a NIC have one mode, and a new one would change theirs")
}

/// `macvlan in bridge mode`, `ipvlan in mode l3s:private`
pub(super) fn mode(sharing: &Sharing) -> String {
    match sharing {
        Sharing::Ipvlan(mode) => format!("ipvlan in mode {mode}"),
        Sharing::Macvlan(mode) | Sharing::Macvtap(mode) => format!("{} in {mode} mode", sharing.kind()),
    }
}

/// What the user should know although it can be done.
pub(super) fn warnings(job: &Job<'_>) -> Vec<String> {
    if job.request.direct_phys {
        return Vec::new();
    }
    let sharing = job.request.sharing.clone().unwrap_or_default();
    let nic = job.host_name();
    let mut warnings = Vec::new();
    if job.facts.host.wireless && !sharing.is_ipvlan() {
        warnings.push(format!(
            "{nic} is a Wi-Fi interface: an access point hears a station's own MAC address only, so the guest will hardly be reached; --ipvlan l2 does without another address"
        ));
    }
    if sharing.is_layer3() {
        warnings.push(layer3_warning(job));
    }
    if matches!(sharing, Sharing::Ipvlan(_)) && job.request.dynamic.is_some() {
        warnings.push(format!("an ipvlan has the MAC address of {nic}: the server has to tell guests apart by client identifier"));
    }
    let parent = job.facts.host.link.as_ref().filter(|_| job.request.tag.is_none());
    if let Some(parent) = parent.filter(|p| p.base_for(&sharing) != p.index) {
        warnings.push(format!("{nic} is itself {}: the new link comes to lie beside it, on the NIC below", parent.kind.with_article()));
    }
    if sharing.is_passthru() {
        warnings.push(format!("{nic} is the guest's alone: this host hears no more of what comes in by it"));
    }
    warnings
}

fn layer3_warning(job: &Job<'_>) -> String {
    let addrs: Vec<String> = job.request.addr.addrs.iter().map(|addr| addr.ip().to_string()).collect();
    let addr = if addrs.is_empty() { "it".to_owned() } else { addrs.join(", ") };
    let gateway = job.request.addr.gateway().map(|gateway| format!("; gateway {gateway} is never asked")).unwrap_or_default();
    format!(
        "at layer 3 this host's own routes decide where the guest's packets go{gateway}; nobody answers ARP for {addr}: others need a route to it by way of this host"
    )
}

impl LinkKind {
    fn with_article(&self) -> String {
        let name = self.name();
        let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("{article} {name}")
    }
}
