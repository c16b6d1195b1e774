//! What carries a plan's steps out: the kernel, and the database of Open vSwitch for the steps that are its.

use super::ovs::Database;
use crate::kernel::System;
use crate::model::error::KernelError;
use crate::model::op::Op;
use crate::model::ovs::OvsError;
use crate::model::types::IfName;
use crate::plan::execute::Kernel;

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

    fn in_database(&mut self, op: &Op) -> Option<Result<(), OvsError>> {
        let system = &mut self.system;
        let mut stop = || system.interrupted();
        let switch = match op {
            Op::AddOvsBridge { .. } | Op::AddOvsPort { .. } | Op::DelOvsPort { .. } | Op::DelUnusedOvsBridge { .. } => {
                self.database.switch()
            }
            _ => return None,
        };
        let switch = match switch {
            Ok(switch) => switch,
            Err(error) => return Some(Err(error)),
        };
        match op {
            Op::AddOvsBridge { name } => Some(switch.add_bridge(name.as_str(), &mut stop)),
            Op::AddOvsPort { port } => Some(switch.add_port(port, &mut stop)),
            Op::DelOvsPort { port } => Some(switch.del_port(port)),
            Op::DelUnusedOvsBridge { name } if (self.unused)(name) => Some(switch.del_unused_bridge(name.as_str())),
            _ => Some(Ok(())),
        }
    }
}

impl Kernel for Machine<'_> {
    fn apply(&mut self, op: &Op) -> Result<(), KernelError> {
        match self.in_database(op) {
            Some(done) => done.map_err(KernelError::Ovs),
            None => self.system.apply(op),
        }
    }

    fn interrupted(&mut self) -> Option<&'static str> {
        self.system.interrupted()
    }
}
