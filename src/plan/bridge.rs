//! A veth pair with its host end on a Linux bridge, which is made when it is not there.

use super::{Job, PlanError, settings, vlan};
use crate::model::facts::LinkKind;
use crate::model::op::Op;
use crate::model::types::{IfName, LinkRef};

/// What a new bridge has (ETH_DATA_LEN, linux/if_ether.h).
pub(super) const DEFAULT_MTU: u32 = 1500;

/// Ports 1 to 1023: `BR_PORT_BITS` is 10 and port number 0 is reserved (net/bridge/br_if.c, find_portno).
pub const MAX_PORTS: usize = 1023;

/// The last op, when it deletes a link, belongs at the end of the whole plan.
pub(super) fn ops(job: &Job<'_>) -> Result<Vec<Op>, PlanError> {
    let bridge = job.host_if()?;
    let host = job.names.host_end(job.request);
    let mut ops = Vec::new();
    let mtu = match &job.facts.host.link {
        Some(link) => link.mtu,
        None => {
            let vlan_filtering = job.request.tag.is_some();
            ops.push(Op::AddBridge { name: bridge.clone(), mac: job.facts.fresh_mac, vlan_filtering });
            DEFAULT_MTU
        }
    };
    if job.facts.host.ports >= MAX_PORTS {
        return Err(PlanError::BridgeFull { name: bridge.to_string(), ports: job.facts.host.ports });
    }
    if host == bridge {
        return Err(PlanError::HostLinkInUse { name: host.to_string(), state: "the bridge itself".into() });
    }
    let stale = set_aside(job, &host)?;
    ops.extend(stale.iter().map(|aside| Op::RenameLink { link: LinkRef::host(&host), name: aside.clone() }));
    // Born on the host, a veth's other end has a name of its own there: the original's v<guestif>pg<pid>.
    let (guest, moves) = job.newborn("vg", Some(settings::mtu(job, mtu)), job.request.mac);
    let vlans = vlan::wanted(job)?.map(|wanted| vlan::ops(job, &bridge, &host, &wanted));
    ops.push(Op::AddVeth {
        host,
        host_mtu: settings::host_mtu(job),
        host_mac: job.request.settings.link_mac,
        bridge: Some(bridge),
        queues: Some(settings::queues(job)),
        guest,
    });
    ops.extend(vlans.into_iter().flatten());
    ops.extend(moves);
    ops.extend(stale.iter().map(|aside| Op::DelLink { link: LinkRef::host(aside) }));
    Ok(ops)
}

/// The host link that has our name. Down, it is what a dead attach left, and makes room: renamed now, so that
/// it can be put back, and deleted when everything else is done. Up, it is in use.
pub(super) fn set_aside(job: &Job<'_>, name: &IfName) -> Result<Option<IfName>, PlanError> {
    let Some(link) = &job.facts.host.local_link else { return Ok(None) };
    let state = match (&link.kind, link.up) {
        _ if link.name != name.as_str() => format!("another name of {}", link.name),
        (LinkKind::Veth, false) => return Ok(Some(job.names.aside(name))),
        (LinkKind::Veth, true) => "up".to_owned(),
        (kind, _) => format!("not a veth pair's end but {}", kind.name()),
    };
    Err(PlanError::HostLinkInUse { name: name.to_string(), state })
}
