//! What an interface is given beyond its addresses: MTU, sysctls, offloads, shaping, routes, rules, a table of its own.

use std::num::NonZeroU16;

use thiserror::Error;

use super::{Job, Kind};
use crate::model::facts;
use crate::model::op::{Op, Tool, ToolStep};
use crate::model::settings::{Bandwidth, Bytes, Mtu, Rate, Sysctl, TableChoice, ToolWords, Tree};
use crate::model::types::{Family, IfAddr, IfName, LinkRef, Side};

/// Why a setting cannot be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SettingError {
    /// More than the link below passes.
    #[error("--mtu {mtu} is more than {parent} passes, whose own is {most}")]
    MtuTooLarge {
        /// What was asked.
        mtu: u32,
        /// The NIC or VLAN child below.
        parent: String,
        /// Its MTU.
        most: u32,
    },
    /// Less than IPv6 needs.
    #[error("--mtu {mtu}: IPv6 needs {} at least (RFC 8200, section 5)", Mtu::LEAST_IPV6)]
    MtuForIpv6 {
        /// What was asked.
        mtu: u32,
    },
    /// It is about an address that is not known yet.
    #[error("{option} needs the address beforehand, and {word} tells none")]
    NeedsAddress {
        /// The option.
        option: &'static str,
        /// The third word.
        word: String,
    },
    /// A setting of another interface.
    #[error("--sysctl {sysctl}: {interface} is not the guest's interface {guest_if}, and only that is set")]
    ForeignSysctl {
        /// As typed.
        sysctl: String,
        /// The interface in it.
        interface: IfName,
        /// The guest's interface.
        guest_if: IfName,
    },
    /// The word for the interface's own table, which it has not.
    #[error("{words:?}: the interface has no table of its own that `auto` could be")]
    NoOwnTable {
        /// The route or rule.
        words: String,
    },
}

impl SettingError {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::MtuTooLarge { mtu, parent, .. } => format!("give less, or raise it there: ip link set dev {parent} mtu {mtu}"),
            Self::MtuForIpv6 { .. } => "give more, or leave the IPv6 address out".into(),
            Self::NeedsAddress { option, .. } => format!("give the address, like 192.168.1.10/24, or leave {option} out"),
            Self::ForeignSysctl { .. } => "write IF for the interface: net.ipv4.conf.IF.arp_ignore=1".into(),
            Self::NoOwnTable { .. } => "add --table auto, or give the table's number".into(),
        })
    }
}

/// Refuses what can never work, before anything else is planned.
pub(super) fn check(job: &Job<'_>) -> Result<(), SettingError> {
    let (request, settings) = (job.request, &job.request.settings);
    if let Some(mtu) = settings.mtu.map(Mtu::get).filter(|mtu| *mtu < Mtu::LEAST_IPV6 && request.has_family(Family::Inet6)) {
        return Err(SettingError::MtuForIpv6 { mtu });
    }
    let word = || request.dynamic.as_ref().map_or_else(|| request.addr.to_string(), ToString::to_string);
    if settings.table.is_some() && request.addr.addrs.is_empty() {
        return Err(SettingError::NeedsAddress { option: "--table", word: word() });
    }
    if !settings.routes.is_empty() && request.dynamic.is_some() {
        return Err(SettingError::NeedsAddress { option: "--route", word: word() });
    }
    let foreign = |sysctl: &&Sysctl| sysctl.interface.as_ref().is_some_and(|name| *name != job.guest_if);
    if let Some(sysctl) = settings.sysctls.iter().find(foreign) {
        let interface = sysctl.interface.clone().unwrap_or_else(|| job.guest_if.clone());
        return Err(SettingError::ForeignSysctl { sysctl: sysctl.to_string(), interface, guest_if: job.guest_if.clone() });
    }
    let mut all = settings.routes.iter().chain(&settings.rules);
    match all.find(|words| settings.table.is_none() && own_table_at(words.words()).is_some()) {
        Some(words) => Err(SettingError::NoOwnTable { words: words.to_string() }),
        None => Ok(()),
    }
}

/// What has no effect on this kind of link.
pub(super) fn warnings(job: &Job<'_>, kind: Kind) -> Vec<String> {
    let settings = &job.request.settings;
    let mut warnings = Vec::new();
    if settings.link_mac.is_some() && !has_host_end(kind) {
        warnings.push(format!("--link-mac has no effect: {} is no bridge, so there is no host end", job.host_name()));
    }
    if settings.queues.is_some() && !has_host_end(kind) {
        warnings.push(format!("--queues has no effect: {} is no bridge, so there is no veth", job.host_name()));
    }
    if settings.metric.is_some() && job.request.addr.gateways.is_empty() && job.request.dynamic.is_none() {
        warnings.push("--metric has no effect: no gateway is given".into());
    }
    let bridge = job.facts.host.link.as_ref().filter(|_| has_host_end(kind));
    if let (Some(mtu), Some(bridge)) = (settings.mtu, bridge.filter(|bridge| settings.mtu.is_some_and(|mtu| mtu.get() > bridge.mtu))) {
        let (name, most) = (&bridge.name, bridge.mtu);
        warnings.push(format!("--mtu {mtu} is more than {name} has, {most}: larger packets pass only to ports that take them"));
    }
    warnings
}

fn has_host_end(kind: Kind) -> bool {
    matches!(kind, Kind::Bridge | Kind::Ovs)
}

/// The MTU of a veth's host end, when it is to be another than the guest's end's: a bridge that is there would take the
/// smallest of its ports' for itself (net/bridge/br_if.c, br_mtu_auto_adjust), and all its other guests would notice.
pub(super) fn host_mtu(job: &Job<'_>) -> Option<u32> {
    let bridge = job.facts.host.link.as_ref()?.mtu;
    job.request.settings.mtu.filter(|mtu| mtu.get() < bridge).map(|_| bridge)
}

/// How many queues a veth's ends get. Those that nobody asks for cost: the kernel makes one for each possible processor and
/// then uses one of them, for which it waits, for each end, until no processor looks at the others any more (veth_init_queues,
/// drivers/net/veth.c; synchronize_net).
pub(super) fn queues(job: &Job<'_>) -> NonZeroU16 {
    job.request.settings.queues.unwrap_or(NonZeroU16::MIN)
}

/// The MTU of a new link: what was asked, else what its kind has.
pub(super) fn mtu(job: &Job<'_>, usual: u32) -> u32 {
    job.request.settings.mtu.map_or(usual, Mtu::get)
}

/// The MTU of a link on a NIC, which passes no more than the NIC does.
pub(super) fn mtu_on(job: &Job<'_>, parent: &IfName, most: u32) -> Result<u32, SettingError> {
    match mtu(job, most) {
        mtu if mtu > most => Err(SettingError::MtuTooLarge { mtu, parent: parent.to_string(), most }),
        mtu => Ok(mtu),
    }
}

/// The steps of which no field of a link tells whether they were taken: features, sysctls, and the words of `tc`, `ip route` and
/// `ip rule`.
pub(super) fn steps(job: &Job<'_>, kind: Kind) -> Vec<Op> {
    let before = before_up(job, kind).into_iter().filter(|op| !matches!(op, Op::SetMtu { .. } | Op::SetQueueLen { .. }));
    before.chain(after_up(job)).collect()
}

/// The steps between the link's coming to be and its coming up.
pub(super) fn before_up(job: &Job<'_>, kind: Kind) -> Vec<Op> {
    let settings = &job.request.settings;
    let link = LinkRef::guest(&job.guest_if);
    // What a NIC that is moved away takes along.
    let moved = (kind == Kind::Nic && job.request.direct_phys).then(|| job.base()).flatten();
    let mut ops = Vec::new();
    if let Some(mtu) = settings.mtu.map(Mtu::get).filter(|_| moved.is_some() || kind == Kind::Ipoib) {
        ops.push(Op::SetMtu { link: link.clone(), mtu, before: moved.map(|nic| nic.mtu) });
    }
    if let Some(packets) = settings.txqueuelen {
        ops.push(Op::SetQueueLen { link: link.clone(), packets, before: moved.map(|nic| nic.queue_len) });
    }
    for offload in settings.offloads.iter() {
        let before = moved.and(job.facts.host.features.as_ref()).map(|features| features.before(offload)).unwrap_or_default();
        ops.push(Op::SetOffload { link: link.clone(), offload: offload.clone(), before });
    }
    let own = settings.table.is_some() && job.request.has_family(Family::Inet);
    let sysctls = settings.sysctls.iter().cloned().map(|sysctl| Sysctl { interface: None, ..sysctl });
    let arp = ARP.iter().filter(|_| own).map(|(name, value)| Sysctl {
        tree: Tree::Ipv4Conf,
        interface: None,
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    });
    // What the user says of the same setting comes last, and counts.
    ops.extend(arp.chain(sysctls).map(|sysctl| Op::SetSysctl { name: job.guest_if.clone(), sysctl, before: None }));
    ops.extend(shaping(job, kind));
    ops
}

/// Several interfaces in one subnet: each answers for its own addresses only, asks from them only, and takes what comes by
/// another way than it would go (Documentation/networking/ip-sysctl.rst).
const ARP: [(&str, &str); 3] = [("arp_ignore", "1"), ("arp_announce", "2"), ("rp_filter", "2")];

/// `--rate` and `--netem`.
fn shaping(job: &Job<'_>, kind: Kind) -> Vec<Op> {
    let (rate, netem) = (job.request.settings.rate, &job.request.settings.netem);
    let dev = &job.guest_if;
    let mut ops = Vec::new();
    if let Some((rate, into)) = rate.and_then(|rate| Some((rate, rate.into?))) {
        if has_host_end(kind) {
            let host = job.names.host_end(job.request);
            let step = ToolStep { side: Side::Host, ..bucket(&host, into, &rate) };
            ops.push(Op::Tool { step });
        } else {
            ops.extend(led_through(job, into, &rate));
        }
    }
    let out = rate.and_then(|rate| Some((rate, rate.out?)));
    ops.extend(out.iter().map(|(rate, out)| Op::Tool { step: bucket(dev, *out, rate) }));
    if let Some(netem) = netem {
        let place = if out.is_some() { "parent 1:1" } else { "root" };
        let words = format!("qdisc add dev {dev} {place} handle 10: netem {}", netem.words().join(" "));
        ops.push(Op::Tool { step: tc(&words, &format!("qdisc del dev {dev} {place} handle 10:")) });
    }
    ops
}

fn tc(words: &str, back: &str) -> ToolStep {
    ToolStep::guest(Tool::Tc, words, back)
}

/// What leaves a link waits in a bucket. It holds what comes in a hundredth of a second, and 32 kb at least, so that no timer is
/// too slow for it.
fn bucket(dev: &IfName, rate: Bandwidth, asked: &Rate) -> ToolStep {
    let burst = asked.burst.unwrap_or_else(|| burst(rate, 100, 32));
    let words = format!("qdisc add dev {dev} root handle 1: tbf rate {rate} burst {burst} latency 50ms");
    tc(&words, &format!("qdisc del dev {dev} root"))
}

/// Where there is no host end to wait at, what comes in is led through an ifb. Dropping what is too fast (police) would be less to
/// set up, and leaves TCP half of the rate.
fn led_through(job: &Job<'_>, rate: Bandwidth, asked: &Rate) -> Vec<Op> {
    let (dev, ifb) = (&job.guest_if, facts::short_name(&format!("pwi-{}", job.guest_if)));
    // u32, as every kernel that can classify has it.
    let filter = format!("{dev} parent ffff: protocol all prio 1");
    let steps = [
        bucket(&ifb, rate, asked),
        tc(&format!("qdisc add dev {dev} ingress"), &format!("qdisc del dev {dev} ingress")),
        tc(
            &format!("filter add dev {filter} u32 match u32 0 0 action mirred egress redirect dev {ifb}"),
            &format!("filter del dev {filter}"),
        ),
    ];
    let mut ops = vec![Op::AddIfb { name: ifb.clone() }, Op::SetUp { link: LinkRef::guest(&ifb) }];
    ops.extend(steps.into_iter().map(|step| Op::Tool { step }));
    ops
}

/// What comes in a part of a second, in whole kilobytes, and so many of them at least.
fn burst(rate: Bandwidth, part: u64, least: u64) -> Bytes {
    let kilobytes = (rate.bytes_per_second() / part / 1024).clamp(least, 1 << 20);
    Bytes::new(u32::try_from(kilobytes * 1024).unwrap_or(u32::MAX))
}

/// The steps behind the gateways' routes.
pub(super) fn after_up(job: &Job<'_>) -> Vec<Op> {
    let settings = &job.request.settings;
    let own = own_table(job);
    let mut steps: Vec<ToolStep> = settings.routes.iter().map(|words| given(job, Tool::Route, words, own)).collect();
    steps.extend(own.into_iter().flat_map(|table| table_steps(job, table)));
    steps.extend(settings.rules.iter().map(|words| given(job, Tool::Rule, words, own)));
    steps.into_iter().map(|step| Op::Tool { step }).collect()
}

/// The number of the interface's own table, if it is to have one: the one that its first address has by a rule already, else
/// the first that nobody uses.
pub(super) fn own_table(job: &Job<'_>) -> Option<u32> {
    let tables = &job.facts.guest.tables;
    match job.request.settings.table? {
        TableChoice::Number(number) => Some(number),
        TableChoice::Auto => {
            let had = job.request.addr.addrs.iter().find_map(|addr| tables.of(addr.ip()));
            had.or_else(|| (FIRST_TABLE..=u32::MAX).find(|table| !tables.used.contains(table)))
        }
    }
}

/// Tables up to 255 fit into the old byte and are people's; a few more are left to them.
const FIRST_TABLE: u32 = 1001;

/// The subnets and the default route in a table of their own, and rules by which what comes from the addresses goes there.
fn table_steps(job: &Job<'_>, table: u32) -> Vec<ToolStep> {
    let (spec, dev) = (&job.request.addr, &job.guest_if);
    let mut routes: Vec<(Family, String)> = Vec::new();
    for addr in &spec.addrs {
        let route = (addr.family(), format!("{} dev {dev} table {table}", subnet(addr)));
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    for gateway in &spec.gateways {
        let family = Family::of(*gateway);
        let link_local = matches!(gateway, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !link_local && !spec.contains(*gateway) {
            routes.push((family, format!("{gateway} dev {dev} table {table}")));
        }
        routes.push((family, format!("default via {gateway} dev {dev} table {table}")));
    }
    let route = |(family, words): (Family, String)| {
        let option = option(family);
        ToolStep::guest(Tool::Route, &format!("{option}add {words}"), &format!("{option}del {words}"))
    };
    let rule = |addr: &IfAddr| {
        let (option, words) = (option(addr.family()), format!("from {} lookup {table}", addr.ip()));
        ToolStep::guest(Tool::Rule, &format!("{option}add {words}"), &format!("{option}del {words}"))
    };
    routes.into_iter().map(route).chain(spec.addrs.iter().map(rule)).collect()
}

/// The option of `ip` for a family.
fn option(family: Family) -> &'static str {
    match family {
        Family::Inet => "",
        Family::Inet6 => "-6 ",
    }
}

/// The subnet as a destination.
fn subnet(addr: &IfAddr) -> String {
    let net = addr.network();
    if net.prefix() == addr.family().host_prefix() { net.ip().to_string() } else { net.to_string() }
}

/// The words of a route or rule that was given, with what was not known when it was typed.
fn given(job: &Job<'_>, tool: Tool, typed: &ToolWords, own: Option<u32>) -> ToolStep {
    let mut words = typed.words().to_vec();
    if let (Some(at), Some(table)) = (own_table_at(&words), own) {
        words[at] = table.to_string();
    }
    for at in 1..words.len() {
        if words[at] == "IF" && matches!(words[at - 1].as_str(), "dev" | "oif" | "iif") {
            words[at] = job.guest_if.to_string();
        }
    }
    let options = words.iter().take_while(|word| word.starts_with('-')).count();
    let with = |verb: &str| [&words[..options], &[verb.to_owned()], &words[options..]].concat();
    ToolStep { side: Side::Guest, tool, words: with("add"), back: with("del") }
}

/// Where the word stands that means the interface's own table.
fn own_table_at(words: &[String]) -> Option<usize> {
    let is_table = |word: &str| word == "lookup" || (word.len() > 1 && "table".starts_with(word));
    (1..words.len()).find(|at| words[*at] == "auto" && is_table(&words[*at - 1]))
}
