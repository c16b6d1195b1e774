//! What holds without a file: what reaches beyond the guest's own interface is not for a container to ask.

use super::asked::{Giver, Kind, Opt};
use super::scope::Scope;

/// Host interfaces that are the host's ends of other guests' links, or the host's alone.
const NO_PARENTS: [&str; 2] = ["veth", "pws-"];

/// Neither a NIC as a whole, nor a device, nor the host's own addresses come with these.
pub(super) const KINDS: &[Kind] = &[Kind::Default, Kind::Macvlan, Kind::Dummy];

/// Clients that are built in: no program of the host's gets words of the container's, and no image is run. Pools are the
/// administrator's own.
pub(super) const GIVERS: &[Giver] = &[Giver::Dhcp, Giver::Dhcp6, Giver::Slaac, Giver::Pool];

/// What is of the guest's interface alone, and takes no more of the host's memory than that.
pub(super) const OPTIONS: &[Opt] = &[Opt::Dad, Opt::DadWait, Opt::HostAccess, Opt::Mtu, Opt::Metric, Opt::Table, Opt::Rate, Opt::Offload];

/// Whether guests may be attached to it.
pub(super) fn is_parent(name: &str) -> bool {
    name != "lo" && !NO_PARENTS.iter().any(|prefix| name.starts_with(prefix))
}

/// All of it.
pub(super) fn usual() -> Scope {
    Scope::default()
}
