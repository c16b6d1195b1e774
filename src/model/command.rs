//! Steps as the `ip` commands that do the same: what `--dry-run` prints. They can be pasted into a root shell.

use super::access::{Neigh, NewShim, ShimRoute};
use super::conflict::{Dad, DadMode};
use super::dynamic::Dynamic;
use super::facts::{GuestId, RouteFacts};
use super::lease::FOREVER;
use super::op::{NewLink, NewPair, NewRoute, Op, Tool, ToolStep, destination};
use super::ovs::{BRIDGE_MARK, NewOvsPort, OvsVlans};
use super::pair::End;
use super::report::Step;
use super::sharing::{MacvlanMode, Sharing};
use super::types::{Family, IfAddr, IfName, LinkRef, Side};
use super::vlan::{NicVlan, PortVlan, VlanProtocol};

/// Prints steps for one guest.
pub struct Commands<'a> {
    guest: &'a GuestId,
    /// The other one, where two are linked.
    other: Option<&'a GuestId>,
    /// Where ovs-vsctl finds the database, when it is not where it looks by itself.
    ovsdb: Option<String>,
}

impl<'a> Commands<'a> {
    /// Commands for a guest.
    pub fn new(guest: &'a GuestId) -> Self {
        Self { guest, other: None, ovsdb: None }
    }

    /// Commands for two guests that are linked.
    pub fn of_pair([first, second]: [&'a GuestId; 2]) -> Self {
        Self { guest: first, other: Some(second), ovsdb: None }
    }

    /// Those for the one of two linked guests that a step is about.
    fn at(&self, end: End) -> Self {
        let guest = if end == End::Second { self.other.unwrap_or(self.guest) } else { self.guest };
        Self { guest, other: None, ovsdb: self.ovsdb.clone() }
    }

    /// Made from the first guest, so that nothing of it is ever on the host.
    fn add_pair(&self, pair: &NewPair) -> String {
        let mtu = pair.mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        let far = NewLink { at: LinkRef::guest(&pair.second.interface), mtu: pair.mtu, mac: None };
        let near = quoted(pair.first.interface.as_str());
        let (ip, group, peer) = (self.ip(Side::Guest), group(), self.at(End::Second).new_link(&far));
        let queues = " numtxqueues 1 numrxqueues 1";
        format!("{ip} link add name {near}{mtu}{group}{queues} type veth peer {peer}{queues}")
    }

    /// Commands for a database of Open vSwitch at an address of its own.
    #[must_use]
    pub fn with_ovsdb(self, address: Option<String>) -> Self {
        Self { ovsdb: address, ..self }
    }

    /// `ovs-vsctl`
    fn vsctl(&self) -> String {
        match &self.ovsdb {
            Some(address) => format!("ovs-vsctl --db={}", quoted(address)),
            None => "ovs-vsctl".to_owned(),
        }
    }

    /// `add-port BRIDGE NAME tag=10 -- set Interface NAME external-ids:...`
    fn add_ovs_port(&self, port: &NewOvsPort) -> String {
        let (bridge, name) = (quoted(port.bridge.as_str()), quoted(port.name.as_str()));
        let stale = port.replaces.as_ref().map(|_| format!(" --if-exists del-port {name} --")).unwrap_or_default();
        let mut text = format!("{}{stale} add-port {bridge} {name}", self.vsctl());
        text += &port.vlans.tag.map(|tag| format!(" tag={tag}")).unwrap_or_default();
        text += &port.vlans.mode.as_ref().map(|mode| format!(" vlan_mode={mode}")).unwrap_or_default();
        if !port.vlans.trunks.is_empty() {
            text += &format!(" trunks={}", port.vlans.trunk_text());
        }
        text += &format!(" -- set Interface {name}");
        let pair = |(key, value): (&String, &String)| format!(" {}", quoted(&format!("external-ids:{key}={}", ovs_string(value))));
        text + &port.ids.iter().map(pair).collect::<String>()
    }

    /// `set Port NAME vlan_mode=[] tag=10 trunks=[]`
    fn set_ovs_vlans(&self, port: &IfName, vlans: &OvsVlans) -> String {
        let mode = vlans.mode.as_deref().unwrap_or("[]");
        let tag = vlans.tag.map_or("[]".to_owned(), |tag| tag.to_string());
        let trunks = if vlans.trunks.is_empty() { "[]".to_owned() } else { vlans.trunk_text() };
        format!("{} set Port {} vlan_mode={mode} tag={tag} trunks={trunks}", self.vsctl(), quoted(port.as_str()))
    }

    /// What makes the guest's namespace known to `ip -n`, before the steps.
    pub fn before(&self) -> Option<String> {
        let pid = self.guest.pid?;
        Some(format!("mkdir -p /var/run/netns && ln -sfn /proc/{pid}/ns/net /var/run/netns/{pid}"))
    }

    /// What takes that back.
    pub fn after(&self) -> Option<String> {
        self.guest.pid.map(|pid| format!("rm -f /var/run/netns/{pid}"))
    }

    /// A command line of another program, run in the guest.
    pub fn inside(&self, line: &str) -> String {
        format!("nsenter --net={} {line}", quoted(&self.guest.path))
    }

    /// The namespace as an argument of `netns`.
    fn netns(&self) -> String {
        match self.guest.pid {
            Some(pid) => pid.to_string(),
            None => quoted(&self.guest.path),
        }
    }

    /// `ip route`, `ip rule` or `tc` on one side.
    fn tool(&self, step: &ToolStep) -> String {
        let (options, words) = step.parts();
        match (step.tool, step.side, self.guest.pid) {
            (Tool::Route, side, _) => format!("{}{options} route {words}", self.ip(side)),
            (Tool::Rule, side, _) => format!("{}{options} rule {words}", self.ip(side)),
            (Tool::Tc, Side::Host, _) => format!("tc {words}"),
            (Tool::Tc, Side::Guest, Some(pid)) => format!("tc -n {pid} {words}"),
            (Tool::Tc, Side::Guest, None) => self.inside(&format!("tc {words}")),
        }
    }

    /// `ip` on one side.
    fn ip(&self, side: Side) -> String {
        match (side, self.guest.pid) {
            (Side::Host, _) => "ip".to_owned(),
            (Side::Guest, Some(pid)) => format!("ip -n {pid}"),
            (Side::Guest, None) => format!("nsenter --net={} ip", quoted(&self.guest.path)),
        }
    }

    /// `name eth1 mtu 1500 address 02:... netns 4711`
    fn new_link(&self, link: &NewLink) -> String {
        let mut text = format!("name {}", name(&link.at));
        if let Some(mtu) = link.mtu {
            text += &format!(" mtu {mtu}");
        }
        if let Some(mac) = link.mac {
            text += &format!(" address {mac}");
        }
        text += &group();
        if link.at.side == Side::Guest {
            text += &format!(" netns {}", self.netns());
        }
        text
    }

    fn addr(&self, verb: &str, link: &LinkRef, addr: &IfAddr) -> String {
        let brd = addr.broadcast().filter(|_| verb != "del").map(|brd| format!(" brd {brd}")).unwrap_or_default();
        format!("{} addr {verb} {addr}{brd} dev {}", self.ip(link.side), name(link))
    }

    fn route(&self, verb: &str, route: &NewRoute) -> String {
        let family = if route.is_ipv6() { " -6" } else { "" };
        let dev = quoted(route.dev.as_str());
        let to = route.to.as_ref().map_or("default".to_owned(), destination);
        let via = route.via.map(|ip| format!(" via {ip}")).unwrap_or_default();
        let metric = route.metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
        format!("{}{family} route {verb} {to}{via} dev {dev}{metric}", self.ip(Side::Guest))
    }

    fn neigh(&self, verb: &str, neigh: &Neigh) -> String {
        format!("{} neigh {verb} {} lladdr {} dev {} nud permanent", self.ip(neigh.link.side), neigh.ip, neigh.mac, name(&neigh.link))
    }

    /// arping of iputils exits with 1 when somebody answers; ndisc6 with 0, so it stands in a comment.
    fn probe(&self, link: &LinkRef, addrs: &[IfAddr], dad: Dad) -> String {
        let dev = name(link);
        let arping = |addr: &IfAddr| match addr.family() {
            Family::Inet => {
                let found = if dad.mode == DadMode::Warn { " || true" } else { "" };
                self.inside(&format!("arping -D -c 3 -I {dev} {}{found}", addr.ip()))
            }
            Family::Inet6 => format!("# nobody may answer: {}", self.inside(&format!("ndisc6 {} {dev}", addr.ip()))),
        };
        // A comment ends with its line.
        addrs.iter().map(arping).collect::<Vec<_>>().join("\n")
    }

    /// How one would ask by hand for an address that the steps do not give: a comment, as the program to do it is not known.
    pub fn then(&self, dynamic: &Dynamic, guest_if: &IfName) -> Option<String> {
        let ns = format!("nsenter --net={}", quoted(&self.guest.path));
        let dev = quoted(guest_if.as_str());
        let text = match dynamic {
            Dynamic::Dhcp6 => format!("DHCPv6 on {guest_if}, as by: {ns} dhclient -6 {dev}"),
            Dynamic::Slaac => format!("wait for a router on {guest_if}: {ns} ip -6 addr show dev {dev} scope global -tentative"),
            Dynamic::Dhcp { options } => format!("DHCP on {guest_if}, as by: {ns} udhcpc -i {dev} -n -q {options}"),
            // Theirs is a step.
            Dynamic::Client { .. } | Dynamic::Container { .. } => return None,
        };
        // A comment ends with its line.
        Some(format!("# then: {}", text.trim_end().replace(char::is_control, " ")))
    }

    /// `iw` moves the phy, and the kernel keeps the interface's name where nobody there has it.
    fn move_phy(&self, phy: &str, from: &LinkRef, to: &LinkRef) -> String {
        let mut text = match (from.side, self.guest.pid) {
            (Side::Host, _) => String::new(),
            (Side::Guest, Some(pid)) => format!("ip netns exec {pid} "),
            (Side::Guest, None) => format!("nsenter --net={} ", quoted(&self.guest.path)),
        };
        let netns = match (to.side, self.guest.pid) {
            (Side::Host, _) => "1".to_owned(),
            (Side::Guest, Some(pid)) => pid.to_string(),
            (Side::Guest, None) => format!("name {}", quoted(&self.guest.path)),
        };
        text += &format!("iw phy {} set netns {netns}", quoted(phy));
        if from.name != to.name {
            text += &format!(" && {} link set dev {} name {}", self.ip(to.side), name(from), name(to));
        }
        text
    }

    /// One step, for a report.
    pub fn step(&self, op: &Op) -> Step {
        Step { side: op.side(), text: op.describe(), command: self.print(op) }
    }

    /// One step.
    pub fn print(&self, op: &Op) -> String {
        match op {
            Op::AddBridge { name, mac, vlan_filtering } => {
                let filtering = if *vlan_filtering { " vlan_filtering 1" } else { "" };
                format!("ip link add name {} up address {mac}{} type bridge{filtering}", quoted(name.as_str()), group())
            }
            Op::DelUnusedBridge { name } => format!("ip link del {}", quoted(name.as_str())),
            Op::AddVeth { host, host_mtu, host_mac, bridge, queues, guest } => {
                let mut mtu = host_mtu.or(guest.mtu).map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
                mtu += &host_mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
                let master = bridge.as_ref().map(|bridge| format!(" master {}", quoted(bridge.as_str()))).unwrap_or_default();
                let queues = queues.map(|n| format!(" numtxqueues {n} numrxqueues {n}")).unwrap_or_default();
                let (host, group, peer) = (quoted(host.as_str()), group(), self.new_link(guest));
                format!("ip link add name {host}{mtu}{master} up{group}{queues} type veth peer {peer}{queues}")
            }
            Op::AddOvsBridge { name } => {
                let name = quoted(name.as_str());
                format!("{} add-br {name} -- br-set-external-id {name} {BRIDGE_MARK} {name}", self.vsctl())
            }
            Op::DelUnusedOvsBridge { name } => format!("{} --if-exists del-br {}", self.vsctl(), quoted(name.as_str())),
            Op::AddOvsPort { port } => self.add_ovs_port(port),
            Op::DelOvsPort { port } => {
                format!("{} --if-exists del-port {} {}", self.vsctl(), quoted(port.bridge.as_str()), quoted(port.name.as_str()))
            }
            Op::SetVlanFiltering { bridge, on, .. } => {
                format!("ip link set dev {} type bridge vlan_filtering {}", quoted(bridge.as_str()), u8::from(*on))
            }
            Op::AddPortVlan { port, vlan } => port_vlan("add", port, vlan),
            Op::DelPortVlan { port, vlan } => port_vlan("del", port, &PortVlan { pvid: false, untagged: false, ..*vlan }),
            Op::AddVlan { name, parent, vlan: NicVlan { protocol, id }, mtu } => {
                let protocol = if *protocol == VlanProtocol::Dot1ad { "protocol 802.1ad " } else { "" };
                let (parent, name) = (quoted(parent.as_str()), quoted(name.as_str()));
                format!("ip link add link {parent} name {name} mtu {mtu}{} type vlan {protocol}id {id}", group())
            }
            Op::AddShared { parent, sharing, link } => {
                format!("ip link add link {} {} type {}", quoted(parent.as_str()), self.new_link(link), shared(sharing))
            }
            Op::AddIpoib { parent, pkey, link } => {
                let pkey = pkey.map(|key| format!(" pkey 0x{key}")).unwrap_or_default();
                format!("ip link add link {} {} type ipoib{pkey}", quoted(parent.as_str()), self.new_link(link))
            }
            Op::AddIfb { name } => format!("{} link add name {}{} type ifb", self.ip(Side::Guest), quoted(name.as_str()), group()),
            Op::AddPair { pair } => self.add_pair(pair),
            Op::At { end, step, .. } => self.at(*end).print(step),
            Op::AddDummy { link } => format!("ip link add {} type dummy", self.new_link(link)),
            Op::DelOwnLink { link } | Op::DelLink { link } => format!("{} link del {}", self.ip(link.side), name(link)),
            Op::MoveLink { from, to, .. } => {
                let netns = match to.side {
                    Side::Guest => self.netns(),
                    Side::Host => "1".to_owned(),
                };
                let new = if from.name == to.name { String::new() } else { format!(" name {}", name(to)) };
                format!("{} link set dev {}{new} netns {netns}", self.ip(from.side), name(from))
            }
            Op::MovePhy { phy, from, to, .. } => self.move_phy(&phy.name, from, to),
            Op::RenameLink { link, name: new } => {
                format!("{} link set dev {} name {}", self.ip(link.side), name(link), quoted(new.as_str()))
            }
            Op::AddAltName { link, name: alt } => {
                format!("{} link property add dev {} altname {}", self.ip(link.side), name(link), quoted(alt))
            }
            Op::DelAltName { link, name: alt } => {
                format!("{} link property del dev {} altname {}", self.ip(link.side), name(link), quoted(alt))
            }
            Op::SetMac { link, mac, .. } => format!("{} link set dev {} address {mac}", self.ip(link.side), name(link)),
            Op::SetMtu { link, mtu, .. } => format!("{} link set dev {} mtu {mtu}", self.ip(link.side), name(link)),
            Op::SetQueueLen { link, packets, .. } => format!("{} link set dev {} txqueuelen {packets}", self.ip(link.side), name(link)),
            Op::SetOffload { link, offload, .. } => {
                let line = format!("ethtool -K {} {} {}", name(link), offload.feature, if offload.on { "on" } else { "off" });
                if link.side == Side::Guest { self.inside(&line) } else { line }
            }
            Op::SetSysctl { name, sysctl, .. } => self.inside(&format!("sysctl -qw {}", quoted(&sysctl.of(name)))),
            Op::Tool { step } => self.tool(step),
            Op::SetMaster { link, master } => format!("{} link set dev {} master if{master}", self.ip(link.side), name(link)),
            Op::SetBridge { port, bridge: Some(bridge), .. } => {
                format!("ip link set dev {} master {}", quoted(port.as_str()), quoted(bridge.as_str()))
            }
            Op::SetBridge { port, bridge: None, .. } => format!("ip link set dev {} nomaster", quoted(port.as_str())),
            Op::SetOvsVlans { port, vlans, .. } => self.set_ovs_vlans(port, vlans),
            Op::TakeBack { .. } => all(&op.parts().iter().map(|back| self.print(back)).collect::<Vec<_>>()),
            Op::Again { steps } => all(&steps.iter().map(|step| self.print(step)).collect::<Vec<_>>()),
            Op::SetRoute { route, .. } => self.route("replace", route),
            Op::SetUp { link } => format!("{} link set dev {} up", self.ip(link.side), name(link)),
            Op::SetDown { link } => format!("{} link set dev {} down", self.ip(link.side), name(link)),
            Op::EnableIpv6 { name } => {
                let setting = quoted(&format!("net/ipv6/conf/{name}/disable_ipv6=0"));
                format!("nsenter --net={} sysctl -qw {setting}", quoted(&self.guest.path))
            }
            Op::AcceptRouter { name } => {
                let setting = |what| quoted(&format!("net/ipv6/conf/{name}/{what}"));
                let settings = format!("{} {} {}", setting("accept_ra=2"), setting("accept_ra_pinfo=1"), setting("autoconf=1"));
                format!("nsenter --net={} sysctl -qw {settings}", quoted(&self.guest.path))
            }
            Op::Probe { link, addrs, dad, .. } => self.probe(link, addrs, *dad),
            Op::Settle { link, addrs, .. } => {
                let list: Vec<String> = addrs.iter().map(|addr| addr.ip().to_string()).collect();
                format!(
                    "# wait until none of {} is listed: {} -6 addr show dev {} tentative",
                    list.join(", "),
                    self.ip(link.side),
                    name(link)
                )
            }
            Op::AddAddr { link, addr } => self.addr("add", link, addr),
            Op::LeaseAddr { link, addr, lifetime } => {
                let time = |seconds: u32| if seconds == FOREVER { "forever".to_owned() } else { seconds.to_string() };
                let times = format!("valid_lft {} preferred_lft {}", time(lifetime.valid), time(lifetime.preferred));
                format!("{} {times}", self.addr("replace", link, addr))
            }
            Op::DelAddr { link, addr } => self.addr("del", link, addr),
            Op::RestoreAddr { link, addr } => self.addr("add", link, &addr.addr),
            Op::AddRoute { route } => self.route("add", route),
            Op::DelNewRoute { route } => self.route("del", route),
            Op::DelRoute { side, route } => format!("{} {}route del {}", self.ip(*side), family(route), route.text),
            Op::RestoreRoute { side, route, .. } => format!("{} {}route add {}", self.ip(*side), family(route), route.text),
            Op::AddShim { shim } => add_shim(shim),
            Op::DelUnusedShim { name, .. } | Op::DelUnusedVlan { name } => format!("ip link del {}", quoted(name.as_str())),
            Op::AddNeigh { neigh } if neigh.link.side == Side::Host && neigh.ip.is_ipv6() => {
                let on = format!("sysctl -qw net/ipv6/conf/{}/disable_ipv6=0", name(&neigh.link));
                format!("{on} && {}", self.neigh("replace", neigh))
            }
            Op::AddNeigh { neigh } => self.neigh("replace", neigh),
            Op::DelNeigh { neigh } => self.neigh("del", neigh),
            Op::AddShimRoute { route } => format!("ip route add {}", shim_route(route)),
            Op::DelShimRoute { route } => format!("ip route del {}", shim_route(route)),
            Op::Host { step } => step.command(),
        }
    }
}

/// Several commands: nobody may see the link up before it is silent.
fn add_shim(shim: &NewShim) -> String {
    let (name, parent, mac) = (quoted(shim.name.as_str()), quoted(shim.parent.as_str()), shim.mac);
    let conf = format!("net/ipv6/conf/{name}");
    format!(
        "ip link add link {parent} name {name} mtu {} address {mac} broadcast {mac} arp off{} type macvlan mode bridge && \
         ip link property add dev {name} altname {} && \
         sysctl -qw {conf}/accept_ra=0 {conf}/autoconf=0 {conf}/addr_gen_mode=1 && ip link set dev {name} up",
        shim.mtu,
        group(),
        quoted(&shim.mark()),
    )
}

/// One after another, each only when the one before went well.
fn all(commands: &[String]) -> String {
    commands.join(" && ")
}

/// `ip` reads the family off the address, and the scope off the missing gateway.
fn shim_route(route: &ShimRoute) -> String {
    format!("{} dev {} src {}", route.to, quoted(route.dev.as_str()), route.src)
}

/// `bridge vlan add dev PORT vid 10 pvid untagged`
fn port_vlan(verb: &str, port: &IfName, vlan: &PortVlan) -> String {
    let vid = if vlan.first == vlan.last { vlan.first.to_string() } else { format!("{}-{}", vlan.first, vlan.last) };
    let flag = |on: bool, word: &'static str| if on { word } else { "" };
    let (pvid, untagged) = (flag(vlan.pvid, " pvid"), flag(vlan.untagged, " untagged"));
    format!("bridge vlan {verb} dev {} vid {vid}{pvid}{untagged}", quoted(port.as_str()))
}

/// `macvlan mode source macaddr set MAC ...`
fn shared(sharing: &Sharing) -> String {
    match sharing {
        Sharing::Macvlan(mode) | Sharing::Macvtap(mode) => {
            let mut text = format!("{} mode {}", sharing.kind(), mode.name());
            if let MacvlanMode::Source(allowed) = mode {
                text += " macaddr set";
                allowed.iter().for_each(|mac| text += &format!(" {mac}"));
            }
            text
        }
        Sharing::Ipvlan(mode) => format!("ipvlan {}", mode.words()),
    }
}

fn family(route: &RouteFacts) -> &'static str {
    if route.family == Family::Inet6 { "-6 " } else { "" }
}

fn name(link: &LinkRef) -> String {
    quoted(link.name.as_str())
}

/// The text as a string of ovs-vsctl's, in which a comma or a space would end it (ovs-vsctl(8), "Database Values").
fn ovs_string(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The text as one word of a POSIX shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '/' | ':' | ',' | '+' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The mark of what we make.
fn group() -> String {
    format!(" group {}", super::mark::GROUP)
}
