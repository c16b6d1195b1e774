//! What a guest is called in the network: the same for the same name, whatever process it has today.

use super::dynamic::Asking;
use crate::external::dhcp::identity::Identity;
use crate::model::dhcp::is_host_name;
use crate::model::request::GuestRef;
use crate::model::types::IfName;

impl Asking<'_> {
    /// The host name to send (option 12), where the guest's name can be one.
    pub(super) fn host_name(&self) -> Option<String> {
        host_name(&self.request.guest)
    }

    /// The client's identity.
    pub(super) fn identity(&self) -> Identity {
        of(&self.request.guest, self.guest_if)
    }
}

/// The guest's name without the engine's. A process has none.
fn name(guest: &GuestRef) -> Option<String> {
    match guest {
        GuestRef::Any(name) | GuestRef::Docker(name) | GuestRef::Podman(name) | GuestRef::Lxc(name) | GuestRef::NetnsName(name) => {
            Some(name.clone())
        }
        GuestRef::NetnsPath(path) => Some(path.file_name()?.to_string_lossy().into_owned()),
        GuestRef::Pid(_) => None,
    }
}

/// The host name to send (option 12), where the guest's name can be one.
pub(super) fn host_name(guest: &GuestRef) -> Option<String> {
    name(guest).map(|name| name.replace(['_', '.'], "-")).filter(|name| is_host_name(name))
}

/// The client's identity: of this machine, the guest's name and its interface. A process that was named by its number is a new
/// guest each time.
pub(super) fn of(guest: &GuestRef, interface: &IfName) -> Identity {
    // machine-id(5) is not to leave the machine: only a digest of it does.
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let machine = Some(machine.trim().to_owned()).filter(|id| !id.is_empty());
    let machine = machine.or_else(|| nix::unistd::gethostname().ok()?.into_string().ok()).unwrap_or_default();
    let guest = name(guest).unwrap_or_else(|| guest.to_string());
    Identity::new(&machine, &guest, interface.as_str())
}
