//! A request as a policy sees it. Every field has its place here, so that a new one is not forgotten.

use std::fmt;

use crate::model::conflict::DadMode;
use crate::model::dynamic::Dynamic;
use crate::model::request::{AttachRequest, HostIf};
use crate::model::settings::Settings;
use crate::model::sharing::Sharing;
use crate::model::topology::How;
use crate::model::types::{IfAddr, IfName, Tag};
use crate::model::vlan::VlanRange;

/// What is asked for, by what a policy can speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// As it is written: a name, or `mac:` and an address.
    pub(super) parent: String,
    /// Whether the parent is told by its MAC address, so that its name is not known.
    pub(super) is_nameless: bool,
    /// A name that other programs of the host's, which hear of its interfaces, may not be ready for.
    pub(super) strange_name: Option<String>,
    pub(super) kinds: Vec<Kind>,
    pub(super) vlans: Vlans,
    pub(super) addresses: Vec<IfAddr>,
    /// Who gives the address.
    pub(super) giver: Option<Giver>,
    pub(super) options: Vec<Opt>,
}

/// The VLANs of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vlans {
    /// No tag.
    None,
    /// These.
    Some(Vec<VlanRange>),
    /// A partition key of InfiniBand's.
    Pkey(String),
}

/// Names as they stand in the file, and what there is.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum $name { $($(#[$each])* $variant),* }

        impl $name {
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

words! {
    /// How the interface is made.
    Kind {
        /// As the parent is: a veth on a bridge, a macvlan on a NIC.
        Default = "default",
        /// `--macvlan`, in a mode that leaves the NIC to others, too.
        Macvlan = "macvlan",
        /// `--macvlan passthru`, `--macvtap=passthru`: the whole NIC.
        Passthru = "passthru",
        /// `--macvtap`: a device of the host's comes with it.
        Macvtap = "macvtap",
        /// `--ipvlan`: it can take the host's own addresses from it.
        Ipvlan = "ipvlan",
        /// `--direct-phys`: the NIC itself.
        DirectPhys = "direct-phys",
        /// A dummy.
        Dummy = "dummy",
        /// A link to another guest.
        Link = "link",
    }
}

words! {
    /// Who gives an address that is not told.
    Giver {
        /// `dhcp`, built in.
        Dhcp = "dhcp",
        /// `dhcp6`, built in.
        Dhcp6 = "dhcp6",
        /// `slaac`.
        Slaac = "slaac",
        /// `udhcpc`, a program of the host's.
        Udhcpc = "udhcpc",
        /// `dhclient`, a program of the host's.
        Dhclient = "dhclient",
        /// `dhcpcd`, a program of the host's.
        Dhcpcd = "dhcpcd",
        /// `dhcp-container`: another container.
        Container = "dhcp-container",
        /// `pool:NAME`: a pool of the administrator's.
        Pool = "pool",
    }
}

words! {
    /// The options, called as on the command line.
    Opt {
        /// `-l`: a name on the host.
        LocalIf = "l",
        /// `--vlan-filtering`: a bridge that was there before is changed.
        VlanFiltering = "vlan-filtering",
        /// `--force`.
        Force = "force",
        /// `--dad`.
        Dad = "dad",
        /// `--dad-wait`.
        DadWait = "dad-wait",
        /// `--host-access` for addresses of private networks.
        HostAccess = "host-access",
        /// `--host-access` for any address: this host sends there what it has for it.
        HostAccessPublic = "host-access-public",
        /// `--mtu`.
        Mtu = "mtu",
        /// `--metric`.
        Metric = "metric",
        /// `--route`.
        Route = "route",
        /// `--rule`.
        Rule = "rule",
        /// `--table`.
        Table = "table",
        /// `--rate`.
        Rate = "rate",
        /// `--rate` with a large burst: as many bytes wait in this host's memory.
        RateBurst = "rate-burst",
        /// `--netem`: packets wait in this host's memory.
        Netem = "netem",
        /// `--offload`.
        Offload = "offload",
        /// `--txqueuelen`: packets wait in this host's memory.
        Txqueuelen = "txqueuelen",
        /// `--queues`: each takes of this host's memory.
        Queues = "queues",
        /// `--sysctl`.
        Sysctl = "sysctl",
        /// `--link-mac`: a bridge takes the address for its own.
        LinkMac = "link-mac",
        /// `-i auto`.
        AutoName = "i-auto",
        /// `--persist`.
        Persist = "persist",
        /// `--dhcp-dns`: a file is written.
        DhcpDns = "dhcp-dns",
        /// `--dhcp-image`.
        DhcpImage = "dhcp-image",
        /// `--ovsdb`.
        Ovsdb = "ovsdb",
        /// `--keep-netns`.
        KeepNetns = "keep-netns",
    }
}

impl Asked {
    pub(super) fn of(request: &AttachRequest, how: &How) -> Self {
        let AttachRequest {
            host_if,
            guest: _,
            guest_if,
            local_if,
            addr,
            dynamic,
            pool,
            mac: _,
            tag,
            direct_phys,
            sharing,
            vlan_filtering,
            force,
            dad,
            host_access,
            settings,
        } = request;
        let given = [
            (local_if.is_some(), Opt::LocalIf),
            (*vlan_filtering, Opt::VlanFiltering),
            (*force, Opt::Force),
            // Of an address of a pool it goes without saying.
            (dad.asks() && (pool.is_none() || dad.mode != DadMode::Fail), Opt::Dad),
            (dad.patient, Opt::DadWait),
            (*host_access, Opt::HostAccess),
            (*host_access && !addr.addrs.iter().all(is_private), Opt::HostAccessPublic),
        ];
        let mut options: Vec<Opt> = given.into_iter().filter_map(|(given, option)| given.then_some(option)).collect();
        options.extend(settings_of(settings));
        options.extend(how_of(how));
        Self {
            parent: host_if.to_string(),
            strange_name: strange_name(host_if, [guest_if.as_ref(), local_if.as_ref()]),
            is_nameless: matches!(host_if, HostIf::Mac(_)),
            kinds: kinds(host_if, *direct_phys, sharing.as_ref()),
            vlans: tag.as_ref().map_or(Vlans::None, vlans),
            addresses: addr.addrs.clone(),
            giver: dynamic.as_ref().map(giver).or(pool.as_ref().map(|_| Giver::Pool)),
            options,
        }
    }
}

/// A veth's host end is called after the guest's, and a bridge is made when it is not there: so names of the container's reach the
/// host, and whatever script listens there for new interfaces.
fn strange_name(host_if: &HostIf, others: [Option<&IfName>; 2]) -> Option<String> {
    let host_if = if let HostIf::Name(name) = host_if { Some(name) } else { None };
    let is_plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let mut names = host_if.into_iter().chain(others.into_iter().flatten()).map(IfName::as_str);
    names.find(|name| !is_plain(name)).map(str::to_owned)
}

/// The largest burst that a queue for packets into the guest is worth.
const LARGEST_BURST: u32 = 1 << 20;

fn settings_of(settings: &Settings) -> impl Iterator<Item = Opt> {
    let Settings { mtu, metric, routes, rules, table, rate, netem, offloads, txqueuelen, queues, sysctls, link_mac, auto_name } = settings;
    [
        (mtu.is_some(), Opt::Mtu),
        (metric.is_some(), Opt::Metric),
        (!routes.is_empty(), Opt::Route),
        (!rules.is_empty(), Opt::Rule),
        (table.is_some(), Opt::Table),
        (rate.is_some(), Opt::Rate),
        (rate.and_then(|rate| rate.burst).is_some_and(|burst| burst.get() > LARGEST_BURST), Opt::RateBurst),
        (netem.is_some(), Opt::Netem),
        (!offloads.is_empty(), Opt::Offload),
        (txqueuelen.is_some(), Opt::Txqueuelen),
        (queues.is_some(), Opt::Queues),
        (!sysctls.is_empty(), Opt::Sysctl),
        (link_mac.is_some(), Opt::LinkMac),
        (*auto_name, Opt::AutoName),
    ]
    .into_iter()
    .filter_map(|(given, option)| given.then_some(option))
}

fn how_of(how: &How) -> impl Iterator<Item = Opt> {
    // How long an address may take to come is the guest's own time.
    let How { persist, dhcp_timeout: _, dhcp_dns, dhcp_image, ovsdb, keep_netns } = how;
    [
        (*persist, Opt::Persist),
        (*dhcp_dns, Opt::DhcpDns),
        (dhcp_image.is_some(), Opt::DhcpImage),
        (ovsdb.is_some(), Opt::Ovsdb),
        (*keep_netns, Opt::KeepNetns),
    ]
    .into_iter()
    .filter_map(|(given, option)| given.then_some(option))
}

fn kinds(host_if: &HostIf, direct_phys: bool, sharing: Option<&Sharing>) -> Vec<Kind> {
    let mut kinds = Vec::new();
    match host_if {
        HostIf::Guest(_) => kinds.push(Kind::Link),
        HostIf::Name(name) if name.as_str() == "dummy" => kinds.push(Kind::Dummy),
        HostIf::Name(_) | HostIf::Mac(_) => {}
    }
    if direct_phys {
        kinds.push(Kind::DirectPhys);
    }
    match sharing {
        Some(sharing @ (Sharing::Macvlan(_) | Sharing::Macvtap(_))) => {
            if matches!(sharing, Sharing::Macvtap(_)) {
                kinds.push(Kind::Macvtap);
            }
            kinds.push(if sharing.is_passthru() { Kind::Passthru } else { Kind::Macvlan });
        }
        Some(Sharing::Ipvlan(_)) => kinds.push(Kind::Ipvlan),
        None => {}
    }
    if kinds.is_empty() {
        kinds.push(Kind::Default);
    }
    kinds
}

/// A tag's VLANs; what can be both a VLAN and a partition key counts as the VLAN.
fn vlans(tag: &Tag) -> Vlans {
    if let Ok(port) = tag.port() {
        let untagged = port.untagged.map(|id| VlanRange { first: id, last: id });
        return Vlans::Some(untagged.into_iter().chain(port.tagged).collect());
    }
    match tag.service_vlan() {
        Some(Ok(id)) => Vlans::Some(vec![VlanRange { first: id, last: id }]),
        _ => Vlans::Pkey(tag.to_string()),
    }
}

fn giver(dynamic: &Dynamic) -> Giver {
    use crate::model::dynamic::ClientProgram;
    match dynamic {
        Dynamic::Dhcp { .. } => Giver::Dhcp,
        Dynamic::Dhcp6 => Giver::Dhcp6,
        Dynamic::Slaac => Giver::Slaac,
        Dynamic::Container { .. } => Giver::Container,
        Dynamic::Client { program: ClientProgram::Udhcpc, .. } => Giver::Udhcpc,
        Dynamic::Client { program: ClientProgram::Dhclient, .. } => Giver::Dhclient,
        Dynamic::Client { program: ClientProgram::Dhcpcd, .. } => Giver::Dhcpcd,
    }
}

/// RFC 1918, and RFC 4193 for IPv6: what is on no other network that this host may want to reach.
fn is_private(addr: &IfAddr) -> bool {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => ip.is_private(),
        std::net::IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

impl fmt::Display for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalIf => f.write_str("-l"),
            Self::AutoName => f.write_str("-i auto"),
            Self::RateBurst => f.write_str("--rate with a burst of more than 1 MB"),
            Self::HostAccessPublic => f.write_str("--host-access for an address of no private network"),
            option => write!(f, "--{}", option.name()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "a veth or macvlan",
            Self::Macvlan => "--macvlan",
            Self::Passthru => "passthru",
            Self::Macvtap => "--macvtap",
            Self::Ipvlan => "--ipvlan",
            Self::DirectPhys => "--direct-phys",
            Self::Dummy => "a dummy",
            Self::Link => "a link to another guest",
        })
    }
}
