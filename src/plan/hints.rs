//! What to do about a step that the kernel refused.

use nix::errno::Errno;

use crate::model::error::KernelError;
use crate::model::op::{Op, Tool, ToolStep};
use crate::model::sharing::Sharing;

/// What to type, or which kernel option is missing; `None` when the kernel's own words say all.
pub fn hint(op: &Op, error: &KernelError) -> Option<String> {
    if let Some((what, option, module)) = kind_of_link(op).filter(|_| unknown_kind(op, error)) {
        return Some(format!("this kernel has no {what}: it needs {option} (modprobe {module}, or a kernel built with it)"));
    }
    match error {
        KernelError::Taken(_) => return Some("give another address; --dad warn takes this one all the same".into()),
        KernelError::Unasked(_) => return Some("--dad warn goes on without an answer, --dad off without a question".into()),
        _ => {}
    }
    if let KernelError::Ovs(error) = error {
        return error.hint();
    }
    if filters_vlans(op) && error.errno() == Some(Errno::EOPNOTSUPP) {
        return Some(NO_FILTERING.to_owned());
    }
    if let (Op::Tool { step }, Some(errno)) = (op, error.errno()) {
        return tool_hint(step, errno);
    }
    match (op, error.errno()?) {
        (_, Errno::EPERM) => Some("run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN in the host's user namespace".into()),
        (Op::AddVeth { bridge: Some(bridge), .. }, Errno::EXFULL) => {
            Some(format!("bridge {bridge} has 1023 ports, the most that the kernel allows: make another one"))
        }
        (Op::AddVeth { bridge: Some(bridge), .. }, Errno::EOPNOTSUPP | Errno::EINVAL) => {
            Some(format!("is {bridge} still a bridge? `ip -d link show {bridge}` says"))
        }
        (Op::AddShared { parent, sharing, .. }, Errno::EBUSY) => {
            let other = if sharing.is_ipvlan() { "macvlan or macvtap" } else { "ipvlan" };
            Some(format!(
                "{parent} belongs to a bridge or bond (attach to that instead), or carries a guest's {other}, which cannot be together with {}",
                sharing.kind()
            ))
        }
        (Op::AddShared { parent, sharing, .. }, Errno::EINVAL) if !sharing.is_ipvlan() => {
            Some(format!("a NIC carries one macvlan in passthru mode and no other: does a guest have one on {parent}?"))
        }
        (Op::AddPortVlan { .. } | Op::DelPortVlan { .. }, Errno::EOPNOTSUPP) => Some(NO_FILTERING.to_owned()),
        (Op::SetUp { .. }, Errno::EADDRINUSE) => Some("another macvlan of the same NIC has the MAC address".into()),
        (Op::AddAddr { .. }, Errno::EADDRINUSE) => Some("another ipvlan of the same NIC has the address".into()),
        (Op::AddIpoib { .. }, Errno::ENOTUNIQ) => Some("the partition key is in use on this parent already".into()),
        (Op::MoveLink { from, .. }, Errno::EINVAL) => Some(format!("the driver of {from} does not let it leave its namespace")),
        (Op::MovePhy { phy, .. }, Errno::EOPNOTSUPP) => Some(format!("the driver of {} does not let it leave its namespace", phy.name)),
        (Op::MovePhy { to, .. }, Errno::EEXIST) => {
            Some(format!("another interface of the phy, or the guest, has the name {}: choose another with -i", to.name))
        }
        (Op::SetUp { .. }, Errno::ERFKILL) => Some("the radio is switched off: rfkill list, rfkill unblock wifi".into()),
        (Op::AddAddr { .. }, Errno::EACCES) => Some("IPv6 is switched off in the guest: sysctl net.ipv6.conf.all.disable_ipv6".into()),
        (Op::AddRoute { route }, Errno::EEXIST) => Some(format!(
            "the guest has another route to {}: `ip route` inside lists it",
            route.to.map_or("everywhere".into(), |to| to.to_string())
        )),
        (Op::AddRoute { .. }, Errno::EACCES | Errno::EINVAL) => {
            Some("is IPv6 on in the guest, and the gateway on the address's subnet?".into())
        }
        (Op::EnableIpv6 { .. } | Op::AcceptRouter { .. }, Errno::ENOENT) => {
            Some("this kernel has no IPv6 (CONFIG_IPV6, or ipv6.disable=1 on its command line)".into())
        }
        (Op::AddShimRoute { .. }, Errno::EINVAL) => {
            Some("is the host's address still there? `ip addr` says; IPv6 has to be on, too: sysctl net.ipv6.conf.all.disable_ipv6".into())
        }
        (Op::AddShim { .. }, Errno::EROFS | Errno::EACCES) => {
            Some("/proc/sys is read-only here: run on the host, or with --privileged".into())
        }
        (Op::AddShim { shim }, Errno::EBUSY) => Some(format!("{} belongs to a bridge or bond, or to one guest alone", shim.parent)),
        (Op::SetSysctl { sysctl, .. }, Errno::ENOENT) => Some(format!("this kernel has no setting {} there", sysctl.name)),
        (Op::SetSysctl { .. }, Errno::EINVAL) => Some("the kernel does not take that value".into()),
        (Op::SetMtu { .. }, Errno::EINVAL) => {
            Some("the driver does not take that MTU: `ip -d link show` tells the largest (maxmtu)".into())
        }
        (Op::EnableIpv6 { .. } | Op::AcceptRouter { .. } | Op::SetSysctl { .. }, Errno::EROFS | Errno::EACCES) => {
            Some("/proc/sys is read-only here: run on the host, or with --privileged".into())
        }
        _ => None,
    }
}

/// What a kernel lacks, or why it does not take a route or a rule.
fn tool_hint(step: &ToolStep, errno: Errno) -> Option<String> {
    let has = |word: &&(&str, &str, &str)| step.words.iter().any(|other| other == word.0);
    let parts = [
        ("mirred", "CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED", "act_mirred"),
        ("netem", "CONFIG_NET_SCH_NETEM", "sch_netem"),
        ("tbf", "CONFIG_NET_SCH_TBF", "sch_tbf"),
        ("ingress", "CONFIG_NET_SCH_INGRESS", "sch_ingress"),
    ];
    match (step.tool, errno) {
        (_, Errno::EPERM) => Some("run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN in the host's user namespace".into()),
        (Tool::Tc, Errno::ENOENT | Errno::EOPNOTSUPP) => {
            let (word, option, module) = parts.iter().find(has)?;
            Some(format!("this kernel has no {word}: it needs {option} (modprobe {module}, or a kernel built with it)"))
        }
        (Tool::Route, Errno::EEXIST) => Some("the guest has such a route: `ip route show table all` inside lists it".into()),
        (Tool::Rule, Errno::EEXIST) => Some("the guest has such a rule: `ip rule` inside lists it".into()),
        (Tool::Route, Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL) => {
            Some("is the gateway on a subnet of the interface? `onlink` behind it says that it is on the link all the same".into())
        }
        (Tool::Rule, Errno::EAFNOSUPPORT) => Some("this kernel has no policy routing: it needs CONFIG_IP_MULTIPLE_TABLES".into()),
        _ => None,
    }
}

/// The option without which a bridge knows no VLANs.
pub(super) const NO_FILTERING: &str = "this kernel's bridges cannot filter VLANs: it needs CONFIG_BRIDGE_VLAN_FILTERING (a kernel built with it); leave the VLAN out, or give it to a NIC";

fn filters_vlans(op: &Op) -> bool {
    matches!(op, Op::AddBridge { vlan_filtering: true, .. } | Op::SetVlanFiltering { on: true, .. })
}

/// The kernel does not know the kind of link (net/core/rtnetlink.c, rtnl_newlink: "Unknown device type").
fn unknown_kind(op: &Op, error: &KernelError) -> bool {
    let KernelError::Refused { errno: Errno::EOPNOTSUPP, text } = error else { return false };
    // A bridge that cannot filter is refused without a word.
    text.as_deref().map_or(!filters_vlans(op), |text| text.contains("Unknown device type"))
}

/// What a step makes, its kernel option and its module.
fn kind_of_link(op: &Op) -> Option<(&'static str, &'static str, &'static str)> {
    match op {
        Op::AddBridge { .. } => Some(("bridges", "CONFIG_BRIDGE", "bridge")),
        Op::AddVeth { .. } => Some(("veth pairs", "CONFIG_VETH", "veth")),
        Op::AddVlan { .. } => Some(("802.1Q VLANs", "CONFIG_VLAN_8021Q", "8021q")),
        Op::AddShim { .. } | Op::AddShared { sharing: Sharing::Macvlan(_), .. } => Some(("macvlan", "CONFIG_MACVLAN", "macvlan")),
        Op::AddShared { sharing: Sharing::Macvtap(_), .. } => Some(("macvtap", "CONFIG_MACVTAP", "macvtap")),
        Op::AddShared { sharing: Sharing::Ipvlan(_), .. } => Some(("ipvlan", "CONFIG_IPVLAN", "ipvlan")),
        Op::AddIpoib { .. } => Some(("IP over InfiniBand", "CONFIG_INFINIBAND_IPOIB", "ib_ipoib")),
        Op::AddIfb { .. } => Some(("ifb interfaces", "CONFIG_IFB", "ifb")),
        Op::AddDummy { .. } => Some(("dummy interfaces", "CONFIG_DUMMY", "dummy")),
        _ => None,
    }
}
