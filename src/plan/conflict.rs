//! Whether anybody on the network has the address: asked when the link is up and before the address is on it.

use super::{Job, Kind};
use crate::model::op::Op;
use crate::model::sharing::Sharing;
use crate::model::types::{Family, IfAddr, LinkRef};

/// The question, and what is waited for when the addresses are there.
pub(super) struct Asked {
    /// Before the addresses.
    pub(super) probe: Op,
    /// After them: IPv6 looks once more by itself.
    pub(super) settle: Option<Op>,
}

/// The question about the request's addresses, when one is asked for and there is somebody to ask.
pub(super) fn asked(job: &Job<'_>, kind: Kind) -> Option<Asked> {
    asked_about(job, kind, job.request.addr.addrs.clone())
}

/// As [`asked`], about some of its addresses.
pub(super) fn asked_about(job: &Job<'_>, kind: Kind, addrs: Vec<IfAddr>) -> Option<Asked> {
    if !job.request.dad.asks() || addrs.is_empty() || why_not(job, kind).is_some() {
        return None;
    }
    let (link, dad) = (LinkRef::guest(&job.guest_if), job.request.dad);
    let port = job.announce(kind).and_then(|announce| announce.port);
    let ipv6: Vec<IfAddr> = addrs.iter().filter(|addr| addr.family() == Family::Inet6).copied().collect();
    let settle = (!ipv6.is_empty()).then(|| Op::Settle { link: link.clone(), addrs: ipv6, mode: dad.mode });
    Some(Asked { probe: Op::Probe { link, port, addrs, dad }, settle })
}

/// Why nobody can be asked.
fn why_not(job: &Job<'_>, kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Dummy => Some("a dummy leads nowhere"),
        Kind::Pair => Some("there is nobody but the other guest"),
        Kind::Ipoib => Some("on InfiniBand it cannot be asked"),
        Kind::Nic if job.request.sharing.as_ref().is_some_and(Sharing::is_layer3) => Some("at layer 3 nobody answers for an address"),
        Kind::Bridge | Kind::Ovs | Kind::Nic => None,
    }
}

/// What is asked for and cannot be had.
pub(super) fn warning(job: &Job<'_>, kind: Kind) -> Option<String> {
    if !job.request.dad.asks() {
        return None;
    }
    let why = match &job.request.dynamic {
        Some(dynamic) => format!("{dynamic} gives the address"),
        None if job.request.addr.addrs.is_empty() => "there is no address".to_owned(),
        None => why_not(job, kind)?.to_owned(),
    };
    Some(format!("--dad asks nobody: {why}"))
}
