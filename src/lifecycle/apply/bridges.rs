//! Bridges of the host, as described.

use super::{ApplyError, Run, Watch};
use crate::kernel::signal::Signals;
use crate::kernel::survey::HostSurvey;
use crate::kernel::{System, observe};
use crate::lifecycle::AttachError;
use crate::model::command::Commands;
use crate::model::difference::{Difference, Field};
use crate::model::error::KernelError;
use crate::model::facts::GuestId;
use crate::model::host::HostView;
use crate::model::op::Op;
use crate::model::report::{Outcome, Step};
use crate::model::topology::{Action, Kind, ObjectReport, WantedBridge};
use crate::model::types::IfName;
use crate::plan::execute::{Event, Kernel, execute};
use crate::plan::{BridgePlan, Plan, host_bridge, merged, unwanted};
use crate::state::{AppliedBridge, SharedLock};

impl Run<'_> {
    pub(super) fn bridges(&mut self, watch: Watch<'_>) -> Result<(), ApplyError> {
        let wanted = self.wanted;
        if wanted.bridges.is_empty() {
            return Ok(());
        }
        let mut view = HostSurvey::view()?;
        let released = self.released(&view);
        for (bridge, ops) in &released {
            if self.options.dry_run {
                ops.iter().for_each(|op| without(&mut view, op));
            } else {
                self.release(bridge, ops, watch)?;
            }
        }
        for bridge in &wanted.bridges {
            if let Some(signal) = self.stop() {
                self.lacks.failed_bridges.insert(bridge.name.to_string());
                self.not_done(Kind::Bridge, bridge.name.to_string(), signal);
                continue;
            }
            if !self.options.dry_run {
                view = HostSurvey::view()?;
            }
            let gone = released.iter().filter(|(name, _)| *name == bridge.name).flat_map(|(_, ops)| ops);
            self.bridge(bridge, &view, gone.map(difference).collect(), watch)?;
        }
        Ok(())
    }

    fn bridge(&mut self, bridge: &WantedBridge, view: &HostView, gone: Vec<Difference>, watch: Watch<'_>) -> Result<(), ApplyError> {
        let name = bridge.name.to_string();
        let BridgePlan { plan, mut differences, is_new } = match host_bridge(bridge, view, observe::fresh_mac()) {
            Ok(planned) => planned,
            Err(error) => {
                self.lacks.failed_bridges.insert(name.clone());
                self.tell(&ObjectReport::failed(Kind::Bridge, name, vec![error.to_string()], Some(error.hint())));
                return Ok(());
            }
        };
        differences.extend(gone);
        let action = match (is_new, differences.is_empty()) {
            (true, _) => Action::Create,
            (false, false) => Action::Change,
            (false, true) => Action::None,
        };
        let mut report = ObjectReport::new(Kind::Bridge, name.clone(), action, Outcome::Changed);
        report.differences = differences;
        report.steps = self.steps(plan.ops());
        if self.options.dry_run {
            if is_new {
                self.lacks.planned_bridges.insert(name);
            }
            report.result = if action == Action::None { Outcome::Unchanged } else { Outcome::Planned };
            self.tell(&report);
            return Ok(());
        }
        let before = self.applied.bridges.clone();
        self.note_bridge(&bridge.name, plan.ops(), is_new)?;
        match self.make(&bridge.name, &plan, watch) {
            Ok(done) => {
                report.result = if action == Action::None { Outcome::Unchanged } else { Outcome::Changed };
                self.applied.bridges = before;
                self.note_bridge(&bridge.name, &done, is_new)?;
                self.tell(&report);
            }
            Err(error) => {
                self.lacks.failed_bridges.insert(name.clone());
                // What could not be taken back is known still.
                if error.undone().is_none_or(|undone| undone.left.is_empty()) {
                    self.applied.bridges = before;
                    self.keep()?;
                }
                self.failed(Kind::Bridge, name, &error);
            }
        }
        Ok(())
    }

    fn make(&self, name: &IfName, plan: &Plan, watch: Watch<'_>) -> Result<Vec<Op>, AttachError> {
        let mut sides = observe::open(&self.home).map_err(AttachError::Observe)?;
        let mut signals = Signals::hold().map_err(AttachError::Observe)?;
        let lock = SharedLock::of_bridge(&self.options.run_dir, name, self.home.inode()).ok();
        let unused = |_: &IfName| lock.as_ref().is_none_or(SharedLock::is_last);
        let mut system = System::new(&mut sides).with_bridge_check(unused).with_signals(&mut signals);
        Ok(execute(plan, &mut system, watch)?.ops().to_vec())
    }

    /// A described bridge is the topology's also when there was nothing to do: it stays while nobody uses it.
    fn note_bridge(&mut self, name: &IfName, done: &[Op], is_new: bool) -> Result<(), ApplyError> {
        let old = self.applied.bridges.iter().find(|known| known.name == *name && !is_new);
        let done = merged(old.map(|known| known.done.as_slice()).unwrap_or_default(), done);
        self.applied.bridges.retain(|known| known.name != *name);
        self.applied.bridges.push(AppliedBridge { name: name.clone(), done });
        self.keep()
    }

    /// What this topology did to bridges, and does not describe any more. Of a bridge that is not described at all: the uplinks
    /// that another is to have.
    fn released(&self, view: &HostView) -> Vec<(IfName, Vec<Op>)> {
        let is_taken = |op: &Op| matches!(op, Op::SetBridge { port, .. } if self.wanted.bridges.iter().any(|b| b.uplinks.contains(port)));
        let of = |known: &AppliedBridge| {
            let ops = match self.wanted.bridges.iter().find(|bridge| bridge.name == known.name) {
                Some(bridge) => unwanted(&known.done, Some(bridge)),
                None if self.options.prune => known.done.iter().filter(|op| is_taken(op)).cloned().collect(),
                None => Vec::new(),
            };
            let ops: Vec<Op> = ops.into_iter().filter(|op| is_still_so(op, &known.name, view)).collect();
            (!ops.is_empty()).then(|| (known.name.clone(), ops))
        };
        self.applied.bridges.iter().filter_map(of).collect()
    }

    fn release(&mut self, name: &IfName, ops: &[Op], watch: Watch<'_>) -> Result<(), ApplyError> {
        let left = self.take_back(name, ops, watch)?;
        for known in self.applied.bridges.iter_mut().filter(|known| known.name == *name) {
            known.done.retain(|op| !ops.contains(op));
        }
        if !left.is_empty() {
            self.tell(&ObjectReport::failed(Kind::Bridge, name.to_string(), left, None));
        }
        self.keep()
    }

    /// Takes steps back, last first, and tells what is left of them.
    pub(super) fn take_back(&self, name: &IfName, ops: &[Op], watch: Watch<'_>) -> Result<Vec<String>, KernelError> {
        let mut sides = observe::open(&self.home)?;
        let lock = SharedLock::of_bridge(&self.options.run_dir, name, self.home.inode()).ok();
        let unused = |_: &IfName| lock.as_ref().is_none_or(SharedLock::is_last);
        let mut system = System::new(&mut sides).with_bridge_check(unused);
        let mut left = Vec::new();
        for back in ops.iter().rev().flat_map(Op::undo) {
            watch(Event::Undoing(&back));
            let error = system.apply(&back).err().filter(|error| !error.errno().is_some_and(|errno| back.tolerates(errno)));
            // With the link has gone what was done to it.
            let error = error.filter(|error| error.errno() != Some(nix::errno::Errno::ENODEV));
            left.extend(error.map(|error| format!("{}: {error}", back.describe())));
        }
        Ok(left)
    }

    pub(super) fn steps(&self, ops: &[Op]) -> Vec<Step> {
        if !self.options.steps {
            return Vec::new();
        }
        let host = GuestId::of_host(self.home.path().display().to_string(), self.home.inode());
        let commands = Commands::new(&host);
        ops.iter().map(|op| commands.step(op)).collect()
    }
}

/// Whether what a step did to a bridge is there to be taken back: an uplink may have been given to another meanwhile.
pub(super) fn is_still_so(op: &Op, bridge: &IfName, view: &HostView) -> bool {
    let there = view.called(bridge.as_str());
    match op {
        Op::SetBridge { port, .. } => view.called(port.as_str()).is_some_and(|port| port.master.as_deref() == Some(bridge.as_str())),
        Op::SetUp { link } => view.called(link.name.as_str()).is_some_and(|link| link.link.up),
        Op::AddAddr { addr, .. } => there.is_some_and(|bridge| bridge.addrs.contains(addr)),
        _ => there.is_some(),
    }
}

/// The host as it will be once a step is taken back.
fn without(view: &mut HostView, op: &Op) {
    match op {
        Op::SetBridge { port, .. } => {
            for link in view.links.iter_mut().filter(|link| link.link.name == port.as_str()) {
                (link.master, link.link.master) = (None, None);
            }
        }
        Op::AddAddr { addr, .. } => view.links.iter_mut().for_each(|link| link.addrs.retain(|other| other != addr)),
        _ => {}
    }
}

/// What is not described any more, as a difference.
fn difference(op: &Op) -> Difference {
    let (field, is) = match op {
        Op::SetBridge { port, .. } => (Field::Uplink, port.to_string()),
        Op::SetUp { link } => (Field::ParentState, format!("{} up", link.name)),
        Op::AddAddr { addr, .. } => (Field::Address, addr.to_string()),
        Op::SetMtu { mtu, .. } => (Field::Mtu, mtu.to_string()),
        op => (Field::VlanFiltering, op.describe()),
    };
    Difference { field, is, wanted: "not described".into() }
}
