//! Questions about addresses as steps of a plan: what an answer means for the attach.

use std::net::{IpAddr, Ipv6Addr};

use super::conflict::{Ends, Enough, Prober};
use super::wait::Interruptions;
use crate::model::conflict::{Conflict, Dad, DadMode};
use crate::model::error::KernelError;
use crate::model::types::{IfAddr, IfName};

/// What questions came to, where that does not end the attach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Who has which address.
    pub conflicts: Vec<Conflict>,
    /// Why nobody could be asked.
    pub unasked: Vec<String>,
}

/// The questions of one attachment.
#[derive(Default)]
pub(super) struct Questions {
    /// Listens from the question on, until the addresses can be used.
    prober: Option<Prober>,
    findings: Findings,
}

impl Questions {
    /// Asks who has addresses, and goes on listening where IPv6 looks once more.
    pub(super) fn probe(
        &mut self,
        ends: &mut Ends<'_>,
        interface: &IfName,
        port: Option<&IfName>,
        addrs: &[IfAddr],
        dad: Dad,
        until: &mut Interruptions<'_>,
    ) -> Result<(), KernelError> {
        let ips: Vec<IpAddr> = addrs.iter().map(IfAddr::ip).collect();
        let enough = if dad.mode == DadMode::Fail { Enough::First } else { Enough::All };
        let asked = Prober::open(ends, interface, port, &ips, until).and_then(|mut prober| {
            let found = prober.ask(&dad.timing(), enough, until)?;
            self.prober = Some(prober).filter(|_| ips.iter().any(IpAddr::is_ipv6));
            Ok(found)
        });
        self.take(dad.mode, asked)
    }

    /// Waits until IPv6 has looked by itself, for what nobody is known to have.
    pub(super) fn settle(
        &mut self,
        ends: &mut Ends<'_>,
        addrs: &[IfAddr],
        mode: DadMode,
        until: &mut Interruptions<'_>,
    ) -> Result<(), KernelError> {
        // Nobody could be asked: it may never end.
        let Some(mut prober) = self.prober.take() else { return Ok(()) };
        let known = |ip: &IpAddr| self.findings.conflicts.iter().any(|conflict| conflict.addr == *ip);
        let free = addrs.iter().map(IfAddr::ip).filter(|ip| !known(ip));
        let free: Vec<Ipv6Addr> = free.filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }).collect();
        let settled = prober.settle(ends, &free, until);
        self.take(mode, settled)
    }

    /// What was found since this was last asked.
    pub(super) fn findings(&mut self) -> Findings {
        std::mem::take(&mut self.findings)
    }

    /// Writes down what was found, or makes it the step's failure.
    fn take(&mut self, mode: DadMode, asked: Result<Vec<Conflict>, KernelError>) -> Result<(), KernelError> {
        match asked {
            Ok(found) if mode == DadMode::Fail => found.into_iter().next().map_or(Ok(()), |one| Err(KernelError::Taken(Box::new(one)))),
            Ok(found) => {
                self.findings.conflicts.extend(found);
                Ok(())
            }
            Err(KernelError::Unasked(why)) if mode != DadMode::Fail => {
                self.findings.unasked.push(why);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
