//! Containers that are made by chance of all that a hostile one might say.

use std::collections::BTreeMap;

use pipework::model::intent::Container;

/// Where a shell would leave something, were one ever asked.
pub fn marker() -> String {
    format!("{}/pipework-intent-{}", std::env::temp_dir().display(), std::process::id())
}

/// Numbers that look like chance and are the same in every run (xorshift, Marsaglia 2003).
pub struct Chance(u64);

impl Chance {
    /// The beginning.
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn in_ten(&mut self, n: usize) -> bool {
        self.below(10) < n
    }
}

const HOST_IFS: [&str; 18] = [
    "br0",
    "br0",
    "br0",
    "eth0",
    "eth0",
    "br7",
    "ovs0",
    "dummy",
    "ib0",
    "lo",
    "veth12ab34",
    "pws-eth0",
    "mac:02:00:00:00:00:09",
    "link:db:eth1",
    "$(reboot)",
    "../../eth0",
    "{{.Label \"nic\"}}",
    "br{{.Instance}}",
];
const ADDRESSES: [&str; 22] = [
    "192.168.7.10/24",
    "192.168.7.{{.Instance}}/24@192.168.7.1",
    "192.168.7.20/24,fd00::20/64",
    "10.0.0.1/8",
    "8.8.8.8/32",
    "169.254.169.254/32",
    "0/0",
    "dhcp",
    "dhcp:-f",
    "dhcp6",
    "slaac",
    "udhcpc",
    "'dhclient:-sf /tmp/x'",
    "dhcpcd-f",
    "'dhcp-container:-s /bin/sh'",
    "{{.Label \"addr\"}}",
    "192.168.7.9/24;reboot",
    "`id`",
    "::/0",
    "999.1.1.1/24",
    "2001:db8::1/64",
    "''",
];
const LAST: [&str; 10] =
    ["", "", "", "@10", "@10,20-30", "02:00:00:00:00:01@15", "U:{{.Name}}@4000", "@ad:100", "@8001", "{{.Label \"last\"}}"];
/// All that an attach can be told, and what nobody can.
const OPTIONS: [&str; 54] = [
    "-i eth2",
    "-i auto",
    "-i ../x",
    "-i x$(id)",
    "-l docker0",
    "-l eth9",
    "-a 4",
    "-a 6",
    "--direct-phys",
    "--macvlan private",
    "--macvlan passthru",
    "--macvlan=source:02:00:00:00:00:07",
    "--macvtap",
    "--macvtap=passthru",
    "--ipvlan l2",
    "--ipvlan l3s",
    "--replace",
    "--add 10.0.0.9/24",
    "--del 10.0.0.9/24",
    "--persist",
    "--vlan-filtering",
    "--force",
    "--host-access",
    "--host-access",
    "--dad warn",
    "--dad fail --dad-wait",
    "--dhcp-timeout 86400",
    "--dhcp-dns",
    "--dhcp-image evil",
    "--ovsdb tcp:10.0.0.1:6640",
    "-v",
    "--json",
    "--dry-run",
    "--keep-netns",
    "--via-host",
    "--mtu 1400",
    "--mtu={{.Label \"mtu\"}}",
    "--metric 5",
    "--route '10.9.0.0/16 via 192.168.7.1'",
    "--rule 'from 10.0.0.1 lookup 5'",
    "--table auto",
    "--rate 10mbit/2mbit",
    "--rate 10mbit/2mbit:1gb",
    "--netem delay=1s,limit=100000000",
    "--offload tx=off",
    "--txqueuelen 4000000000",
    "--queues 4096",
    "--sysctl net.ipv4.conf.IF.arp_ignore=1",
    "--link-mac 02:00:00:00:00:01",
    "--",
    "--help",
    "{{.Label \"option\"}}",
    "-{{.Label \"option\"}}",
    "--{{.Label \"option\"}}",
];
/// What templates are to smuggle in.
const SMUGGLED: [&str; 16] = [
    "--direct-phys",
    "-l",
    "direct-phys",
    "10.0.0.2/24 --direct-phys",
    "192.168.7.77/24",
    "eth0 db",
    "192.168.7.30/24\n--force",
    "link:db:eth0",
    "' --force '",
    "{{.Label \"option\"}}",
    "$(touch MARKER)",
    "1500",
    "br0",
    "",
    "@10 --direct-phys",
    "lfoo",
];
const NAMES: [&str; 8] = ["web", "shop-web-3", "db", "--direct-phys", "a b --force", "$(touch MARKER)", "\u{1b}[2J", ""];

/// One value: nearly right more often than not, else anything.
fn value(chance: &mut Chance, guest: Option<&str>) -> String {
    match chance.below(20) {
        0 => "$(touch MARKER); `touch MARKER` | touch MARKER > MARKER && touch MARKER".into(),
        1 => (0..chance.below(60)).filter_map(|_| char::from_u32(u32::try_from(chance.below(0x800)).unwrap())).collect(),
        2 => "br0 192.168.7.2/24 ".repeat(chance.below(3000)),
        3 => format!("br0 '{}", chance.one(&ADDRESSES)),
        4 => format!(
            "{} {{{{.{}}}}}",
            chance.one(&HOST_IFS),
            chance.one(&["Env", "Name | sh", "Label", "Label \"", "printf \"x\"", "Project"])
        ),
        _ => {
            let mut words = vec![chance.one(&HOST_IFS).to_owned()];
            words.extend(guest.map(str::to_owned));
            words.push(chance.one(&ADDRESSES).to_owned());
            words.push(chance.one(&LAST).to_owned());
            let options = [0, 0, 1, 1, 1, 2, 3][chance.below(7)];
            for _ in 0..options {
                let at = chance.below(words.len() + 1);
                words.insert(at, chance.one(&OPTIONS).to_owned());
            }
            words.join(" ")
        }
    }
}

/// A container that nobody should trust.
pub fn container(chance: &mut Chance) -> Container {
    let smuggled = |chance: &mut Chance| chance.one(&SMUGGLED).to_owned();
    let mut labels: BTreeMap<String, String> =
        ["nic", "addr", "last", "option", "mtu"].into_iter().map(|name| (name.to_owned(), smuggled(chance))).collect();
    let key = |chance: &mut Chance| format!("pipework.{}", chance.one(&["lan", "wan", "a/b", "", "\u{7}", "x.y-z_0"]));
    for _ in 0..=chance.below(3) {
        labels.insert(key(chance), value(chance, None));
    }
    if chance.in_ten(3) {
        let number = chance.one(&["4", "1/8 --direct-phys", "", "99999999999"]);
        labels.insert("com.docker.compose.container-number".into(), number.into());
        labels.insert("com.docker.swarm.task.name".into(), chance.one(&["a.5.x", "a.-l.x", "..", ""]).into());
    }
    let mut env = BTreeMap::new();
    if chance.in_ten(5) {
        let guest = chance.one(&[
            "@CONTAINER_NAME@",
            "@CONTAINER_ID@",
            "docker:@CONTAINER_NAME@",
            "db",
            "pid:1",
            "netns:/proc/1/ns/net",
            "@HOSTNAME@",
            "--direct-phys",
        ]);
        env.insert(chance.one(&["pipework_cmd", "x_pipework_cmd_y", "pipework_cmd$(touch MARKER)"]).into(), value(chance, Some(guest)));
        env.insert("pipework_host_route".into(), chance.one(&["true", "", "$(touch MARKER)"]).into());
    }
    if chance.below(500) == 0 {
        labels.extend((0..2000).map(|n| (format!("pipework.n{n}"), "br0 192.168.7.2/24".to_owned())));
    }
    let marked = |text: String| text.replace("MARKER", &marker());
    let all = |map: BTreeMap<String, String>| map.into_iter().map(|(key, value)| (marked(key), marked(value))).collect();
    let id = format!("{:016x}{:016x}", chance.next(), chance.next());
    let (name, hostname) = (marked(chance.one(&NAMES).into()), smuggled(chance));
    Container {
        engine: "docker".into(),
        id,
        name,
        hostname,
        image: "nginx".into(),
        pid: 4711,
        labels: all(labels),
        env: all(env),
        ..Container::default()
    }
}
