//! What is wrong with lines before any is done: with one alone, with two together, and with all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use super::Guest;
use super::work::{Line, Work};
use crate::guest::Directory;
use crate::kernel::observe;
use crate::lifecycle::error::chain;
use crate::lifecycle::{Which, recording};
use crate::model::conflict::network;
use crate::model::facts;
use crate::model::request::{AttachRequest, GuestRef, HostIf};
use crate::model::types::IfName;
use crate::plan;
use crate::state::Records;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The line's number.
    pub number: usize,
    /// Why it cannot be done, and what to type instead.
    pub why: String,
}

/// Finds what is wrong with lines, all of it: guests that are not there, names and addresses that are given twice, bridges without
/// room. `run_dir`: where records are kept; without it, only what the lines themselves tell.
pub fn check(lines: &[Line], run_dir: Option<&Path>) -> Vec<Flaw> {
    let mut found = Checker::default();
    if run_dir.is_some() {
        found.guests(lines);
    }
    lines.iter().for_each(|line| found.line(line));
    if let Some(records) = run_dir.and_then(|run_dir| recording::records(run_dir).ok()) {
        found.bridges(&records);
    }
    found.flaws.sort_by_key(|flaw| flaw.number);
    found.flaws
}

#[derive(Default)]
struct Checker {
    flaws: Vec<Flaw>,
    netns: HashMap<String, u64>,
    /// Which line gives a guest an interface.
    interfaces: HashMap<(Guest, IfName), usize>,
    /// Which line takes an address on a network, and for whom.
    addresses: HashMap<(String, IpAddr), (usize, Guest)>,
    /// Which line gives the host's end a name.
    host_ends: HashMap<IfName, usize>,
    /// Which line moves a NIC.
    nics: HashMap<String, usize>,
    /// Lines that want a port of a bridge.
    ports: HashMap<IfName, Vec<Port>>,
}

/// A port that a line wants.
struct Port {
    number: usize,
    guest: Guest,
    interface: IfName,
}

impl Checker {
    fn flaw(&mut self, number: usize, why: String) {
        self.flaws.push(Flaw { number, why });
    }

    /// Whether all guests are there. One that is to be detached may be gone.
    fn guests(&mut self, lines: &[Line]) {
        let directory = Directory::of(lines.iter().flat_map(|line| line.work.guests()));
        let mut absent: HashMap<String, String> = HashMap::new();
        for line in lines {
            let may_be_gone = matches!(line.work, Work::Detach { .. });
            for guest in line.work.guests() {
                let word = guest.to_string();
                if self.netns.contains_key(&word) {
                    continue;
                }
                if let Some(why) = absent.get(&word) {
                    if !may_be_gone {
                        self.flaw(line.number, why.clone());
                    }
                    continue;
                }
                match directory.hold(guest) {
                    Ok(held) => {
                        self.netns.insert(word, held.id.netns);
                    }
                    Err(error) => {
                        let why = chain(&error).join(": ");
                        if !may_be_gone {
                            self.flaw(line.number, why.clone());
                        }
                        absent.insert(word, why);
                    }
                }
            }
        }
    }

    fn guest(&self, word: &GuestRef) -> Guest {
        let text = word.to_string();
        self.netns.get(&text).map_or(Guest::Word(text), |netns| Guest::Netns(*netns))
    }

    fn line(&mut self, line: &Line) {
        match &line.work {
            Work::Attach { request, options, replace } => {
                if options.dry_run {
                    self.flaw(line.number, "--dry-run is for the whole batch: put it before the file's name".into());
                }
                self.attach(line.number, request, *replace);
            }
            Work::Link { request, .. } => {
                for request in request.requests() {
                    self.interface(line.number, &request, false);
                }
            }
            Work::Detach { guest, options } => self.forget(&self.guest(guest), &options.which),
            Work::Edit { .. } => {}
        }
    }

    fn attach(&mut self, number: usize, request: &AttachRequest, replace: bool) {
        if let Some(dynamic) = request.dynamic.as_ref().filter(|dynamic| dynamic.stays()) {
            self.flaw(
                number,
                format!("{dynamic} stays to keep its lease, and a batch does not: leave the -f away, or type it as a command of its own"),
            );
        }
        self.interface(number, request, replace);
        let who = self.guest(&request.guest);
        let network = network(request, &request.host_if.to_string());
        let is_dummy = matches!(&request.host_if, HostIf::Name(name) if name.as_str().starts_with("dummy"));
        for addr in request.addr.addrs.iter().filter(|_| !is_dummy && !request.force) {
            match self.addresses.get(&(network.clone(), addr.ip())) {
                Some((first, other)) if *other != who => {
                    let first = *first;
                    self.flaw(
                        number,
                        format!("{} on {network} is another guest's in line {first}: give another address, or --force", addr.ip()),
                    );
                }
                _ => {
                    self.addresses.insert((network.clone(), addr.ip()), (number, who.clone()));
                }
            }
        }
        if let Some(name) = &request.local_if {
            match self.host_ends.get(name).copied() {
                Some(first) if !replace => {
                    self.flaw(number, format!("-l {name} is the name of another link in line {first}: give another"))
                }
                _ => {
                    self.host_ends.insert(name.clone(), number);
                }
            }
        }
        if request.direct_phys {
            let nic = format!("{}{}", request.host_if, request.tag.as_ref().map(|tag| format!("@{tag}")).unwrap_or_default());
            match self.nics.get(&nic).copied() {
                Some(first) => self.flaw(number, format!("{nic} goes to another guest in line {first}: a NIC can be in one only")),
                None => {
                    self.nics.insert(nic, number);
                }
            }
        }
        if let (HostIf::Name(name), false) = (&request.host_if, request.direct_phys) {
            let interface = facts::guest_if(request);
            self.ports.entry(name.clone()).or_default().push(Port { number, guest: who, interface });
        }
    }

    fn interface(&mut self, number: usize, request: &AttachRequest, replace: bool) {
        if request.settings.auto_name {
            return;
        }
        let name = facts::guest_if(request);
        let key = (self.guest(&request.guest), name);
        match self.interfaces.get(&key).copied() {
            Some(first) if !replace => {
                let (guest, name) = (&request.guest, &key.1);
                self.flaw(number, format!("{name} of {guest} is made in line {first} already: name another with -i"));
            }
            _ => {
                self.interfaces.insert(key, number);
            }
        }
    }

    /// What a detach gives up can be given again.
    fn forget(&mut self, guest: &Guest, which: &Which) {
        let goes = |name: &IfName| match which {
            Which::Interface(one) => one == name,
            Which::Only | Which::All => true,
        };
        let gone: Vec<usize> = self.interfaces.iter().filter(|((who, name), _)| who == guest && goes(name)).map(|(_, n)| *n).collect();
        self.interfaces.retain(|_, number| !gone.contains(number));
        self.addresses.retain(|_, (number, _)| !gone.contains(number));
        self.host_ends.retain(|_, number| !gone.contains(number));
        self.nics.retain(|_, number| !gone.contains(number));
        self.ports.values_mut().for_each(|ports| ports.retain(|port| !gone.contains(&port.number)));
    }

    /// Whether bridges have room for all that want a port.
    fn bridges(&mut self, records: &Records) {
        for (bridge, mut wanted) in std::mem::take(&mut self.ports) {
            let Ok(Some(used)) = observe::ports_of(&bridge) else { continue };
            let room = plan::MAX_PORTS.saturating_sub(used);
            if wanted.len() <= room {
                continue;
            }
            // Those that are there need no other.
            let is_there = |port: &Port| match &port.guest {
                Guest::Netns(netns) => matches!(records.get(*netns, &port.interface), Ok(Ok(Some(_)))),
                Guest::Word(_) => false,
            };
            wanted.retain(|port| !is_there(port));
            if let Some(first) = wanted.get(room) {
                let (most, count) = (plan::MAX_PORTS, wanted.len());
                let why = format!(
                    "bridge {bridge} has room for {room} more ports of the {most} that the kernel allows, and {count} lines want one: from this line on use another bridge, or macvlans on a NIC"
                );
                self.flaw(first.number, why);
            }
        }
    }
}
