//! `pipework route` and `pipework rule` against `ip route` and `ip rule`, line by line; names of tables; what the
//! installed `ip` does instead.
#![allow(clippy::unwrap_used)]

mod lab;
#[path = "iproute/table.rs"]
mod table;

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use lab::{Ran, Space, no_root};
use pipework::iproute::names::LookUps;
use pipework::iproute::options::Options;
use pipework::iproute::{route, rule};
use pipework::kernel::routing::{decode_route, decode_rule};
use proptest::prelude::*;
use table::Table;

const ETH0: &str = "ip link add eth0 type veth peer name far0; ip link set far0 up; ip link set eth0 up; \
    ip addr add 192.168.1.2/24 dev eth0; while ip route | grep -q linkdown; do sleep 0.1; done";
const NOWHERE: &str = "/nonexistent";

/// `pipework LINE` with `G` for the guest.
fn pipework(guest: &Space, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
    let pid = format!("pid:{}", guest.pid());
    command.args(line.split_whitespace().map(|word| if word == "G" { &pid } else { word }));
    command.stdin(Stdio::null());
    command
}

fn ran(mut command: Command) -> Ran {
    command.output().unwrap().into()
}

fn without_ip(guest: &Space, line: &str) -> Ran {
    let mut command = pipework(guest, line);
    command.env("PATH", NOWHERE);
    ran(command)
}

#[test]
fn each_route_line_does_and_prints_what_ip_route_does() {
    if !no_root() {
        Table::read("route").run();
    }
}

#[test]
fn each_rule_line_does_and_prints_what_ip_rule_does() {
    if !no_root() {
        Table::read("rule").run();
    }
}

#[test]
fn the_tables_have_what_was_promised() {
    let lines = Table::read("route").lines() + Table::read("rule").lines();
    assert!(lines >= 130, "{lines}");
}

#[test]
fn what_is_not_known_is_done_by_the_installed_ip_and_said() {
    if no_root() {
        return;
    }
    let guest = Space::new();
    guest.sh(ETH0);
    for (line, theirs) in [("route -v G -j show", "ip -j route show"), ("rule -v G -j -6 show", "ip -j -6 rule show")] {
        let by_ip = ran(pipework(&guest, line));
        assert_eq!((by_ip.code, by_ip.out), (Some(0), guest.sh(theirs)), "{line}");
        assert!(by_ip.err.contains("\"-j\" is not known here") && by_ip.err.contains("/ip does it"), "{}", by_ip.err);
        let silent = ran(pipework(&guest, &line.replace("-v ", "")));
        assert_eq!((silent.code, silent.err.as_str()), (Some(0), ""), "{line}");
    }
    // Its exit status and its words are passed on.
    let theirs = guest.command("ip").args(["route", "add", "10.0.0.0/8", "encap", "nosuch"]).output().unwrap();
    let ours = ran(pipework(&guest, "route G add 10.0.0.0/8 encap nosuch"));
    assert_eq!((ours.code, ours.err.as_bytes()), (theirs.status.code(), theirs.stderr.as_slice()));
}

#[test]
fn routes_are_saved_and_restored_through_the_installed_ip() {
    if no_root() {
        return;
    }
    let (from, to) = (Space::new(), Space::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    for guest in [&from, &to] {
        guest.sh(ETH0);
    }
    from.sh("ip route add 10.7.0.0/16 via 192.168.1.1");
    let mut save = pipework(&from, "route G save");
    assert!(save.stdout(file.reopen().unwrap()).status().unwrap().success());
    let mut restore = pipework(&to, "route G restore");
    assert!(restore.stdin(file.reopen().unwrap()).stderr(Stdio::null()).status().unwrap().success());
    assert_eq!(to.sh("ip route show 10.7.0.0/16"), "10.7.0.0/16 via 192.168.1.1 dev eth0 \n");
}

#[test]
fn without_an_installed_ip_the_error_names_the_word_and_nothing_is_changed() {
    if no_root() {
        return;
    }
    let guest = Space::new();
    guest.sh(ETH0);
    let before = guest.state();
    for (line, word) in [
        ("route G add 10.0.0.0/8 encap mpls 200", "encap"),
        ("route G add 10.0.0.0/8 vai 192.168.1.1", "vai"),
        ("route G ad 10.0.0.0/8 dev eth0 nexthop via 192.168.1.1 wieght 5", "wieght"),
        ("route G shwo", "shwo"),
        ("route G show tabel 5", "tabel"),
        ("route G get 10.1.1.1 form 10.1.1.2", "form"),
        ("route G -j show", "-j"),
        ("rule G add form 10.0.0.0/8 table 5", "form"),
        ("rule G save", "save"),
    ] {
        let ran = without_ip(&guest, line);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{line}");
        assert!(ran.err.contains(&format!("{word:?} is not known here")) && ran.err.contains("ip is not installed"), "{line}: {}", ran.err);
    }
    lab::assert_same(&before, &guest.state(), "the guest");
}

#[test]
fn what_is_wrong_is_said_with_what_to_type_and_a_refusal_of_the_kernel_has_the_status_of_ip() {
    if no_root() {
        return;
    }
    let guest = Space::new();
    guest.sh(ETH0);
    for (line, status, wanted) in [
        ("route G add 10.0.0.0/99 dev eth0", 1, "give ADDRESS/LENGTH"),
        ("route G add 10.0.0.0/8 via 1.2.3.4.5", 1, "is no IPv4 address like 10.1.1.1"),
        ("route G add 10.0.0.0/8 dev eth7", 1, "there is no interface \"eth7\"; there are lo"),
        ("route G add 10.0.0.0/8 dev eth0 table web", 1, "table \"web\" is not a known name or a number"),
        ("route G add 10.0.0.0/8 dev eth0 metric", 1, "metric needs a value"),
        ("route G add 10.0.0.0/8 via 192.168.1.1 via 192.168.1.3", 1, "nexthop via A nexthop via B"),
        ("route G flush", 1, "give PREFIX"),
        ("route G show 10.0.0.0/99", 1, "give ADDRESS/LENGTH"),
        ("route G get", 1, "route get 10.1.1.1"),
        ("route G -n other show", 1, "is no option that may stand here"),
        ("rule G -b file", 1, "is no option that may stand here"),
        ("rule G add", 1, "as in: add from 10.1.1.0/24 lookup 100"),
        ("rule G add from fd00::/64 table 5", 1, "-6 add from"),
        ("rule G add dport 99999 table 5", 1, "PORT or FIRST-LAST"),
        ("route G add 192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.2", 2, "File exists"),
        ("route G add default via 172.16.0.1", 2, "Network is unreachable: Nexthop has invalid gateway"),
        ("route G del 10.0.0.0/8", 2, "No such process"),
        ("route G show table 77", 2, "FIB table does not exist"),
        ("rule G del priority 77", 2, "No such file or directory"),
    ] {
        let ran = ran(pipework(&guest, line));
        assert_eq!((ran.code, ran.out.as_str()), (Some(status), ""), "{line}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{line}: {wanted:?} is not in {}", ran.err);
    }
}

/// A guest with a root directory of its own, in a mount namespace of its own.
struct Jail {
    child: std::process::Child,
    dir: tempfile::TempDir,
}

impl Jail {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for name in ["bin", "etc/iproute2"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        lab::executable(std::path::Path::new("/bin/busybox"), &root.join("bin/busybox"));
        let script = "ip link set lo up && echo ready && exec chroot \"$0\" /bin/busybox sleep 100000";
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--", "sh", "-c", script]).arg(&root).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        let pid = child.id();
        lab::eventually("the guest has its root", || {
            std::fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|r| r == root.canonicalize().unwrap())
        });
        Self { child, dir }
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.dir.path().join("root/etc/iproute2").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn route(&self, words: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
        command.arg("route").arg(format!("pid:{}", self.child.id())).args(words.split(' ')).env("PATH", NOWHERE);
        ran(command)
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn no_busybox() -> bool {
    !std::path::Path::new("/bin/busybox").exists() && lab::skip("needs busybox-static: scripts/setup")
}

#[test]
fn a_guests_own_names_of_tables_count_before_the_hosts() {
    if no_root() || no_busybox() {
        return;
    }
    let guest = Jail::new();
    guest.file("rt_tables", "77 web\n255 local\n");
    guest.file("rt_tables.d/more.conf", "78 mail\n");
    guest.file("rt_tables.d/more.txt", "79 other\n");
    assert_eq!(guest.route("add 10.1.0.0/16 dev lo table web").code, Some(0));
    assert_eq!(guest.route("add 10.2.0.0/16 dev lo table mail").code, Some(0));
    assert_eq!(guest.route("add 10.3.0.0/16 dev lo table other").code, Some(1));
    assert_eq!(guest.route("show table web").out, "10.1.0.0/16 dev lo scope link \n");
    // The judge, which knows numbers only.
    let judge = |table: &str| {
        let net = format!("--net=/proc/{}/ns/net", guest.child.id());
        ran({
            let mut command = Command::new("nsenter");
            command.args([&net, "ip", "route", "show", "table", table]);
            command
        })
        .out
    };
    assert_eq!((judge("77"), judge("78")), ("10.1.0.0/16 dev lo scope link \n".into(), "10.2.0.0/16 dev lo scope link \n".into()));
    assert!(
        guest.route("show table all").out.contains("10.2.0.0/16 dev lo table mail scope link"),
        "{}",
        guest.route("show table all").out
    );
}

#[test]
fn a_guests_files_lead_nowhere_and_never_block() {
    if no_root() || no_busybox() {
        return;
    }
    let guest = Jail::new();
    let secret = guest.dir.path().join("secret");
    std::fs::write(&secret, "66 stolen\n").unwrap();
    let tables = guest.dir.path().join("root/etc/iproute2/rt_tables");
    for target in [secret.to_str().unwrap(), "../../../secret", "/dev/zero"] {
        symlink(target, &tables).unwrap();
        assert_eq!(guest.route("show table stolen").code, Some(1), "{target}");
        assert_eq!(guest.route("show table main").code, Some(0), "{target}");
        std::fs::remove_file(&tables).unwrap();
    }
    nix::unistd::mkfifo(&tables, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(guest.route("show table main").code, Some(0));
    std::fs::remove_file(&tables).unwrap();
    std::fs::write(&tables, [b"65 ok\n".as_slice(), &[0xff; 4096], b"\n64 \x1b[31mred\n"].concat()).unwrap();
    assert_eq!(guest.route("add 10.1.0.0/16 dev lo table ok").code, Some(0));
    assert!(!guest.route("show table all").out.contains('\u{1b}'));
}

/// Words of the grammar, and what is nearly one of them.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(
            "add del replace change append prepend get show flush default any to via dev eth0 src metric table main all cache scope link \
             proto static unicast blackhole local onlink mtu lock rtt 10ms rto_min features ecn congctl cubic realms 1/2 nexthop weight \
             nhid pref high expires tos from iif oif mark uid fibmatch ipproto tcp sport dport root match exact inet inet6 -6 -4 -f -d -s \
             not fwmark 1/2 lookup priority suppress_prefixlength sup_pl uidrange 1-2 l3mdev goto nop prohibit 10.1.1.0/24 fd00::/64 5"
                .split_whitespace().collect::<Vec<_>>()
        ).prop_map(str::to_owned),
        1 => "[0-9a-fx:./-]{0,20}",
        1 => ".{0,10}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_words_make_the_parsers_panic(words in prop::collection::vec(word(), 0..14)) {
        let mut lookups = LookUps::default();
        lookups.links.by_index.insert(2, vec!["eth0".into()]);
        for error in [route::parse(&words, &lookups).err(), rule::parse(&words, &lookups).err()].into_iter().flatten() {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn whatever_the_kernel_says_prints_as_one_line_or_more(
        family in prop::sample::select(vec![2_u8, 10]),
        rest in prop::collection::vec(any::<u8>(), 11..200),
        attributes in prop::collection::vec((0_u16..33, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
    ) {
        let mut raw = vec![family];
        raw.extend(if rest.len() % 2 == 0 { &rest[..] } else { &rest[..11] });
        for (kind, value) in &attributes {
            raw.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            raw.extend(kind.to_ne_bytes());
            raw.extend(value);
            raw.resize(raw.len().next_multiple_of(4), 0);
        }
        let lookups = LookUps::default();
        for options in [Options::default(), Options { details: true, stats: true, numeric: true, oneline: true, family: None }] {
            let mut text = String::new();
            route::print(&decode_route(&raw).unwrap(), &route::Selector::any(), options, &lookups, &mut text);
            rule::print(&decode_rule(&raw).unwrap(), options, &lookups, &mut text);
            prop_assert!(text.ends_with('\n') && text.lines().count() >= 2);
        }
        let _ = (decode_route(&rest), decode_rule(&rest));
    }
}
