//! What each mode of --dad costs: whole attaches by turns, so that all have the same machine. Medians in milliseconds.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pipework::kernel::netns::Namespace;
use pipework::lifecycle::{self, Options};
use pipework::model::conflict::{Dad, DadMode};
use pipework::model::request::{AttachRequest, GuestRef};
use pipework::state::{Claimant, Claims};

mod floor;
use floor::lab::Space;

/// What is asked, and how often it is measured: the slow ones less.
struct Row {
    name: &'static str,
    addr: &'static str,
    dad: Dad,
    times: usize,
}

const FREE: &str = "10.1.1.6/24";
const TAKEN: &str = "10.1.1.5/24";
const FREE6: &str = "fd00::6/64";
const TAKEN6: &str = "fd00::5/64";
const BOTH: &str = "10.1.1.6/24,fd00::6/64";

fn rows() -> Vec<Row> {
    let row = |name, addr, mode, patient, times| Row { name, addr, dad: Dad { mode, patient }, times };
    vec![
        row("off, IPv4", FREE, DadMode::Off, false, 100),
        row("warn, IPv4, nobody has it", FREE, DadMode::Warn, false, 15),
        row("warn, IPv4, somebody has it", TAKEN, DadMode::Warn, false, 30),
        row("fail, IPv4, nobody has it", FREE, DadMode::Fail, false, 15),
        row("fail, IPv4, somebody has it", TAKEN, DadMode::Fail, false, 30),
        row("off, IPv6", FREE6, DadMode::Off, false, 100),
        row("fail, IPv6, nobody has it", FREE6, DadMode::Fail, false, 15),
        row("fail, IPv6, somebody has it", TAKEN6, DadMode::Fail, false, 30),
        row("fail, both, nobody has them", BOTH, DadMode::Fail, false, 15),
        row("fail --dad-wait, IPv4, nobody", FREE, DadMode::Fail, true, 7),
        row("fail --dad-wait, IPv4, somebody", TAKEN, DadMode::Fail, true, 7),
        row("fail --dad-wait, IPv6, nobody", FREE6, DadMode::Fail, true, 7),
    ]
}

/// A bridge with another host on it, and a guest.
struct Lan {
    host: Space,
    guest: Space,
    _other: Space,
    directory: tempfile::TempDir,
}

impl Lan {
    fn new() -> Self {
        let (host, guest, other) = (Space::new(), Space::new(), Space::new());
        host.sh(&format!("ip link add br0 up type bridge; ip link add o0 up master br0 type veth peer name eth1 netns {}", other.pid()));
        other.sh("ip addr add 10.1.1.5/24 dev eth1; ip addr add fd00::5/64 dev eth1 nodad; ip link set eth1 up");
        std::thread::sleep(Duration::from_secs(1));
        Self { host, guest, _other: other, directory: tempfile::tempdir_in("/run").unwrap() }
    }

    /// The time of one attach, from the words to the report.
    fn attach(&self, row: &Row) -> Duration {
        let request = AttachRequest::new("br0".parse().unwrap(), GuestRef::Pid(self.guest.pid()), row.addr.parse().unwrap());
        let request = AttachRequest { dad: row.dad, ..request };
        let options = Options { run_dir: self.directory.path().to_owned(), ..Options::default() };
        let namespace = Namespace::open(format!("/proc/{}/ns/net", self.host.pid()).as_ref()).unwrap();
        let work = || {
            let start = Instant::now();
            let ended = lifecycle::attach(&request, &options, &mut |_| {});
            let time = start.elapsed();
            let is_refused = row.dad.mode == DadMode::Fail && [TAKEN, TAKEN6].contains(&row.addr);
            assert_eq!(ended.is_err(), is_refused, "{}", row.name);
            if ended.is_ok() {
                lifecycle::detach(
                    &request.guest,
                    &lifecycle::DetachOptions { run_dir: options.run_dir.clone(), ..Default::default() },
                    &mut |_| {},
                )
                .unwrap();
            }
            Ok(time)
        };
        namespace.inside(work).unwrap()
    }
}

/// The time that noting an address and striking it out again takes, as each attach and detach does: the median in milliseconds.
fn own_records(run_dir: &std::path::Path) -> f64 {
    let claims = Claims::of(run_dir, 1, "br0");
    let claimant = |netns| Claimant { netns, interface: "eth1".parse().unwrap() };
    let addr = |n: u64| IpAddr::from([10, 2, (n / 250) as u8, (n % 250) as u8]);
    for n in 0..1000 {
        assert_eq!(claims.take(addr(n), &claimant(n), |_| Ok(true)).unwrap(), None);
    }
    let once = |n: u64| {
        let start = Instant::now();
        claims.take(addr(n), &claimant(n), |_| Ok(true)).unwrap();
        claims.release(addr(n), &claimant(n));
        start.elapsed()
    };
    let mut times: Vec<Duration> = (1000..1301).map(once).collect();
    times.sort();
    times[150].as_secs_f64() * 1000.0
}

fn main() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("dad: needs root");
        std::process::exit(1);
    }
    floor::in_memory_run();
    let (lan, rows) = (Lan::new(), rows());
    let most = rows.iter().map(|row| row.times).max().unwrap_or_default();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); rows.len()];
    for turn in 0..most {
        for (row, times) in rows.iter().zip(&mut times).filter(|(row, _)| turn < row.times) {
            times.push(lan.attach(row));
        }
    }
    println!("{:34} {:>9} {:>9} {:>9} {:>4}", "attach to a bridge, ms", "median", "least", "most", "n");
    for (row, mut times) in rows.iter().zip(times) {
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (least, median, most) = (ms(times[0]), ms(times[times.len() / 2]), ms(times[times.len() - 1]));
        println!("{:34} {median:9.2} {least:9.2} {most:9.2} {:4}", row.name, times.len());
    }
    println!("our own records, which are always asked: {:.3} ms, with 1000 addresses noted", own_records(lan.directory.path()));
}
