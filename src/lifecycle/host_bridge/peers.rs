//! Whom a VXLAN's broadcasts go to.

use std::net::IpAddr;

use super::{HostError, HostOptions, Job};
use crate::model::host_bridge::{Below, HostReport, Vxlan, check_peers, vxlan_name};
use crate::model::report::Outcome;
use crate::model::types::IfName;
use crate::plan::execute::Event;
use crate::plan::{Plan, UplinkPlan, with_peers};

/// Makes a VXLAN's broadcasts go to those peers, and no more to those that an earlier call named and this one does not. Entries that
/// somebody else made stay.
///
/// # Errors
/// When the bridge is none over a VXLAN, or the kernel refuses.
pub fn set_peers(
    bridge: &IfName,
    peers: &[IpAddr],
    options: &HostOptions,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<HostReport, HostError> {
    let job = Job::of(bridge, options)?;
    let _lock = job.records.lock(bridge).map_err(HostError::Record)?;
    let mut record = job.recorded()?.ok_or_else(|| HostError::NotOurs { bridge: bridge.clone() })?;
    let Below::Vxlan(vxlan) = &record.below else { return Err(HostError::NoVxlan { bridge: bridge.clone() }) };
    check_peers(vxlan.local, peers)?;
    let name = vxlan_name(bridge);
    let now = job.look(&record.below)?;
    let there = now.vxlan.as_ref().filter(|link| link.link.is_ours()).ok_or_else(|| HostError::VxlanGone { link: name.clone() })?;
    let wanted = Vxlan { peers: peers.to_vec(), ..vxlan.clone() };
    let ops = with_peers(&name, &there.peers, &vxlan.peers, &wanted);
    let plan = Plan::of_host(bridge, &name, ops);
    if options.dry_run {
        let planned = UplinkPlan { plan, is_new: false, addrs: Vec::new(), routes: Vec::new() };
        return Ok(job.planned(&planned, Outcome::Planned, &name));
    }
    // Known before they are added, and after they are gone: whichever is cut off, the next call sees to it.
    let both = vxlan.peers.iter().chain(peers).copied().collect();
    record.below = Below::Vxlan(Vxlan { peers: both, ..vxlan.clone() });
    job.records.put(&record).map_err(HostError::Record)?;
    job.execute(&plan, &now, watch)?;
    record.below = Below::Vxlan(wanted);
    job.records.put(&record).map_err(HostError::Record)?;
    let mut report = job.report(if plan.ops().is_empty() { Outcome::Unchanged } else { Outcome::Changed }, Some(name));
    report.peers = peers.to_vec();
    if options.steps {
        report.steps = job.steps(plan.ops());
    }
    Ok(report)
}
