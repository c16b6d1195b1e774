//! DEL and GC: what an attachment was, and what nobody lists any more. What is gone already is no error.

use std::net::IpAddr;

use super::{Done, Plugin, fault};
use crate::external::hooks::HookSettings;
use crate::guest::Sandbox;
use crate::lifecycle::{self, DetachError, DetachOptions, Recorded};
use crate::model::cni::{CniError, Code, Ipam, Key};
use crate::model::pool::Owner;
use crate::plan::execute::Event;
use crate::state;

fn ignore(_: Event<'_>) {}

fn options() -> DetachOptions {
    DetachOptions { run_dir: state::run_dir(), hooks: HookSettings::from_environment(), ..DetachOptions::default() }
}

/// Whether a recorded name is that of an attachment.
pub(super) fn is(key: &Key, name: &str) -> bool {
    name.parse::<Key>().is_ok_and(|other| key.is(&other))
}

impl Plugin {
    pub(super) fn del(&self) -> Result<Done, CniError> {
        let key = self.key()?;
        let sandbox = self.sandbox()?;
        // As it was called then: the host may have another name by now.
        let (recorded, addresses) = self.recorded(key);
        let warnings = self.take(&sandbox, key)?;
        // Nobody else may have the address as long as the interface is there: so this comes last.
        let owners: Vec<Owner> = self.owner().into_iter().chain(recorded).collect();
        let freed = self.free(&owners, &addresses).map_err(|error| fault::claim(&error));
        if let Ipam::Delegated(plugin) = &self.conf.ipam {
            self.delegate(plugin, "DEL")?;
        }
        freed?;
        Ok(Done { warnings, ..Done::default() })
    }

    fn take(&self, sandbox: &Sandbox, key: &Key) -> Result<Vec<String>, CniError> {
        match lifecycle::release_sandbox(sandbox, key.made(), |name| is(key, name), options(), &mut ignore) {
            Ok(report) => Ok(report.warnings),
            // Whoever made that answers for it.
            Err(DetachError::Foreign { .. }) => Ok(Vec::new()),
            Err(error) => Err(fault::detach(&format!("detach {}", key.made().as_str()), &error)),
        }
    }

    /// Who the attachment was, besides who it is now, and what addresses it was made with.
    fn recorded(&self, key: &Key) -> (Vec<Owner>, Vec<IpAddr>) {
        let own = self.owner().ok();
        let mut recorded = lifecycle::sandboxes(&state::run_dir()).unwrap_or_default();
        recorded.retain(|one| is(key, &one.sandbox.name));
        let owners = recorded.iter().filter_map(|one| one.sandbox.name.parse().ok()).filter(|owner| Some(owner) != own.as_ref()).collect();
        (owners, recorded.into_iter().flat_map(|one| one.addresses).collect())
    }

    pub(super) fn gc(&self) -> Result<Done, CniError> {
        let is_valid = |key: &Key| self.conf.valid.contains(&(key.container.to_string(), key.interface.as_str().to_owned()));
        let is_stale = |key: &Key| key.network == self.conf.network && !is_valid(key);
        let (mut wrong, mut warnings): (Vec<CniError>, Vec<String>) = (Vec::new(), Vec::new());
        // A run that was killed may have left something that no record tells of.
        if let Err(error) = lifecycle::recover(&state::run_dir(), &mut ignore) {
            wrong.push(fault::detach("what a run that was cut off left", &error.into()));
        }
        let recorded = lifecycle::sandboxes(&state::run_dir()).map_err(|error| fault::detach("records", &error))?;
        let mut addresses = Vec::new();
        for Recorded { sandbox, addresses: had, .. } in &recorded {
            let Some(key) = sandbox.name.parse::<Key>().ok().filter(|key| is_stale(key)) else { continue };
            addresses.extend(had);
            match self.take(sandbox, &key) {
                Ok(more) => warnings.extend(more),
                Err(error) => wrong.push(error),
            }
        }
        let left = lifecycle::sandboxes(&state::run_dir()).map_err(|error| fault::detach("records", &error))?;
        let is_free = |key: &Key| is_stale(key) && !left.iter().any(|one| is(key, &one.sandbox.name));
        wrong.extend(self.free_stale(is_free, &addresses).err().map(|error| fault::claim(&error)));
        if let Ipam::Delegated(plugin) = &self.conf.ipam {
            wrong.extend(self.delegate(plugin, "GC").err());
        }
        match wrong.len() {
            0 => Ok(Done { warnings, ..Done::default() }),
            1 => Err(wrong.remove(0)),
            _ => Err(CniError::new(Code::Left, "not all could be taken away")
                .with(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))),
        }
    }
}
