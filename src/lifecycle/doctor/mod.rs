//! What is wrong with a bridge of this host: looked at, asked, told with the command that mends it, and mended where that is wanted.

mod firewall;

use std::net::IpAddr;

use thiserror::Error;

use super::error::chain;
use super::host_bridge::{self, HostError, HostOptions};
use crate::kernel::host_bridge::answering;
use crate::kernel::netns::Namespace;
use crate::kernel::privilege::{self, Missing};
use crate::kernel::{System, doctor, observe};
use crate::model::doctor::{Asked, BridgeFacts, DoctorReport, Fault, Finding, Fix, HostReport};
use crate::model::error::KernelError;
use crate::model::host_bridge::Below;
use crate::model::report::SCHEMA;
use crate::model::types::IfName;
use crate::plan::execute::Kernel;
use crate::plan::{diagnose, way_out_mtu};

/// So often a gateway is asked before its silence counts: three questions each time.
const ROUNDS: usize = 3;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// Mend what can be.
    pub fix: bool,
    /// Whom to ask, in place of the default gateways.
    pub gateways: Vec<IpAddr>,
    /// Where records are.
    pub host: HostOptions,
}

/// Why nothing can be said.
#[derive(Debug, Error)]
pub enum DoctorError {
    /// A capability is missing.
    #[error(transparent)]
    Privilege(#[from] Missing),
    /// The kernel refuses to tell.
    #[error("looking at the bridge")]
    Observe(#[source] KernelError),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] HostError),
}

impl DoctorError {
    /// Itself and what caused it.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }

    /// The way out, if one is known.
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::Privilege(_)).then(|| "run it with sudo".into())
    }
}

/// The bridges that guests are likely to be reached through: those of `host up`, and those with guests of ours.
///
/// # Errors
/// [`DoctorError`].
pub fn bridges(options: &DoctorOptions) -> Result<Vec<IfName>, DoctorError> {
    let mut all = doctor::bridges().map_err(DoctorError::Observe)?;
    all.extend(host_bridge::all(&options.host)?.into_iter().map(|record| record.bridge));
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Examines a bridge.
///
/// # Errors
/// [`DoctorError`].
pub fn examine(bridge: &IfName, options: &DoctorOptions) -> Result<DoctorReport, DoctorError> {
    privilege::check()?;
    let (mut facts, mut notes) = look(bridge, options)?;
    let mut findings = diagnose(&facts);
    let mut fixed = Vec::new();
    if options.fix && findings.iter().any(|finding| finding.fix.is_some()) {
        for finding in &findings {
            match finding.fix.as_ref().map(mend) {
                Some(Ok(())) => fixed.push(finding.clone()),
                Some(Err(why)) => notes.push(format!("could not mend it: {}: {why}", finding.what)),
                None => {}
            }
        }
        let again;
        (facts, again) = look(bridge, options)?;
        findings = diagnose(&facts);
        notes.extend(again.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
        // What is there still was not mended.
        fixed.retain(|one: &Finding| !findings.contains(one));
    }
    let mtu = way_out_mtu(&facts);
    Ok(DoctorReport { schema: SCHEMA, bridge: bridge.clone(), mtu, healthy: findings.is_empty(), findings, fixed, notes })
}

/// Examines all bridges of this host that guests are likely to be reached through.
pub fn examine_host(host: &str, options: &DoctorOptions) -> HostReport {
    let mut report = HostReport { host: host.to_owned(), bridges: Vec::new(), problem: None };
    let examined = bridges(options).and_then(|bridges| {
        report.bridges = bridges.iter().map(|bridge| examine(bridge, options)).collect::<Result<_, _>>()?;
        Ok(())
    });
    report.problem = match examined {
        Ok(()) if report.bridges.is_empty() => Some("there is no bridge of ours to examine".into()),
        Ok(()) => None,
        Err(error) => Some(error.chain().join(": ")),
    };
    report
}

/// All that is to be known, and what is to be said beside it.
fn look(bridge: &IfName, options: &DoctorOptions) -> Result<(BridgeFacts, Vec<String>), DoctorError> {
    let record = host_bridge::observe(bridge, &options.host)?.record;
    let recorded = record.and_then(|record| match record.below {
        Below::Uplink(nic) => Some(nic),
        Below::Vxlan(_) => None,
    });
    let (mut facts, found) = doctor::look(bridge, recorded.as_ref()).map_err(DoctorError::Observe)?;
    (facts.firewall, facts.unknown) = firewall::read(&facts.filtered);
    let mut notes = facts.unknown.clone();
    let gateways = if options.gateways.is_empty() { found } else { options.gateways.clone() };
    // One family says as much of the switch as two.
    let of_one = gateways.iter().filter(|gateway| gateway.is_ipv4() == gateways.iter().any(IpAddr::is_ipv4)).copied().collect::<Vec<_>>();
    // Where nothing passes, or not for half a minute, silence says nothing.
    let is_shut = |fault| matches!(fault, Fault::NoBridge | Fault::BridgeDown | Fault::NoUplink | Fault::Stp | Fault::NotForwarding);
    let can_ask = diagnose(&facts).iter().all(|finding| !is_shut(finding.fault));
    if can_ask && of_one.is_empty() {
        notes.push(format!(
            "no default route goes through {bridge}: whether its switch lets guests through was not asked: --gateway IP asks there"
        ));
    } else if can_ask {
        match ask(bridge, of_one) {
            Ok(asked) => facts.asked = Some(asked),
            Err(error) => notes.push(format!("whether the switch lets guests through could not be asked: {error}")),
        }
    }
    Ok((facts, notes))
}

/// Asks as the host and as a guest, until both have an answer or it is enough.
fn ask(bridge: &IfName, gateways: Vec<IpAddr>) -> Result<Asked, KernelError> {
    let mut asked = Asked { gateways, host: Vec::new(), guest: Vec::new() };
    for _ in 0..ROUNDS {
        if asked.host.is_empty() {
            asked.host = answering(bridge, &asked.gateways)?;
        }
        if asked.guest.is_empty() {
            asked.guest = doctor::answering_guest(bridge, &asked.gateways)?;
        }
        if !asked.host.is_empty() && !asked.guest.is_empty() {
            break;
        }
    }
    Ok(asked)
}

fn mend(fix: &Fix) -> Result<(), String> {
    match fix {
        Fix::Step(op) => {
            let home = Namespace::current().map_err(|error| error.to_string())?;
            let mut sides = observe::open(&home).map_err(|error| error.to_string())?;
            System::new(&mut sides).apply(op).map_err(|error| error.to_string())
        }
        Fix::Program(program, words) => firewall::run(program, words),
    }
}
