//! Running a plan: one step after another, and everything back in reverse when one fails.

use std::path::Path;

use nix::errno::Errno;
use thiserror::Error;

use super::Plan;
use crate::model::error::KernelError;
use crate::model::op::Op;
use crate::model::types::Side;

/// What carries steps out.
pub trait Kernel {
    /// Carries out one step.
    ///
    /// # Errors
    /// Why it was not done, or that it is not known whether it was.
    fn apply(&mut self, op: &Op) -> Result<(), KernelError>;

    /// How many of these steps, from the first on, can be carried out at once; one at least.
    fn at_once(&self, _ops: &[Op]) -> usize {
        1
    }

    /// Carries out as many steps as [`Kernel::at_once`] said. Those behind one that fails are carried out all the same. What came
    /// of each.
    fn apply_all(&mut self, ops: &[Op]) -> Vec<Result<(), KernelError>> {
        ops.iter().map(|op| self.apply(op)).collect()
    }

    /// The signal that asks to stop, if one has come.
    fn interrupted(&mut self) -> Option<&'static str> {
        None
    }
}

/// Carries out an [`Op::TakeBack`].
///
/// # Errors
/// The first part that fails; [`KernelError::HalfDone`] when others had been done.
pub fn take_back(kernel: &mut dyn Kernel, op: &Op) -> Result<(), KernelError> {
    one_by_one(kernel, &op.parts())
}

/// Carries out an [`Op::Again`]. When the link that the first step makes is there, nothing was taken back.
///
/// # Errors
/// As [`take_back`].
pub fn again(kernel: &mut dyn Kernel, steps: &[Op]) -> Result<(), KernelError> {
    let (first, rest) = steps.split_at(1.min(steps.len()));
    match one_by_one(kernel, first) {
        Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => one_by_one(kernel, rest).map_err(|error| KernelError::HalfDone(Box::new(error))),
    }
}

fn one_by_one(kernel: &mut dyn Kernel, ops: &[Op]) -> Result<(), KernelError> {
    for (n, op) in ops.iter().enumerate() {
        match kernel.apply(op) {
            Err(error) if error.errno().is_some_and(|errno| op.tolerates(errno)) => {}
            Err(error) if n > 0 => return Err(KernelError::HalfDone(Box::new(error))),
            ended => ended?,
        }
    }
    Ok(())
}

/// What happens while a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The step is about to be done.
    Doing(&'a Op),
    /// The step is about to be taken back.
    Undoing(&'a Op),
    /// A hook of the administrator's is about to be run.
    Running(&'a Path),
}

/// A plan that was carried out, and can be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    ops: Vec<Op>,
}

/// A step failed; what had been done is taken back.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .op.describe())]
pub struct ExecuteError {
    /// The step.
    pub op: Op,
    /// Why.
    #[source]
    pub cause: KernelError,
    /// How much was taken back.
    pub undone: Undone,
}

/// What taking back came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Steps that had been done, or may have been.
    pub of: usize,
    /// Steps taken back.
    pub undone: usize,
    /// What could not be.
    pub left: Vec<(Op, KernelError)>,
}

impl ExecuteError {
    /// Whether a bridge or parent that was there is not there any more, or another run made a VLAN child meanwhile, or a bridge
    /// that may filter no VLANs.
    pub fn bridge_came_or_went(&self) -> bool {
        match (&self.op, self.cause.errno()) {
            (Op::AddVeth { bridge: Some(_), .. } | Op::AddOvsPort { .. } | Op::AddShared { .. }, errno) => errno == Some(Errno::ENODEV),
            // The kernel says no more than EINVAL of a master that is gone.
            (Op::SetBridge { bridge: Some(_), .. }, errno) => matches!(errno, Some(Errno::ENODEV | Errno::EINVAL)),
            (Op::AddBridge { .. } | Op::AddVlan { .. }, errno) => errno == Some(Errno::EEXIST),
            _ => false,
        }
    }

    /// Whether the kernel would not make the link in the guest, and making it on the host may do.
    pub fn birth_refused(&self) -> bool {
        let newborn = match &self.op {
            Op::AddVeth { guest: link, .. } | Op::AddShared { link, .. } | Op::AddIpoib { link, .. } | Op::AddDummy { link } => &link.at,
            Op::MoveLink { to, .. } => to,
            _ => return false,
        };
        newborn.side == Side::Guest && matches!(self.cause.errno(), Some(Errno::EEXIST | Errno::EINVAL))
    }
}

/// Carries a plan out. Stops at the first step that fails, or before the next when a signal has come, and takes back
/// what was done.
///
/// # Errors
/// The step that failed, with what undoing came to.
pub fn execute(plan: &Plan, kernel: &mut dyn Kernel, watch: &mut dyn FnMut(Event<'_>)) -> Result<Done, Box<ExecuteError>> {
    let mut done = Done::default();
    let mut rest = plan.ops();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(kernel.at_once(rest).clamp(1, rest.len()));
        rest = later;
        now.iter().for_each(|op| watch(Event::Doing(op)));
        if let Err(failed) = steps(now, kernel, &mut done) {
            let (op, cause) = *failed;
            return Err(Box::new(ExecuteError { op, cause, undone: done.undo(kernel, watch) }));
        }
    }
    // A signal during the last step asks for the same as one before it: leave nothing.
    match (kernel.interrupted(), plan.ops().last()) {
        (Some(signal), Some(op)) => {
            Err(Box::new(ExecuteError { op: op.clone(), cause: KernelError::Interrupted(signal), undone: done.undo(kernel, watch) }))
        }
        _ => Ok(done),
    }
}

/// Carries out steps that can be done at once. Fails with the first that does.
fn steps(ops: &[Op], kernel: &mut dyn Kernel, done: &mut Done) -> Result<(), Box<(Op, KernelError)>> {
    if let (Some(signal), Some(op)) = (kernel.interrupted(), ops.first()) {
        return Err(Box::new((op.clone(), KernelError::Interrupted(signal))));
    }
    let mut failed = None;
    for (op, ended) in ops.iter().zip(kernel.apply_all(ops)) {
        match ended {
            Ok(()) => done.ops.push(op.clone()),
            // Already so, by somebody else's hand: not ours to take back.
            Err(error) if error.errno().is_some_and(|errno| op.tolerates(errno)) => {}
            Err(error) => {
                if error.outcome_unknown() {
                    done.ops.push(op.clone());
                }
                failed.get_or_insert_with(|| Box::new((op.clone(), error)));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

impl Done {
    /// Steps that an earlier run took.
    pub fn of(ops: Vec<Op>) -> Self {
        Self { ops }
    }

    /// The steps that took effect.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// With more steps, that were done after these.
    #[must_use]
    pub fn and(mut self, ops: Vec<Op>) -> Self {
        self.ops.extend(ops);
        self
    }

    /// Takes everything back in reverse. Never stops at an error: what is left is told.
    pub fn undo(self, kernel: &mut dyn Kernel, watch: &mut dyn FnMut(Event<'_>)) -> Undone {
        let mut undone = Undone { of: self.ops.len(), ..Undone::default() };
        for op in self.ops.iter().rev() {
            let mut failed = false;
            for back in op.undo() {
                if undone.left.iter().any(|(left, _)| back.hangs_on(left)) {
                    continue;
                }
                watch(Event::Undoing(&back));
                match kernel.apply(&back) {
                    Ok(()) => {}
                    Err(error) if error.errno().is_some_and(|errno| back.tolerates(errno)) => {}
                    Err(error) => {
                        failed = true;
                        undone.left.push((back, error));
                    }
                }
            }
            undone.undone += usize::from(!failed);
        }
        undone
    }
}
