//! Many at once, some of them killed: no address is given twice, and nothing is left.
//!
//! `PIPEWORK_TEST_CNI=200 cargo test --test cni many` runs it with 200 containers in five rounds; 24 in two when nothing is said.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::{Lab, Space, assert_same, no_root};
use crate::runtime::{Attachment, Network, ended, left, start};

/// Numbers that look drawn by lot, the same in each run (Numerical Recipes' generator).
struct Lot(u64);

impl Lot {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

/// How long one that is to be killed may go on, at most, for each that runs beside it.
const EACH_US: u64 = 3000;

fn wanted() -> usize {
    std::env::var("PIPEWORK_TEST_CNI").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

fn conf() -> Value {
    let ipam = json!({ "type": "pipework", "subnet": "10.1.0.0/16", "rangeEnd": "10.1.1.255" });
    json!({ "cniVersion": "1.1.0", "name": "lan", "type": "pipework", "bridge": "br7", "ipam": ipam })
}

/// Starts all at once; every fourth is killed by its number after a time drawn by lot. Whether each went well.
fn at_once(lab: &Lab, verb: &str, all: &[Attachment], lot: &mut Lot) -> Vec<bool> {
    let text = conf().to_string();
    let mut children: Vec<Child> = Vec::new();
    let mut doomed: Vec<(usize, Instant)> = Vec::new();
    let kill_due = |children: &mut Vec<Child>, doomed: &mut Vec<(usize, Instant)>| {
        let now = Instant::now();
        // nsenter has become the program: its number is ours to kill until it is waited for.
        doomed.iter().filter(|(_, at)| *at <= now).for_each(|(n, _)| drop(children[*n].kill()));
        doomed.retain(|(_, at)| *at > now);
    };
    for (n, at) in all.iter().enumerate() {
        children.push(start(lab, "pipework", &at.variables(verb), text.as_bytes()));
        if n.is_multiple_of(4) {
            doomed.push((n, Instant::now() + Duration::from_micros(1000 + lot.below(EACH_US * all.len() as u64))));
        }
        kill_due(&mut children, &mut doomed);
    }
    while !doomed.is_empty() {
        std::thread::sleep(Duration::from_micros(100));
        kill_due(&mut children, &mut doomed);
    }
    let one = |(n, child): (usize, Child)| {
        let answer = ended(child);
        assert!(answer.well || n.is_multiple_of(4), "{verb}: {answer:?}");
        answer.well
    };
    children.into_iter().enumerate().map(one).collect()
}

fn addresses(guests: &[Space]) -> Vec<String> {
    guests.iter().flat_map(|guest| guest.addrs("eth0")).collect()
}

#[test]
fn many_at_once_some_of_them_killed_never_have_one_address_and_leave_nothing() {
    if no_root() {
        return;
    }
    let (count, lab) = (wanted(), Lab::new());
    let before = lab.host.state();
    let guests: Vec<Space> = (0..count).map(|_| lab.guest()).collect();
    let all: Vec<Attachment> = guests.iter().enumerate().map(|(n, guest)| Attachment::new(&format!("c{n}"), guest)).collect();
    let network = Network::new(&lab, "1.1.0", json!([conf()]));
    let mut lot = Lot(u64::from(std::process::id()));
    eprintln!("by lot {}", lot.0);
    let rounds = if count > 100 { 5 } else { 2 };
    let mut cut = 0;
    for round in 0..rounds {
        let made = at_once(&lab, "ADD", &all, &mut lot);
        cut += made.iter().filter(|well| !**well).count();
        let given = addresses(&guests);
        let different: BTreeSet<&String> = given.iter().collect();
        assert_eq!(given.len(), different.len(), "round {round}: an address is given twice: {given:?}");
        assert!(given.len() >= made.iter().filter(|well| **well).count(), "round {round}");
        // A runtime deletes what it could not add.
        all.iter().zip(&made).filter(|(_, well)| !**well).for_each(|(at, _)| network.del(at, None));
        assert_eq!(addresses(&guests).len(), made.iter().filter(|well| **well).count(), "round {round}");
        let gone = at_once(&lab, "DEL", &all, &mut lot);
        cut += gone.iter().filter(|well| !**well).count();
        if round % 2 == 0 {
            all.iter().zip(&gone).filter(|(_, well)| !**well).for_each(|(at, _)| network.del(at, None));
        } else {
            network.gc(&[]).unwrap();
        }
        assert_eq!((addresses(&guests), left(&lab)), (Vec::new(), Vec::new()), "round {round}");
        assert_same(&before, &lab.host.state(), &format!("round {round}"));
        let gc = lab.run("gc");
        assert_eq!((gc.code, gc.out.as_str()), (Some(0), ""), "round {round}: {}", gc.err);
    }
    eprintln!("{rounds} rounds of {count}: {cut} were killed before their end");
}

#[test]
fn an_add_that_is_killed_at_any_moment_leaves_nothing_that_del_or_gc_does_not_take() {
    if no_root() {
        return;
    }
    let (lab, mut lot) = (Lab::new(), Lot(u64::from(std::process::id()) + 7));
    let before = lab.host.state();
    let network = Network::new(&lab, "1.1.0", json!([conf()]));
    let mut cut = 0;
    for n in 0..wanted() / 2 {
        let guest = lab.guest();
        let at = Attachment::new("web", &guest);
        let clean = crate::lab::both(&lab, &guest);
        let mut child = start(&lab, "pipework", &at.variables("ADD"), conf().to_string().as_bytes());
        std::thread::sleep(Duration::from_micros(lot.below(12_000)));
        let _ = child.kill();
        cut += usize::from(!ended(child).well);
        match n % 3 {
            0 => network.del(&at, None),
            1 => network.gc(&[]).unwrap(),
            // The container is dead as well, and its runtime has forgotten where it was.
            _ => {
                drop(guest);
                network.del(&Attachment { netns: String::new(), ..at.clone() }, None);
                assert_eq!(left(&lab), Vec::<String>::new(), "{n}");
                assert_same(&before, &lab.host.state(), &format!("{n}"));
                continue;
            }
        }
        assert_eq!(left(&lab), Vec::<String>::new(), "{n}");
        assert_same(&clean, &crate::lab::both(&lab, &guest), &format!("{n}"));
    }
    eprintln!("{cut} were killed before their end");
}
