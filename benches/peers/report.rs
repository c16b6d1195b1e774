//! What was measured, as a page and two plots.

use std::fmt::Write;
use std::time::Duration;

use super::measure::{least, median};
use super::peer::{Kind, Peer};
use super::plot;
use super::world::sh;

/// A time for every hundred ports is the median of as many attaches from there on.
const WINDOW: usize = 20;

/// A program with what it attaches.
pub fn title(kind: Kind, container: bool) -> String {
    kind.name() + if container { ", Docker container" } else { "" }
}

pub struct Report {
    rounds: usize,
    tables: String,
    absent: String,
    bars: Vec<(String, f64, bool)>,
    rows: Vec<(String, Vec<Duration>)>,
    lines: Vec<(String, Vec<(usize, f64)>)>,
}

impl Report {
    pub fn new(rounds: usize) -> Self {
        Self { rounds, tables: String::new(), absent: String::new(), bars: Vec::new(), rows: Vec::new(), lines: Vec::new() }
    }

    /// Says that something is not measured, at once and on the page.
    pub fn absent(&mut self, name: &str, why: &str) {
        eprintln!("bench-peers: not available: {name}: {why}");
        writeln!(self.absent, "- Not measured: {name} ({why})").unwrap();
    }

    /// One attach of each, by turns, beside that of ours.
    pub fn one(&mut self, peers: &[Peer], times: &[Vec<Duration>], own: Kind) {
        for (container, guest) in [(false, "a network namespace"), (true, "a Docker container")] {
            let rows: Vec<_> = peers.iter().zip(times).filter(|(peer, _)| peer.container() == container).collect();
            let Some((_, ours)) = rows.iter().find(|(peer, _)| peer.kind == own) else { continue };
            writeln!(self.tables, "\n## One attach, the guest is {guest}\n").unwrap();
            writeln!(self.tables, "| | median, ms | least, ms | ours / it | it / ours |\n|---|--:|--:|--:|--:|").unwrap();
            for (peer, times) in &rows {
                let (name, time, ours) = (peer.kind.name(), median(times), median(ours));
                let ratios = (ours / time, time / ours);
                writeln!(self.tables, "| {name} | {time:.2} | {:.2} | {:.3} | {:.1} |", least(times), ratios.0, ratios.1).unwrap();
                self.bars.push((title(peer.kind, container), time, matches!(peer.kind, Kind::Ours | Kind::OursCni)));
            }
        }
    }

    /// 100 attaches: how long all of them took, each time.
    pub fn row(&mut self, name: &str, times: &[Duration]) {
        self.rows.push((name.to_owned(), times.to_vec()));
    }

    /// The times of attaches onto one bridge, in their order.
    pub fn ports(&mut self, name: &str, times: &[Duration]) {
        let points = times.chunks(100.min(times.len())).enumerate();
        let points = points.map(|(n, some)| (n * 100, median(&some[..WINDOW.min(some.len())])));
        self.lines.push((name.to_owned(), points.collect()));
    }

    /// Only the tables, on standard output.
    pub fn print(&self) {
        println!("{}{}{}", machine(), self.absent, self.tables);
    }

    /// Writes the page and the plots into a directory, and the page to standard output.
    pub fn write(mut self, directory: &str) {
        self.row_table();
        self.port_table();
        let page = format!(
            "# Beside others\n\nWritten by `scripts/bench-peers`. Each time is that of a process, from its start to its end; \
             the one attach is the median of {} rounds, all programs by turns.\n\n{}{}\n{HOW}\n![one attach](bench-peers.svg)\n{}\n\
             ![time against ports](bench-ports.svg)\n",
            self.rounds,
            machine(),
            self.absent,
            self.tables
        );
        print!("{page}");
        std::fs::create_dir_all(directory).unwrap();
        let write = |name: &str, text: String| std::fs::write(format!("{directory}/{name}"), text).unwrap();
        write("bench-peers.md", page);
        write("bench-peers.svg", plot::bars("One attach, a process of its own", &self.bars));
        write("bench-ports.svg", plot::lines("Time of one attach against the number of ports on the bridge", &self.lines));
    }

    fn row_table(&mut self) {
        let ours = self.rows.iter().find(|(name, _)| *name == Kind::Ours.name()).map(|(_, times)| median(times));
        writeln!(self.tables, "\n## 100 attaches in a row, the guests are network namespaces\n").unwrap();
        writeln!(self.tables, "| | all, ms | each, ms | it / ours |\n|---|--:|--:|--:|").unwrap();
        for (name, times) in &self.rows {
            let all = median(times);
            writeln!(self.tables, "| {name} | {all:.0} | {:.2} | {:.1} |", all / 100.0, all / ours.unwrap_or(f64::NAN)).unwrap();
        }
    }

    fn port_table(&mut self) {
        let names: Vec<&str> = self.lines.iter().map(|line| line.0.as_str()).collect();
        writeln!(self.tables, "\n## Time of one attach against the number of ports on the bridge, ms\n").unwrap();
        writeln!(self.tables, "| ports | {} |\n|--:|{}", names.join(" | "), "--:|".repeat(names.len())).unwrap();
        for (n, (ports, _)) in self.lines.first().map(|line| line.1.clone()).unwrap_or_default().iter().enumerate() {
            let cells: Vec<String> = self.lines.iter().map(|line| format!("{:.2}", line.1[n].1)).collect();
            writeln!(self.tables, "| {ports} | {} |", cells.join(" | ")).unwrap();
        }
    }
}

/// What the numbers cannot be read without.
const HOW: &str = "\
- The work: the bridge is there; a veth pair onto it, an address 10.x/16 and a default route in the guest. Each program has a \
bridge of its own with one port that stays. What an attach left is taken away outside the measured time. All of /run is in memory.
- Announcing: the CNI plugin and pipework do, pipework in a process of its own that is not waited for; netavark does not; the \
original does by arping, and not at all without.
- netavark 1.4 leaves the firewall alone only for an internal network, which has no default route: it has a step less to do. \
It asks for the version of iptables all the same; a two-line script answers.
- The CNI plugins claim the address: Debian's by host-local or static, pipework by its own pool, of one address each.
- The original knows a guest by what Docker tells. Where the guest is a network namespace, a two-line script answers in \
Docker's place. Of its attaches in a row 10 are measured and counted tenfold.
- Against ports: medians of 20 attaches from that number on, each program from an empty bridge. The times of `batch` are those \
that it tells of its lines; the others are of processes.
";

fn machine() -> String {
    let cpu = sh("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let version = |package: &str| sh(&format!("dpkg-query -W -f '${{Version}}' {package} 2>/dev/null || echo none"));
    let packages = ["netavark", "containernetworking-plugins", "docker.io", "iputils-arping", "iproute2", "dash"];
    let versions: Vec<String> = packages.iter().map(|package| format!("{package} {}", version(package))).collect();
    format!(
        "- {cpu}, {cores} cores; Linux {}; {}\n- pipework {}; Debian's {}\n",
        sh("uname -r"),
        sh("date -u +%F"),
        env!("CARGO_PKG_VERSION"),
        versions.join(", ")
    )
}
