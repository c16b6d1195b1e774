//! Clearing up: what runs that were cut off, and guests that died, left behind. Only what bears our mark, and nobody uses.

use std::path::PathBuf;

use super::detach::DetachError;
use super::journal::{recover, unfinished};
use super::takeback::{Removal, is_dead};
use super::{Database, Machine, access, conflict, keeper, recording};
use crate::kernel::netns::Namespace;
use crate::kernel::{System, observe};
use crate::model::error::KernelError;
use crate::model::facts::{LinkFacts, LinkKind};
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::report::{GcItem, GcReport, Outcome, SCHEMA};
use crate::model::types::{IfName, LinkRef};
use crate::plan::execute::{Event, Kernel};
use crate::state::{Records, SharedLock, Topologies, dead_netns_links};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct GcOptions {
    /// Say only what would be cleared up.
    pub dry_run: bool,
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// Address of Open vSwitch's database; `OVS_DB`'s or the usual one when absent.
    pub ovsdb: Option<String>,
}

/// Clears up.
///
/// # Errors
/// When records or interfaces cannot be read, or something could not be cleared up: that is tried last, after all the rest.
pub fn gc(options: &GcOptions, watch: Watch<'_>) -> Result<GcReport, DetachError> {
    let records = recording::records(&options.run_dir)?;
    let mut sweep = Sweep { records: &records, options, items: Vec::new(), warnings: Vec::new(), left: Vec::new() };
    sweep.unfinished(watch)?;
    sweep.dead_guests(watch)?;
    sweep.netns_links();
    sweep.links(watch)?;
    sweep.ovs_rows(watch)?;
    sweep.host_access(watch);
    sweep.notes()?;
    if !sweep.left.is_empty() {
        return Err(DetachError::Left(sweep.left));
    }
    let result = match (sweep.items.is_empty(), options.dry_run) {
        (true, _) => Outcome::Unchanged,
        (false, true) => Outcome::Planned,
        (false, false) => Outcome::Cleared,
    };
    Ok(GcReport { schema: SCHEMA, result, items: sweep.items, warnings: sweep.warnings })
}

struct Sweep<'a> {
    records: &'a Records,
    options: &'a GcOptions,
    items: Vec<GcItem>,
    warnings: Vec<String>,
    left: Vec<String>,
}

impl Sweep<'_> {
    fn item(&mut self, kind: &'static str, text: String) {
        self.items.push(GcItem { kind, text });
    }

    /// What runs that were cut off had begun.
    fn unfinished(&mut self, watch: Watch<'_>) -> Result<(), DetachError> {
        if self.options.dry_run {
            for text in unfinished(self.records)? {
                self.item("unfinished", text);
            }
            return Ok(());
        }
        let recovered = recover(&self.options.run_dir, watch)?;
        self.records.clear_passing()?;
        self.left.extend(recovered.left);
        self.warnings.extend(recovered.warnings);
        for text in recovered.done {
            self.item("unfinished", text);
        }
        Ok(())
    }

    /// Attachments of guests that are gone.
    fn dead_guests(&mut self, watch: Watch<'_>) -> Result<(), DetachError> {
        let found = self.records.all()?;
        self.warnings.extend(found.unreadable.iter().map(ToString::to_string));
        for record in found.all {
            if !is_dead(&record)? || record.keeper.as_ref().is_some_and(keeper::is_alive) {
                continue;
            }
            let text = format!("{} of {}, which is gone", record.interface, record.guest.word);
            if !self.options.dry_run && !self.take(&record, watch)? {
                continue;
            }
            self.item("record", text);
        }
        Ok(())
    }

    /// `false` when another run is at it, or something was left.
    fn take(&mut self, record: &Record, watch: Watch<'_>) -> Result<bool, DetachError> {
        let netns = record.guest.netns;
        let Some(_lock) = self.records.try_lock(netns)? else { return Ok(false) };
        let now = self.records.get(netns, &record.interface)?.ok().flatten();
        let Some(record) = now.filter(|now| now.id == record.id) else { return Ok(false) };
        let taken = Removal::begin(self.records, record)?.carry_out(&self.options.run_dir, watch)?;
        let is_gone = taken.left.is_empty();
        self.warnings.extend(taken.warnings);
        self.left.extend(taken.left);
        Ok(is_gone)
    }

    /// Links in the netns directory that we made for processes that are dead.
    fn netns_links(&mut self) {
        for path in dead_netns_links() {
            if !self.options.dry_run {
                let removed = std::fs::remove_file(&path);
                // Another run may have been quicker.
                if let Some(error) = removed.err().filter(|error| error.kind() != std::io::ErrorKind::NotFound) {
                    self.left.push(format!("remove {}: {error}", path.display()));
                    continue;
                }
            }
            self.item("netns-link", format!("{}, of a process that is dead", path.display()));
        }
    }

    /// Links of the host that we made and that serve nobody.
    fn links(&mut self, watch: Watch<'_>) -> Result<(), DetachError> {
        // The links first: whoever makes one after this look is in the journal by the next.
        let links = observe::links_of_host()?;
        let mut known: Vec<Record> = self.records.all()?.all;
        known.extend(self.records.unfinished()?.all.into_iter().map(|(_, record)| record));
        let topologies = Topologies::of(&self.options.run_dir, self.records.home());
        let described = |op: &Op| matches!(op, Op::DelUnusedBridge { name } if topologies.has_bridge(name));
        let orphans = links.iter().filter_map(|link| orphan(link, &links, &known)).filter(|(_, op)| !described(op));
        let orphans: Vec<(String, Op)> = orphans.collect();
        for (text, op) in orphans {
            if self.options.dry_run {
                if self.would(&op, &links)? {
                    self.item("link", text);
                }
                continue;
            }
            match self.apply(&op, watch)? {
                Some(error) => self.left.push(format!("{}: {error}", op.describe())),
                // A bridge or VLAN child that somebody uses stays.
                None if is_there(&op)? => {}
                None => self.item("link", text),
            }
        }
        Ok(())
    }

    /// Whether a step that looks first would do something.
    fn would(&self, op: &Op, links: &[LinkFacts]) -> Result<bool, KernelError> {
        let (Op::DelUnusedBridge { name } | Op::DelUnusedVlan { name }) = op else { return Ok(true) };
        let Some(link) = links.iter().find(|link| link.name == name.as_str()) else { return Ok(false) };
        observe::is_unused(link)
    }

    fn apply(&self, op: &Op, watch: Watch<'_>) -> Result<Option<KernelError>, KernelError> {
        let here = Namespace::current()?;
        let mut sides = observe::open(&here)?;
        let lock = match op {
            Op::DelUnusedBridge { name } => SharedLock::of_bridge(&self.options.run_dir, name, here.inode()).ok(),
            _ => None,
        };
        let unused = |_: &IfName| lock.as_ref().is_none_or(SharedLock::is_last);
        let mut database = Database::at(self.options.ovsdb.as_deref()).map_err(KernelError::Ovs)?;
        let system = System::new(&mut sides).with_bridge_check(unused);
        watch(Event::Undoing(op));
        let error = Machine::new(system, &mut database).with_bridge_check(unused).apply(op).err();
        Ok(error.filter(|error| !error.errno().is_some_and(|errno| op.tolerates(errno))))
    }

    /// Rows of Open vSwitch that pipework made, for devices that are gone.
    fn ovs_rows(&mut self, watch: Watch<'_>) -> Result<(), DetachError> {
        let mut database = Database::at(self.options.ovsdb.as_deref()).map_err(KernelError::Ovs)?;
        let links = observe::links_of_host()?;
        let known = self.records.all()?.all;
        let is_known = |name: &str| {
            let made = |op: &Op| matches!(op, Op::AddOvsPort { port } if port.name.as_str() == name);
            known.iter().any(|record| record.done.iter().any(made))
        };
        for port in database.own_ports() {
            let name = port.name.as_str();
            if links.iter().any(|link| link.name == name) || is_known(name) {
                continue;
            }
            let text = format!("port {name} of Open vSwitch bridge {}, whose device is gone", port.bridge);
            let op = Op::DelOvsPort { port };
            if !self.options.dry_run
                && let Some(error) = self.apply(&op, watch)?
            {
                self.left.push(format!("{}: {error}", op.describe()));
                continue;
            }
            self.item("ovs-port", text);
        }
        Ok(())
    }

    /// Which attachment has which address, where that is not so.
    fn notes(&mut self) -> Result<(), DetachError> {
        let old = conflict::clear(self.records, self.options.dry_run)?;
        old.into_iter().for_each(|text| self.item("address", text));
        Ok(())
    }

    /// What is left of the host's access to guests that are gone.
    fn host_access(&mut self, watch: Watch<'_>) {
        match access::clear(&self.options.run_dir, self.options.dry_run, watch) {
            Ok((gone, left)) => {
                gone.into_iter().for_each(|text| self.item("host-access", text));
                self.left.extend(left);
            }
            Err(error) => self.warnings.push(error.chain().join(": ")),
        }
    }
}

fn is_there(op: &Op) -> Result<bool, KernelError> {
    let (Op::DelUnusedBridge { name } | Op::DelUnusedVlan { name }) = op else { return Ok(false) };
    Ok(observe::links_of_host()?.iter().any(|link| link.name == name.as_str()))
}

/// What takes a link away that is ours and that nobody uses, with words for it.
fn orphan(link: &LinkFacts, all: &[LinkFacts], known: &[Record]) -> Option<(String, Op)> {
    let name: IfName = link.name.parse().ok()?;
    let ops = || known.iter().flat_map(|record| record.done.iter().chain(&record.planned));
    let at = LinkRef::host(&name);
    if link.kind == LinkKind::Bridge && link.is_ours() {
        return Some((format!("bridge {name}, which has no port"), Op::DelUnusedBridge { name }));
    }
    if matches!(link.kind, LinkKind::Vlan { .. }) && link.is_ours() {
        return Some((format!("VLAN child {name}, which nobody uses"), Op::DelUnusedVlan { name }));
    }
    if matches!(link.kind, LinkKind::Ipoib { .. }) && link.is_child() {
        let is_known = ops().any(|op| matches!(op, Op::AddAltName { name, .. } if link.alt_names.contains(name)));
        return (!is_known).then(|| (format!("IPoIB child {name}, whose guest is gone"), Op::DelLink { link: at }));
    }
    // A guest's end that never came to its guest.
    let both_here = link.link.and_then(|peer| all.iter().find(|other| other.index == peer && other.link == Some(link.index)));
    let is_half = link.kind == LinkKind::Veth && link.is_ours() && both_here.is_some_and(LinkFacts::is_ours);
    let in_use = ops().any(|op| match op {
        Op::AddVeth { host, guest, .. } => *host == name || guest.at == at,
        _ => false,
    });
    // One deletion takes both ends.
    let first = both_here.is_some_and(|peer| link.index < peer.index);
    (is_half && first && !in_use).then(|| (format!("veth pair {name}, whose guest never got its end"), Op::DelOwnLink { link: at }))
}
