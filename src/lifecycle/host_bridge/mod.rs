//! The host's own bridge: made over its NIC or over a VXLAN, watched over, given back.
//!
//! ```text
//! up       look -> plan -> write down -> execute -> ask the gateways; nobody answers: all back
//! confirm  it stays
//! down     what was written down -> look -> plan -> execute
//! peers    whom a VXLAN's broadcasts go to
//! ```

mod clients;
mod error;
mod peers;
mod persist;
mod watch;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use error::HostError;
pub use peers::set_peers;
pub use persist::keeper_of;

use crate::kernel::netns::Namespace;
use crate::kernel::signal::Signals;
use crate::kernel::{System, host_bridge, observe, privilege};
use crate::model::command::Commands;
use crate::model::facts::{GuestId, RouteFacts};
use crate::model::host_bridge::{
    AddrNow, Below, HostBridge, HostBridgeNow, HostNow, HostReport, Keeper, Lasting, LinkNow, Phase, VERSION, Vxlan, Watched, vxlan_name,
};
use crate::model::op::Op;
use crate::model::report::{Outcome, SCHEMA, Step};
use crate::model::types::{Family, IfName};
use crate::plan::execute::{Done, Event, execute};
use crate::plan::{Plan, UplinkPlan, over_nic, over_vxlan, taken_down};
use crate::state::{self, HostBridges, SharedLock};

/// How long the gateways are waited for when nothing is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A bridge of the host that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUp {
    /// Its name.
    pub bridge: IfName,
    /// What it lies on.
    pub below: Below,
    /// For how long the gateways, or a word, are waited for before all is given back. When nothing is said: [`PATIENCE`] where a
    /// gateway answered before, else not at all. Zero: not at all.
    pub confirm: Option<Duration>,
    /// Whose configuration is to make it last.
    pub persist: Option<Keeper>,
}

/// How it is to be done.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Change nothing.
    pub dry_run: bool,
    /// Report each step.
    pub steps: bool,
    /// Where records and locks are kept.
    pub run_dir: PathBuf,
    /// Where what outlives a boot is kept.
    pub state_dir: PathBuf,
    /// Where the network's configuration is.
    pub etc_dir: PathBuf,
}

impl HostOptions {
    /// As the environment says.
    pub fn from_environment() -> Self {
        Self { dry_run: false, steps: false, run_dir: state::run_dir(), state_dir: state::state_dir(), etc_dir: state::etc_dir() }
    }
}

/// Told of each step.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Event<'_>);

/// One run about one bridge.
struct Job<'a> {
    bridge: &'a IfName,
    options: &'a HostOptions,
    home: Namespace,
    records: HostBridges,
    start: Instant,
}

impl<'a> Job<'a> {
    fn of(bridge: &'a IfName, options: &'a HostOptions) -> Result<Self, HostError> {
        privilege::check()?;
        let home = Namespace::current().map_err(HostError::Observe)?;
        let records = HostBridges::of(&options.run_dir, &options.state_dir, home.inode());
        Ok(Self { bridge, options, home, records, start: Instant::now() })
    }

    fn report(&self, result: Outcome, port: Option<IfName>) -> HostReport {
        HostReport {
            schema: SCHEMA,
            result,
            bridge: self.bridge.clone(),
            port,
            addresses: Vec::new(),
            routes: Vec::new(),
            peers: Vec::new(),
            watched: Watched::No,
            files: Vec::new(),
            steps: Vec::new(),
            warnings: Vec::new(),
            elapsed_us: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }

    fn planned(&self, planned: &UplinkPlan, result: Outcome, port: &IfName) -> HostReport {
        let mut report = self.report(result, Some(port.clone()));
        report.addresses = planned.addrs.iter().map(|addr| addr.facts.addr).collect();
        report.routes = planned.routes.iter().map(RouteFacts::without_link).collect();
        report.warnings = planned.plan.warnings().to_vec();
        if self.options.steps || self.options.dry_run {
            report.steps = self.steps(planned.plan.ops());
        }
        report
    }

    fn steps(&self, ops: &[Op]) -> Vec<Step> {
        let host = GuestId::of_host(self.home.path().display().to_string(), self.home.inode());
        let commands = Commands::new(&host);
        ops.iter().map(|op| commands.step(op)).collect()
    }

    fn execute(&self, plan: &Plan, now: &HostNow, watch: Watch<'_>) -> Result<Done, HostError> {
        let mut sides = observe::open(&self.home).map_err(HostError::Observe)?;
        let mut signals = Signals::hold().map_err(HostError::Observe)?;
        let lock = SharedLock::of_bridge(&self.options.run_dir, self.bridge, self.home.inode()).ok();
        let unused = |_: &IfName| lock.as_ref().is_none_or(SharedLock::is_last);
        let mut system = System::new(&mut sides).with_bridge_check(unused).with_signals(&mut signals);
        for link in [&now.bridge, &now.uplink].into_iter().flatten().map(|link| &link.link).chain(now.vxlan.as_ref().map(|link| &link.link))
        {
            if let Ok(name) = link.name.parse() {
                system = system.knowing_host(&name, link.index);
            }
        }
        Ok(execute(plan, &mut system, watch)?)
    }

    fn look(&self, below: &Below) -> Result<HostNow, HostError> {
        let looked = match below {
            Below::Uplink(nic) => host_bridge::look(self.bridge, Some(nic), None, None),
            Below::Vxlan(vxlan) => host_bridge::look(self.bridge, None, Some(&vxlan_name(self.bridge)), Some(vxlan.local)),
        };
        looked.map_err(HostError::Observe)
    }

    fn recorded(&self) -> Result<Option<HostBridge>, HostError> {
        self.records.get(self.bridge).map_err(HostError::Record)
    }

    /// What is written down of a bridge before it is made. An earlier run may have been cut off half way: what it had seen on the
    /// NIC is no less true.
    fn record(&self, request: &HostUp, planned: &UplinkPlan, now: &HostNow, old: Option<HostBridge>) -> HostBridge {
        let mut record = HostBridge {
            version: VERSION,
            bridge: self.bridge.clone(),
            below: request.below.clone(),
            made: planned.is_new,
            uplink_was_up: now.uplink.as_ref().is_none_or(|nic| nic.link.up),
            addresses: planned.addrs.iter().map(|addr| addr.facts.addr).collect(),
            routes: planned.routes.iter().map(RouteFacts::without_link).collect(),
            files: Vec::new(),
            keeper: request.persist,
            lasting: now.uplink.as_ref().map(|nic| lasting(nic, &planned.addrs, &planned.routes)),
            phase: Phase::Making,
            boot: state::boot(),
            home: self.home.inode(),
            since: state::now(),
        };
        if let Some(old) = old {
            record.made |= old.made;
            record.uplink_was_up &= old.uplink_was_up;
            record.files = old.files;
            let known = old.addresses.iter().filter(|addr| !record.addresses.contains(addr)).copied().collect::<Vec<_>>();
            record.addresses.extend(known);
            let known = old.routes.iter().filter(|route| !record.routes.contains(route)).cloned().collect::<Vec<_>>();
            record.routes.extend(known);
            if planned.addrs.is_empty() {
                record.lasting = old.lasting;
            }
        } else if let (true, Some(there), Some(nic)) = (planned.plan.ops().is_empty(), &now.bridge, &now.uplink) {
            // Somebody else made it: what the NIC had is the bridge's.
            let addrs: Vec<AddrNow> = there.addrs.iter().filter(|addr| !addr.temporary && !addr.facts.automatic).cloned().collect();
            record.addresses = addrs.iter().map(|addr| addr.facts.addr).collect();
            record.routes = there.routes.iter().map(RouteFacts::without_link).collect();
            record.lasting = Some(lasting(nic, &addrs, &there.routes));
        }
        record
    }
}

/// What a configuration has to say that lasts, of a NIC and what is to be the bridge's.
fn lasting(nic: &LinkNow, addrs: &[AddrNow], routes: &[RouteFacts]) -> Lasting {
    let is_ipv4 = |addr: &AddrNow| addr.facts.addr.family() == Family::Inet;
    let other = |route: &RouteFacts| {
        let (to, _) = route.text.split_once(" via ").filter(|_| !route.is_default)?;
        Some((to.to_owned(), route.gateway?))
    };
    Lasting {
        mac: nic.link.mac,
        mtu: nic.link.mtu,
        addresses: addrs.iter().filter(|addr| !addr.lent).map(|addr| addr.facts.addr).collect(),
        gateways: routes.iter().filter(|route| route.is_default).filter_map(|route| route.gateway).collect(),
        routes: routes.iter().filter_map(other).collect(),
        leased: addrs.iter().any(|addr| addr.lent && is_ipv4(addr)),
        routers: nic.conf.iter().any(|conf| conf.name == "accept_ra" && conf.value != "0"),
    }
}

/// Makes a bridge of the host: over its NIC, whose addresses and routes go over to it without a packet lost, or over a VXLAN. Of one that
/// is as wanted nothing is changed. Returns once the gateways have answered; where none is to be waited for, at once.
///
/// # Errors
/// Why not; nothing is left of it then, unless the error says so.
pub fn up(request: &HostUp, options: &HostOptions, watch: &mut dyn FnMut(Event<'_>)) -> Result<HostReport, HostError> {
    let job = Job::of(&request.bridge, options)?;
    if let Below::Vxlan(vxlan) = &request.below {
        vxlan.check()?;
    }
    let lock = job.records.lock(&request.bridge).map_err(HostError::Record)?;
    let old = job.recorded()?;
    if let Some(other) = old.as_ref().filter(|old| !is_same_place(&old.below, &request.below)) {
        return Err(HostError::Otherwise { bridge: request.bridge.clone(), below: describe(&other.below) });
    }
    if matches!(old.as_ref().map(|old| &old.phase), Some(Phase::Watched { until, .. }) if *until > watch::now()) {
        return Err(HostError::Watched { bridge: request.bridge.clone() });
    }
    let now = job.look(&request.below)?;
    let (planned, port) = match &request.below {
        Below::Uplink(nic) => (over_nic(&request.bridge, nic, &now)?, nic.clone()),
        Below::Vxlan(vxlan) => {
            let ours = old.as_ref().map(|old| peers_of(&old.below).to_vec()).unwrap_or_default();
            (over_vxlan(&request.bridge, vxlan, &ours, &now)?, vxlan_name(&request.bridge))
        }
    };
    let keeper = request.persist.map(|keeper| persist::check(keeper, &options.etc_dir)).transpose()?;
    let is_quiet = planned.plan.ops().is_empty();
    if options.dry_run {
        let mut report = job.planned(&planned, if is_quiet { Outcome::Unchanged } else { Outcome::Planned }, &port);
        if let (Some(keeper), Some(nic)) = (keeper, &now.uplink) {
            let record = job.record(request, &planned, &now, old);
            report.files = persist::files(keeper, &record, &nic.link.name, &options.etc_dir)?.into_iter().map(|(path, _)| path).collect();
        }
        return Ok(report);
    }
    // Somebody else made it, and may take it away again: it is none of ours unless a file is to be.
    if is_quiet && old.is_none() && request.persist.is_none() {
        return Ok(job.planned(&planned, Outcome::Unchanged, &port));
    }
    let gateways = if is_quiet { Vec::new() } else { gateways(&planned.routes) };
    let before = match request.confirm {
        Some(Duration::ZERO) => Vec::new(),
        _ => host_bridge::answering(&port, &gateways).unwrap_or_default(),
    };
    let mut record = job.record(request, &planned, &now, old.clone());
    job.records.put(&record).map_err(HostError::Record)?;
    if let Err(error) = job.execute(&planned.plan, &now, watch) {
        let is_clean = error.is_clean();
        // What could not be taken back is known still.
        let kept = match old {
            Some(old) if is_clean => job.records.put(&old),
            None if is_clean => job.records.forget(&request.bridge),
            _ => Ok(()),
        };
        kept.map_err(HostError::Record)?;
        return Err(error);
    }
    let mut report = job.planned(&planned, if is_quiet { Outcome::Unchanged } else { Outcome::Changed }, &port);
    report.peers = peers_of(&request.below).to_vec();
    report.warnings.extend(clients::to_restart(&planned.addrs, &port, &request.bridge));
    let patience = request.confirm.or_else(|| (!before.is_empty()).then_some(PATIENCE)).filter(|patience| !patience.is_zero() && !is_quiet);
    let Some(patience) = patience else {
        report.files = job.keep(&mut record)?;
        return Ok(report);
    };
    let wanted = if before.is_empty() { gateways } else { before };
    drop(lock);
    watch::over(&job, record, wanted, patience, &mut report)?;
    Ok(report)
}

impl Job<'_> {
    /// It stays: also over the next boot, if that is wanted. The files that were written.
    fn keep(&self, record: &mut HostBridge) -> Result<Vec<String>, HostError> {
        record.phase = Phase::Kept;
        let files = match (record.keeper, &record.below) {
            (Some(keeper), Below::Uplink(nic)) => {
                let nic = nic.clone();
                // Written down before they are: a run that is cut off leaves none that nobody knows of.
                persist::write(keeper, record, nic.as_str(), &self.options.etc_dir, &mut |record| {
                    self.records.put(record).map_err(HostError::Record)
                })?
            }
            _ => Vec::new(),
        };
        record.keeper = None;
        self.records.put(record).map_err(HostError::Record)?;
        Ok(files)
    }

    /// Gives all back.
    fn give_back(&self, record: &HostBridge, force: bool, watch: Watch<'_>) -> Result<HostReport, HostError> {
        let now = self.look(&record.below)?;
        let planned = taken_down(record, &now, force)?;
        let port = match &record.below {
            Below::Uplink(nic) => nic.clone(),
            Below::Vxlan(_) => vxlan_name(&record.bridge),
        };
        if self.options.dry_run {
            return Ok(self.planned(&planned, Outcome::Planned, &port));
        }
        self.execute(&planned.plan, &now, watch)?;
        let mut report = self.planned(&planned, Outcome::Detached, &port);
        let (files, kept) = persist::restore(&record.files)?;
        report.files = files;
        report.warnings.extend(kept);
        report.warnings.extend(clients::to_restart(&planned.addrs, &record.bridge, &port));
        self.records.forget(&record.bridge).map_err(HostError::Record)?;
        Ok(report)
    }
}

/// Gives back what [`up`] changed: addresses and routes go home to the NIC without a packet lost, a bridge that was made goes, files
/// are put back. Of a bridge that it did not make nothing is touched.
///
/// # Errors
/// Why not. While guests are on the bridge it is refused, unless forced.
pub fn down(bridge: &IfName, force: bool, options: &HostOptions, watch: &mut dyn FnMut(Event<'_>)) -> Result<HostReport, HostError> {
    let job = Job::of(bridge, options)?;
    let _lock = job.records.lock(bridge).map_err(HostError::Record)?;
    let record = job.recorded()?.ok_or_else(|| HostError::NotOurs { bridge: bridge.clone() })?;
    job.give_back(&record, force, watch)
}

/// Ends the watch over a bridge: it stays.
///
/// # Errors
/// When it is not watched, or was given back already.
pub fn confirm(bridge: &IfName, options: &HostOptions) -> Result<HostReport, HostError> {
    let job = Job::of(bridge, options)?;
    let _lock = job.records.lock(bridge).map_err(HostError::Record)?;
    let mut record = job.recorded()?.ok_or_else(|| HostError::NotOurs { bridge: bridge.clone() })?;
    let result = if record.phase == Phase::Kept { Outcome::Unchanged } else { Outcome::Changed };
    let mut report = job.report(result, None);
    report.watched = Watched::Confirmed;
    report.files = job.keep(&mut record)?;
    Ok(report)
}

/// How a bridge of the host stands.
///
/// # Errors
/// When the kernel refuses to tell, or the record cannot be read.
pub fn observe(bridge: &IfName, options: &HostOptions) -> Result<HostBridgeNow, HostError> {
    let home = Namespace::current().map_err(HostError::Observe)?;
    let record = HostBridges::of(&options.run_dir, &options.state_dir, home.inode()).get(bridge).map_err(HostError::Record)?;
    let now = host_bridge::look(bridge, None, Some(&vxlan_name(bridge)), None).map_err(HostError::Observe)?;
    let is_bridge = |link: &&LinkNow| link.link.kind == crate::model::facts::LinkKind::Bridge;
    let there = now.bridge.as_ref().filter(is_bridge);
    Ok(HostBridgeNow {
        bridge: bridge.clone(),
        is_there: there.is_some(),
        up: there.is_some_and(|there| there.link.up),
        mtu: there.map(|there| there.link.mtu),
        addresses: there.map(|there| there.addrs.iter().map(|addr| addr.facts.addr).collect()).unwrap_or_default(),
        gateways: there.map(|there| gateways(&there.routes)).unwrap_or_default(),
        ports: now.ports.iter().map(|port| port.name.clone()).collect(),
        record,
        peers: now.vxlan.map(|link| link.peers).unwrap_or_default(),
    })
}

/// All bridges that were written down.
///
/// # Errors
/// When a record cannot be read.
pub fn all(options: &HostOptions) -> Result<Vec<HostBridge>, HostError> {
    let home = Namespace::current().map_err(HostError::Observe)?;
    HostBridges::of(&options.run_dir, &options.state_dir, home.inode()).all().map_err(HostError::Record)
}

fn gateways(routes: &[RouteFacts]) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = routes.iter().filter(|route| route.is_default).filter_map(|route| route.gateway).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn peers_of(below: &Below) -> &[IpAddr] {
    match below {
        Below::Uplink(_) => &[],
        Below::Vxlan(vxlan) => &vxlan.peers,
    }
}

/// The peers of a VXLAN may change.
fn is_same_place(one: &Below, other: &Below) -> bool {
    match (one, other) {
        (Below::Vxlan(one), Below::Vxlan(other)) => (one.id, one.local, one.port) == (other.id, other.local, other.port),
        _ => one == other,
    }
}

fn describe(below: &Below) -> String {
    match below {
        Below::Uplink(nic) => format!("{nic}"),
        Below::Vxlan(Vxlan { id, local, port, .. }) => format!("VXLAN {id}, local {local}, port {port}"),
    }
}
