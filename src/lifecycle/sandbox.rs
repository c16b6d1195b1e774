//! Attachments of containers that a runtime names together with their network namespace, as CNI does. Each is known by a name of its
//! own, which is recorded, so that it is found again when the namespace is gone, and no other is ever meant.

use std::net::IpAddr;
use std::path::Path;

use super::attach::attach_together;
use super::converge::{drift_of, replace_together};
use super::detach::{DetachError, DetachOptions, Which, detach_found};
use super::together::Together;
use super::{AttachError, Attached, Options, recording};
use crate::guest::{Directory, Sandbox, trace};
use crate::kernel::netns::Namespace;
use crate::kernel::observe::{self, Sides};
use crate::kernel::privilege;
use crate::model::error::KernelError;
use crate::model::facts::LinkFacts;
use crate::model::record::Record;
use crate::model::report::{DetachReport, DiffReport};
use crate::model::request::AttachRequest;
use crate::model::types::{Family, IfAddr, IfName};
use crate::plan::execute::Event;

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// Gives such a container an interface. As [`super::attach`].
///
/// # Errors
/// As there.
pub fn attach_sandbox(sandbox: &Sandbox, request: &AttachRequest, options: &Options, watch: Watch<'_>) -> Result<Attached, AttachError> {
    let directory = Directory::of_sandbox(sandbox.clone());
    attach_together(request, options, Together { guests: Some(&directory), ..Together::default() }, watch)
}

/// Makes an interface of such a container be as asked. As [`super::replace`].
///
/// # Errors
/// As there.
pub fn replace_sandbox(sandbox: &Sandbox, request: &AttachRequest, options: &Options, watch: Watch<'_>) -> Result<Attached, AttachError> {
    let directory = Directory::of_sandbox(sandbox.clone());
    replace_together(request, options, Together { guests: Some(&directory), ..Together::default() }, watch)
}

/// An attachment of a container that a runtime has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The container and its namespace, by the name of the attachment.
    pub sandbox: Sandbox,
    /// The interface.
    pub interface: IfName,
    /// The addresses that it was made with.
    pub addresses: Vec<IpAddr>,
}

/// All such attachments of this host.
///
/// # Errors
/// When the records cannot be read.
pub fn sandboxes(run_dir: &Path) -> Result<Vec<Recorded>, DetachError> {
    let found = recording::records(run_dir)?.all()?;
    let one = |record: &Record| {
        let addresses = record.request.addr.addrs.iter().map(IfAddr::ip).collect();
        Some(Recorded { sandbox: Sandbox::of(&record.guest)?, interface: record.interface.clone(), addresses })
    };
    Ok(found.all.iter().filter_map(one).collect())
}

/// Takes away an attachment of such a container, by what `is_it` says of its name. What is gone already is no error, nor is a
/// container that is gone. An interface that nobody recorded is taken away only when it bears our mark.
///
/// # Errors
/// See [`DetachError`].
pub fn release_sandbox(
    sandbox: &Sandbox,
    interface: &IfName,
    is_it: impl Fn(&str) -> bool,
    options: DetachOptions,
    watch: Watch<'_>,
) -> Result<DetachReport, DetachError> {
    privilege::check()?;
    let options = DetachOptions { which: Which::Interface(interface.clone()), ..options };
    let word = sandbox.word();
    let directory = Directory::of_sandbox(sandbox.clone());
    let together = Together { guests: Some(&directory), ..Together::default() };
    detach_found(&word, &options, together, watch, |records, _| {
        let held = together.hold(&word).ok();
        let here = held.as_ref().map(|held| records.of_guest(held.id.netns)).transpose()?.unwrap_or_default().all;
        let is_taken = here.iter().any(|record| record.interface == *interface);
        let is_meant = |record: &Record| is_meant(record, sandbox, interface, &is_it);
        let mut meant: Vec<Record> = here.into_iter().filter(is_meant).collect();
        if meant.is_empty() {
            meant = records.all()?.all.into_iter().filter(is_meant).collect();
        }
        // Another's of that name stays.
        Ok((held.filter(|_| meant.is_empty() && !is_taken), meant))
    })
}

/// Whether a record is of that interface of that container, and bears a name that is meant.
fn is_meant(record: &Record, sandbox: &Sandbox, interface: &IfName, is_it: impl Fn(&str) -> bool) -> bool {
    let is_named = |other: Sandbox| other.container == sandbox.container && is_it(&other.name);
    record.interface == *interface && Sandbox::of(&record.guest).is_some_and(is_named)
}

/// How an attachment stands.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The name of the attachment, as it is recorded.
    pub name: String,
    /// What is not as its record wants it.
    pub report: DiffReport,
    /// The container's interface, if it is there.
    pub link: Option<LinkFacts>,
    /// The addresses of that.
    pub addresses: Vec<IfAddr>,
}

/// Looks how such an attachment stands, which is known as for [`release_sandbox`].
///
/// # Errors
/// When it is not recorded, or cannot be looked at.
pub fn check_sandbox(
    sandbox: &Sandbox,
    interface: &IfName,
    is_it: impl Fn(&str) -> bool,
    options: &Options,
) -> Result<Checked, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let missing = || AttachError::NotRecorded { guest: sandbox.container.clone(), interface: Some(interface.clone()) };
    let all = records.all().map_err(AttachError::Unrecorded)?.all;
    let record = all.into_iter().find(|record| is_meant(record, sandbox, interface, &is_it)).ok_or_else(missing)?;
    let name = record.guest.container_name.clone().unwrap_or_default();
    let report = drift_of(&record, options)?;
    let Some(namespace) = trace::namespace(&record.guest.path, record.guest.netns) else {
        return Ok(Checked { name, report, link: None, addresses: Vec::new() });
    };
    let look = || {
        let mut socket = namespace.netlink()?;
        let link = observe::link_called(&mut socket, interface)?;
        let mut addresses = Vec::new();
        for family in [Family::Inet, Family::Inet6] {
            let all = observe::addrs(&mut socket, family)?;
            addresses.extend(all.iter().filter(|addr| link.as_ref().is_some_and(|link| link.index == addr.index)).map(|addr| addr.addr));
        }
        Ok((link, addresses))
    };
    let (link, addresses) = look().map_err(AttachError::Observe)?;
    Ok(Checked { name, report, link, addresses })
}

/// Whether this host has a link of that name.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn has_link(name: &IfName) -> Result<bool, AttachError> {
    let here = || observe::link_called(&mut Namespace::current()?.netlink()?, name);
    here().map(|found| found.is_some()).map_err(AttachError::Observe)
}

/// The links of an attachment: what its host end is a port of, its host end, and the container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The bridge, where it is one of the kernel's.
    pub bridge: Option<LinkFacts>,
    /// The end of a veth pair on the host.
    pub host: Option<LinkFacts>,
    /// The interface.
    pub guest: Option<LinkFacts>,
}

impl Links {
    /// As they are now, by the sockets that they were made by.
    pub(super) fn look(sides: &mut Sides<'_>, interface: &IfName) -> Result<Self, KernelError> {
        let guest = observe::link_called(&mut sides.guest, interface)?;
        let host = guest.as_ref().map(|link| observe::peer_of(&mut sides.host, link)).transpose()?.flatten();
        let master = host.as_ref().and_then(|host| host.master);
        let bridge = master.map(|index| observe::link_of(&mut sides.host, index)).transpose()?.flatten();
        Ok(Self { bridge, host, guest })
    }
}
