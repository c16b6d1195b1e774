//! Leases that a process keeps for many guests: written down, taken up by the next such process, given back with the guest.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::dhcp::Server;
use lab::{Lab, Space, eventually, no_root};
use pipework::cli::words_without_guest;
use pipework::kernel::netns::Namespace;
use pipework::kernel::signal::{Stop, obey};
use pipework::lifecycle::{self, End, Kept, Options, Tenancy, TookUp};
use pipework::model::record::Record;

const HOUR: &str = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";

fn host(lab: &Lab) -> Namespace {
    Namespace::open(Path::new(&format!("/proc/{}/ns/net", lab.host.pid()))).unwrap()
}

/// The record of the only attachment.
fn record(lab: &Lab) -> Record {
    let all = host(lab).inside(|| Ok(Tenancy::all(lab.dir.path()).unwrap())).unwrap();
    assert_eq!(all.len(), 1);
    all[0].record().clone()
}

/// An attach as the daemon makes it.
fn attach(lab: &Lab, guest: &Space) {
    let word = format!("pid:{}", guest.pid()).parse().unwrap();
    let (request, options) = words_without_guest(word, &["br0".to_owned(), "dhcp".to_owned()]).unwrap();
    let (run_dir, state_dir) = (lab.dir.path().to_owned(), lab.dir.path().join("state"));
    let options = Options { run_dir, state_dir, resident: true, ..options };
    let attached = host(lab).inside(|| Ok(lifecycle::attach(&request, &options, &mut |_| {}).map_err(|e| e.chain()))).unwrap().unwrap();
    assert!(attached.stay.is_none());
}

/// A thread of a daemon that keeps the lease.
struct Keeping {
    stop: Arc<Stop>,
    told: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<End>>,
}

impl Keeping {
    fn start(lab: &Lab, took_up: TookUp) -> Self {
        let (stop, told) = (Stop::new().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (obeyed, heard, host) = (stop.clone(), told.clone(), host(lab));
        let tenancy = host.inside(|| Ok(Tenancy::of(lab.dir.path(), record(lab)).unwrap())).unwrap();
        let keep = move || {
            obey(&obeyed);
            let mut tell = |kept: Kept<'_>| {
                heard.lock().unwrap().push(match kept {
                    Kept::Renewed(lease) => format!("renewed {}", lease.addr),
                    Kept::Leased(lease) => format!("leased {}", lease.addr),
                    Kept::Lost => "lost".to_owned(),
                    Kept::Failed(why) => format!("failed {why}"),
                });
            };
            Ok(tenancy.keep(took_up, &mut tell, &mut |_| {}).map_err(|error| error.to_string()))
        };
        let thread = std::thread::spawn(move || host.inside(keep).unwrap().unwrap());
        Self { stop, told, thread: Some(thread) }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn ended(mut self) -> End {
        self.thread.take().unwrap().join().unwrap()
    }

    fn stopped(self) -> End {
        self.stop.ask();
        self.ended()
    }
}

fn addr(guest: &Space) -> Option<String> {
    guest.addrs("eth1").into_iter().find(|a| !a.contains(':'))
}

fn count(server: &Server, what: &str) -> usize {
    // dnsmasq tells of each packet in several lines; one has the word and the interface.
    server.log().matches(&format!("{what}(srv0)")).count()
}

#[test]
fn a_lease_is_taken_up_by_the_next_process_without_a_gap_and_without_another_address() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[HOUR, "--dhcp-option=3,10.88.0.1"]);
    let guest = lab.guest();
    attach(&lab, &guest);
    let leased = addr(&guest).unwrap();
    let (index, written) = (guest.link("eth1")["ifindex"].clone(), record(&lab));
    assert_eq!(written.given.iter().map(ToString::to_string).collect::<Vec<_>>(), std::slice::from_ref(&leased));
    let tenure = written.tenure.unwrap();
    assert!(tenure.lease.is_some() && tenure.ends.is_some() && tenure.server_mac.is_some() && written.keeper.is_none());
    let first = Keeping::start(&lab, TookUp::Now);
    assert_eq!(first.stopped(), End::Left);
    assert_eq!((addr(&guest), count(&server, "DHCPRELEASE"), count(&server, "DHCPREQUEST")), (Some(leased.clone()), 0, 1));

    let second = Keeping::start(&lab, TookUp::FromAnother);
    eventually("the server has confirmed it", || second.told() == [format!("renewed {leased}")]);
    assert_eq!((count(&server, "DHCPDISCOVER"), count(&server, "DHCPREQUEST")), (1, 2), "{}", server.log());
    assert_eq!((addr(&guest), &guest.link("eth1")["ifindex"]), (Some(leased), &index));
    assert!(guest.routes().contains(&"default via 10.88.0.1 dev eth1".to_owned()));
    let info = guest.ip("addr show dev eth1 scope global")[0]["addr_info"][0].clone();
    assert!(info["valid_life_time"].as_u64().unwrap() <= 3600, "{info}");
    assert_eq!(second.stopped(), End::Left);
}

#[test]
fn an_address_that_the_server_denies_is_changed_in_place_and_written_down() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let mut server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[HOUR]);
    let guest = lab.guest();
    attach(&lab, &guest);
    let (before, index) = (addr(&guest).unwrap(), guest.link("eth1")["ifindex"].clone());
    server.stop();
    std::fs::write(server.file("leases"), "").unwrap();
    server.space.sh("ip addr flush dev srv0; ip addr add 10.99.0.1/24 dev srv0");
    server.start_dnsmasq(&["--dhcp-range=10.99.0.50,10.99.0.99,255.255.255.0,1h"]);
    let keeping = Keeping::start(&lab, TookUp::FromAnother);
    eventually("there is another address", || addr(&guest).is_some_and(|now| now.starts_with("10.99.0.")));
    let now = addr(&guest).unwrap();
    eventually("it is told", || keeping.told() == ["lost".to_owned(), format!("leased {now}")]);
    assert!(count(&server, "DHCPNAK") == 1 && guest.addrs("eth1").len() == 1, "{before} {}", server.log());
    assert_eq!(guest.link("eth1")["ifindex"], index);
    let written = record(&lab);
    assert_eq!(written.given.iter().map(ToString::to_string).collect::<Vec<_>>(), [now]);
    assert_eq!(keeping.stopped(), End::Left);
    // All that the attachment made goes with it, the new address's steps too.
    assert_eq!(lab.run(&format!("detach pid:{}", guest.pid())).code, Some(0));
    assert!(guest.link("eth1").is_null());
    eventually("it is given back", || server.leases().is_empty());
}

#[test]
fn a_lease_that_nobody_confirms_or_denies_is_used_on() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let mut server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[HOUR]);
    let guest = lab.guest();
    attach(&lab, &guest);
    let leased = addr(&guest);
    server.stop();
    let keeping = Keeping::start(&lab, TookUp::FromAnother);
    std::thread::sleep(Duration::from_secs(13));
    assert_eq!((addr(&guest), keeping.told()), (leased, Vec::new()));
    assert_eq!(keeping.stopped(), End::Left);
}

#[test]
fn a_lease_is_given_back_when_its_guest_ends() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[HOUR]);
    let guest = lab.guest();
    attach(&lab, &guest);
    let keeping = Keeping::start(&lab, TookUp::Now);
    assert_eq!(server.leases().len(), 1);
    eventually("the client has its socket", || guest.sh("cat /proc/net/packet").lines().count() > 1);
    drop(guest);
    assert_eq!(keeping.ended(), End::GuestEnded);
    eventually("the server has its lease back", || server.leases().is_empty() && count(&server, "DHCPRELEASE") == 1);
    assert!(host(&lab).inside(|| Ok(Tenancy::all(lab.dir.path()).unwrap())).unwrap().is_empty());
    assert_eq!(lab.run("gc").code, Some(0));
    assert_eq!(count(&server, "DHCPRELEASE"), 1);
}

#[test]
fn a_detach_gives_the_lease_back_whoever_keeps_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[HOUR]);
    let guest = lab.guest();
    attach(&lab, &guest);
    let keeping = Keeping::start(&lab, TookUp::Now);
    lab.ok(&format!("detach pid:{}", guest.pid()));
    assert_eq!(keeping.ended(), End::LinkGone);
    eventually("the server has its lease back", || server.leases().is_empty() && count(&server, "DHCPRELEASE") == 1);
    assert!(guest.link("eth1").is_null());
}

#[test]
fn what_is_written_down_follows_each_renewal() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let mut server = Server::silent(&lab, "br0", &["10.88.0.1/24"]);
    server.start_udhcpd("10.88.0.50", "10.88.0.60", "option subnet 255.255.255.0\noption lease 6");
    let guest = lab.guest();
    attach(&lab, &guest);
    let (leased, first) = (addr(&guest).unwrap(), record(&lab).tenure.unwrap());
    let keeping = Keeping::start(&lab, TookUp::Now);
    eventually("it is renewed", || keeping.told().contains(&format!("renewed {leased}")));
    eventually("that is written down", || record(&lab).tenure.unwrap().granted > first.granted);
    let now = record(&lab).tenure.unwrap();
    assert!(now.ends > first.ends && now.lease.is_some());
    assert_eq!(keeping.stopped(), End::Left);
    // Nobody keeps it: it ends by itself.
    eventually("its time is over", || addr(&guest).is_none());
    let again = Keeping::start(&lab, TookUp::FromAnother);
    eventually("there is another", || addr(&guest).is_some() && again.told().len() == 2);
    assert_eq!(again.told()[0], "lost");
    assert_eq!(again.stopped(), End::Left);
}
