//! What carries a plan's steps out: the kernel, and the database of Open vSwitch for the steps that are its.

use super::ovs::Database;
use crate::kernel::System;
use crate::model::error::KernelError;
use crate::model::op::Op;
use crate::model::ovs::OvsError;
use crate::model::types::IfName;
use crate::plan::execute::{Kernel, again, take_back};

/// The kernel's two sides, and a switch where there is one.
pub struct Machine<'a> {
    system: System<'a>,
    database: &'a mut Database,
    /// Says whether nobody else is about to use a bridge: asked before one is removed.
    unused: Box<dyn FnMut(&IfName) -> bool + 'a>,
}

impl<'a> Machine<'a> {
    /// A machine.
    pub fn new(system: System<'a>, database: &'a mut Database) -> Self {
        Self { system, database, unused: Box::new(|_| true) }
    }

    /// Removes a bridge of Open vSwitch only when `unused` says so.
    #[must_use]
    pub fn with_bridge_check(mut self, unused: impl FnMut(&IfName) -> bool + 'a) -> Self {
        self.unused = Box::new(unused);
        self
    }

    /// The kernel's part.
    pub fn system(&mut self) -> &mut System<'a> {
        &mut self.system
    }

    /// Carries a step out when it is one for the database.
    fn in_database(&mut self, op: &Op) -> Option<Result<(), OvsError>> {
        let Self { system, database, unused } = self;
        let mut stop = || system.interrupted();
        Some(match op {
            Op::AddOvsBridge { name } => database.switch().and_then(|switch| switch.add_bridge(name.as_str(), &mut stop)),
            Op::SetOvsVlans { port, vlans, before } => {
                database.switch().and_then(|switch| switch.set_vlans(port.as_str(), vlans, before, &mut stop))
            }
            Op::AddOvsPort { port } => database.switch().and_then(|switch| switch.add_port(port, &mut stop)),
            Op::DelOvsPort { port } => database.switch().and_then(|switch| switch.del_port(port)),
            Op::DelUnusedOvsBridge { name } if unused(name) => database.switch().and_then(|switch| switch.del_unused_bridge(name.as_str())),
            Op::DelUnusedOvsBridge { .. } => Ok(()),
            _ => return None,
        })
    }
}

impl Kernel for Machine<'_> {
    fn apply(&mut self, op: &Op) -> Result<(), KernelError> {
        match op {
            Op::TakeBack { .. } => return take_back(self, op),
            Op::Again { steps } => return again(self, steps),
            _ => {}
        }
        match self.in_database(op) {
            Some(done) => done.map_err(KernelError::Ovs),
            None => self.system.apply(op),
        }
    }

    fn at_once(&self, ops: &[Op]) -> usize {
        self.system.at_once(ops)
    }

    fn apply_all(&mut self, ops: &[Op]) -> Vec<Result<(), KernelError>> {
        match ops {
            [op] => vec![self.apply(op)],
            several => self.system.apply_all(several),
        }
    }

    fn interrupted(&mut self) -> Option<&'static str> {
        self.system.interrupted()
    }
}
