//! What to do about a step that the kernel refused.

use nix::errno::Errno;

use crate::model::error::KernelError;
use crate::model::op::Op;

/// What to type, or which kernel option is missing; `None` when the kernel's own words say all.
pub fn hint(op: &Op, error: &KernelError) -> Option<String> {
    if let Some((what, option, module)) = kind_of_link(op).filter(|_| unknown_kind(error)) {
        return Some(format!("this kernel has no {what}: it needs {option} (modprobe {module}, or a kernel built with it)"));
    }
    if let KernelError::Ovs(error) = error {
        return error.hint();
    }
    match (op, error.errno()?) {
        (_, Errno::EPERM) => Some("run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN in the host's user namespace".into()),
        (Op::AddVeth { bridge: Some(bridge), .. }, Errno::EXFULL) => {
            Some(format!("bridge {bridge} has 1023 ports, the most that the kernel allows: make another one"))
        }
        (Op::AddVeth { bridge: Some(bridge), .. }, Errno::EOPNOTSUPP | Errno::EINVAL) => {
            Some(format!("is {bridge} still a bridge? `ip -d link show {bridge}` says"))
        }
        (Op::AddMacvlan { parent, .. }, Errno::EBUSY) => Some(format!("{parent} belongs to a bridge or bond: attach to that instead")),
        (Op::AddIpoib { .. }, Errno::ENOTUNIQ) => Some("the partition key is in use on this parent already".into()),
        (Op::MoveLink { from, .. }, Errno::EINVAL) => Some(format!("the driver of {from} does not let it leave its namespace")),
        (Op::MovePhy { phy, .. }, Errno::EOPNOTSUPP) => Some(format!("the driver of {} does not let it leave its namespace", phy.name)),
        (Op::MovePhy { to, .. }, Errno::EEXIST) => {
            Some(format!("another interface of the phy, or the guest, has the name {}: choose another with -i", to.name))
        }
        (Op::SetUp { .. }, Errno::ERFKILL) => Some("the radio is switched off: rfkill list, rfkill unblock wifi".into()),
        (Op::AddAddr { .. }, Errno::EACCES) => Some("IPv6 is switched off in the guest: sysctl net.ipv6.conf.all.disable_ipv6".into()),
        (Op::AddRoute { .. }, Errno::EACCES | Errno::EINVAL) => {
            Some("is IPv6 on in the guest, and the gateway on the address's subnet?".into())
        }
        (Op::EnableIpv6 { .. }, Errno::ENOENT) => {
            Some("this kernel has no IPv6 (CONFIG_IPV6, or ipv6.disable=1 on its command line)".into())
        }
        (Op::AddShimRoute { .. }, Errno::EINVAL) => {
            Some("is the host's address still there? `ip addr` says; IPv6 has to be on, too: sysctl net.ipv6.conf.all.disable_ipv6".into())
        }
        (Op::AddShim { .. }, Errno::EROFS | Errno::EACCES) => {
            Some("/proc/sys is read-only here: run on the host, or with --privileged".into())
        }
        (Op::AddShim { shim }, Errno::EBUSY) => Some(format!("{} belongs to a bridge or bond, or to one guest alone", shim.parent)),
        (Op::EnableIpv6 { .. }, Errno::EROFS | Errno::EACCES) => {
            Some("/proc/sys is read-only here: run on the host, or with --privileged".into())
        }
        _ => None,
    }
}

/// The kernel does not know the kind of link (net/core/rtnetlink.c, rtnl_newlink: "Unknown device type").
fn unknown_kind(error: &KernelError) -> bool {
    matches!(error, KernelError::Refused { errno: Errno::EOPNOTSUPP, text } if text.as_deref().is_none_or(|t| t.contains("Unknown device type")))
}

/// What a step makes, its kernel option and its module.
fn kind_of_link(op: &Op) -> Option<(&'static str, &'static str, &'static str)> {
    match op {
        Op::AddBridge { .. } => Some(("bridges", "CONFIG_BRIDGE", "bridge")),
        Op::AddVeth { .. } => Some(("veth pairs", "CONFIG_VETH", "veth")),
        Op::AddVlan { .. } => Some(("802.1Q VLANs", "CONFIG_VLAN_8021Q", "8021q")),
        Op::AddMacvlan { .. } | Op::AddShim { .. } => Some(("macvlan", "CONFIG_MACVLAN", "macvlan")),
        Op::AddIpoib { .. } => Some(("IP over InfiniBand", "CONFIG_INFINIBAND_IPOIB", "ib_ipoib")),
        Op::AddDummy { .. } => Some(("dummy interfaces", "CONFIG_DUMMY", "dummy")),
        _ => None,
    }
}
