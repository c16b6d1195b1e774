//! Addresses that somebody else has: what the network's answers mean for the report.

use crate::kernel::Findings;
use crate::model::conflict::Conflict;
use crate::model::error::KernelError;
use crate::plan::execute::ExecuteError;

/// What was found and did not end the attach, as warnings. `whose` tells the guest of this host that a conflict is with.
pub(super) fn warnings(findings: Findings, whose: impl Fn(&Conflict) -> Option<String>) -> Vec<String> {
    let named = |conflict: Conflict| Conflict { guest: whose(&conflict), ..conflict };
    let conflicts = findings.conflicts.into_iter().map(|conflict| format!("{}; taken all the same (--dad warn)", named(conflict)));
    let unasked = findings.unasked.into_iter().map(|why| KernelError::Unasked(why).to_string());
    conflicts.chain(unasked).collect()
}

/// The guest's name put into an attach's failure, where that is a conflict.
pub(super) fn name(error: &mut ExecuteError, whose: impl Fn(&Conflict) -> Option<String>) {
    if let KernelError::Taken(conflict) = &mut error.cause {
        conflict.guest = whose(conflict);
    }
}
