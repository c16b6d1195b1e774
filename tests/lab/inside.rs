//! Driving the library itself on a lab's host: for tests that stand between two steps.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use nix::errno::Errno;
use pipework::guest;
use pipework::kernel::System;
use pipework::kernel::again::{Known, look_again};
use pipework::kernel::netns::Namespace;
use pipework::kernel::observe;
use pipework::kernel::pair;
use pipework::lifecycle::{Database, Machine};
use pipework::model::conflict::{Dad, DadMode};
use pipework::model::error::KernelError;
use pipework::model::lease::Lease;
use pipework::model::op::Op;
use pipework::model::pair::PairRequest;
use pipework::model::record::Record;
use pipework::model::request::{AddrWord, AttachRequest, GuestRef, MacAndTag};
use pipework::model::sharing::Sharing;
use pipework::plan::execute::{Kernel, execute};
use pipework::plan::{Birth, LeaseTarget, Past, Plan, converge, plan};

use super::Space;

/// A request from its words: `HOSTIF ADDR [MAC][@VLAN]`; `--dad` (fail), `--direct-phys`, `--force`, `--host-access`, `--vlan-filtering`, `--macvlan=MODE`,
/// `--macvtap=MODE` or `--ipvlan=MODE` may stand first.
pub fn request(words: &str, guest: &Space) -> AttachRequest {
    let [direct_phys, force, vlan_filtering] = ["--direct-phys", "--force", "--vlan-filtering"].map(|flag| words.contains(flag));
    let host_access = words.contains("--host-access");
    let mode_of_dad = if words.contains("--dad") { DadMode::Fail } else { DadMode::Off };
    let dad = Dad { mode: mode_of_dad, patient: false };
    let mode = |option: &str| words.split_whitespace().find_map(|w| w.strip_prefix(option));
    let macvlan = mode("--macvlan=").map(|m| Sharing::Macvlan(m.parse().unwrap()));
    let macvtap = mode("--macvtap=").map(|m| Sharing::Macvtap(m.parse().unwrap()));
    let sharing = macvlan.or(macvtap).or(mode("--ipvlan=").map(|m| Sharing::Ipvlan(m.parse().unwrap())));
    let mut words = words.split_whitespace().filter(|w| !w.starts_with("--"));
    let host_if = words.next().unwrap().parse().unwrap();
    let addr: AddrWord = words.next().unwrap().parse().unwrap();
    let last: MacAndTag = words.next().unwrap_or_default().parse().unwrap();
    let all = AttachRequest::new(host_if, GuestRef::Pid(guest.pid()), addr);
    AttachRequest { mac: last.mac, tag: last.tag, dad, direct_phys, force, host_access, vlan_filtering, sharing, ..all }
}

/// How a step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The kernel refuses it.
    Refused,
    /// It is done, but the answer is lost.
    AnswerLost,
}

/// A kernel whose n-th step goes wrong.
struct Faulty<'a, 'b> {
    system: &'a mut Machine<'b>,
    left: usize,
    fault: Fault,
}

impl Kernel for Faulty<'_, '_> {
    fn apply(&mut self, op: &Op) -> Result<(), KernelError> {
        if self.left == 0 {
            self.left = usize::MAX;
            return match self.fault {
                Fault::Refused => Err(KernelError::Refused { errno: Errno::EIO, text: Some("injected".into()) }),
                Fault::AnswerLost => self.system.apply(op).and(Err(KernelError::Unanswered(1))),
            };
        }
        self.left = self.left.wrapping_sub(1);
        self.system.apply(op)
    }
}

/// Both of them.
pub const FAULTS: [Fault; 2] = [Fault::Refused, Fault::AnswerLost];

/// What came of a plan with one step going wrong.
pub struct Outcome {
    /// Whether the step was reached.
    pub failed: bool,
    /// What could not be taken back.
    pub left: Vec<String>,
    /// How many steps the plan has.
    pub steps: usize,
}

impl Outcome {
    /// Carries a plan out on a kernel where a step goes wrong.
    fn of(plan: &Plan, kernel: &mut Faulty<'_, '_>) -> Self {
        let result = execute(plan, kernel, &mut |_| {});
        let left = match &result {
            Err(error) => error.undone.left.iter().map(|(op, why)| format!("{}: {why}", op.describe())).collect(),
            Ok(_) => Vec::new(),
        };
        Self { failed: result.is_err(), left, steps: plan.ops().len() }
    }
}

/// Plans the request on the host, lets its n-th step go wrong, and undoes.
pub fn fail_at(host: &Space, ovsdb: Option<&str>, request: &AttachRequest, birth: Birth, n: usize, fault: Fault) -> Outcome {
    on_host(host, ovsdb, |system, plan| {
        let mut faulty = Faulty { system, left: n, fault };
        Outcome::of(plan, &mut faulty)
    })(request, birth)
}

/// Plans a link of two guests, lets its n-th step go wrong, and undoes.
pub fn fail_link_at(host: &Space, request: &PairRequest, n: usize, fault: Fault) -> Outcome {
    let namespace = Namespace::open(Path::new(&format!("/proc/{}/ns/net", host.pid()))).unwrap();
    let work = || {
        let [near, far] = request.requests().map(|request| guest::hold(&request.guest).unwrap());
        let (facts, [mut near_sides, mut far_sides]) =
            pair::look(request, [(&near.namespace, &near.id), (&far.namespace, &far.id)]).unwrap();
        let plan = pipework::plan::pair(request, &facts).unwrap();
        let mut database = Database::default();
        let system = System::new(&mut near_sides).linked_to(System::new(&mut far_sides));
        let mut machine = Machine::new(system, &mut database);
        Ok(Outcome::of(&plan, &mut Faulty { system: &mut machine, left: n, fault }))
    };
    namespace.inside(work).unwrap()
}

/// Plans what makes a recorded interface as the request asks, lets its n-th step go wrong, and undoes.
pub fn fail_change_at(host: &Space, record: &Record, request: &AttachRequest, n: usize, fault: Fault) -> Outcome {
    let namespace = Namespace::open(Path::new(&format!("/proc/{}/ns/net", host.pid()))).unwrap();
    let work = || {
        let held = guest::hold(&request.guest).unwrap();
        let known = Known { index: record.link.as_ref().map(|link| link.index), log: &record.done };
        let (facts, mut sides) = look_again(request, &held.namespace, held.id.clone(), known).unwrap();
        let past = Past { log: &record.done, mac: record.link.as_ref().and_then(|link| link.mac) };
        let plan = converge(request, &facts, &past, Birth::Guest).unwrap();
        let mut database = Database::default();
        let mut machine = Machine::new(System::new(&mut sides).knowing(&facts), &mut database);
        Ok(Outcome::of(&plan, &mut Faulty { system: &mut machine, left: n, fault }))
    };
    namespace.inside(work).unwrap()
}

/// Carries a lease out on the guest's `eth1`, lets the n-th step go wrong, and undoes.
pub fn fail_lease_at(host: &Space, guest: &Space, lease: &Lease, n: usize, fault: Fault) -> Outcome {
    let namespace = Namespace::open(Path::new(&format!("/proc/{}/ns/net", host.pid()))).unwrap();
    let request = request("br0 0/0", guest);
    let work = || {
        let held = guest::hold(&request.guest).unwrap();
        let (facts, mut sides) = observe::look(&request, &held.namespace, held.id.clone()).unwrap();
        let default_routes = observe::default_routes(&mut sides.guest, lease.addr.ip()).unwrap();
        let link = facts.guest.link.unwrap();
        let guest_if = link.name.parse().unwrap();
        let target =
            LeaseTarget { guest_if: &guest_if, mtu: link.mtu, default_routes: &default_routes, settings: &request.settings, renewed: true };
        let plan = pipework::plan::lease(lease, &target);
        let mut database = Database::default();
        let mut system = Machine::new(System::new(&mut sides), &mut database);
        Ok(Outcome::of(&plan, &mut Faulty { system: &mut system, left: n, fault }))
    };
    namespace.inside(work).unwrap()
}

/// Carries the request out and takes it back.
pub fn there_and_back(host: &Space, request: &AttachRequest, birth: Birth, between: impl Fn() + Sync) {
    on_host(host, None, |system, plan| {
        let done = execute(plan, system, &mut |_| {}).unwrap();
        between();
        let undone = done.undo(system, &mut |_| {});
        assert!(undone.left.is_empty(), "{:?}", undone.left);
    })(request, birth);
}

/// Runs `work` on a thread in the host's namespace, with the request planned.
fn on_host<'a, T: Send>(
    host: &'a Space,
    ovsdb: Option<&'a str>,
    work: impl Fn(&mut Machine<'_>, &Plan) -> T + Sync + 'a,
) -> impl Fn(&AttachRequest, Birth) -> T + 'a {
    move |request, birth| {
        let path = format!("/proc/{}/ns/net", host.pid());
        let namespace = Namespace::open(Path::new(&path)).unwrap();
        namespace
            .inside(|| {
                let held = guest::hold(&request.guest).unwrap();
                let (mut facts, mut sides) = observe::look(request, &held.namespace, held.id.clone()).unwrap();
                let mut database = Database::at(ovsdb).unwrap();
                if ovsdb.is_some() {
                    database.look(request, &mut facts).unwrap();
                }
                let plan = plan(request, &facts, birth).unwrap();
                let mut machine = Machine::new(System::new(&mut sides), &mut database);
                Ok(work(&mut machine, &plan))
            })
            .unwrap()
    }
}

/// For every step and both ways of going wrong: both sides look as before.
pub fn every_step_rolls_back(words: &str, host_setup: &str, guest_setup: &str) {
    for birth in [Birth::Guest, Birth::Host] {
        every_step_of_a_birth_rolls_back(birth, words, host_setup, guest_setup);
    }
}

/// As [`every_step_rolls_back`], with links made in one place only.
pub fn every_step_of_a_birth_rolls_back(birth: Birth, words: &str, host_setup: &str, guest_setup: &str) {
    let (lab, guest) = (super::Lab::new(), Space::new());
    lab.host.sh(host_setup);
    guest.sh(guest_setup);
    rolls_back_on(&lab, &guest, None, words, birth, &FAULTS, &|| super::both(&lab, &guest));
}

/// The same in a lab that is there, for what its state is. An attach that nothing goes wrong with ends it. A slow machine may
/// do with lost answers: such a step has the same to undo as a refusal of the next.
pub fn rolls_back_on(
    lab: &super::Lab,
    guest: &Space,
    ovsdb: Option<&str>,
    words: &str,
    birth: Birth,
    faults: &[Fault],
    state: &dyn Fn() -> Vec<String>,
) {
    request_rolls_back_on(lab, guest, ovsdb, &request(words, guest), birth, faults, state);
}

/// The same for a request that is there.
pub fn request_rolls_back_on(
    lab: &super::Lab,
    guest: &Space,
    ovsdb: Option<&str>,
    request: &AttachRequest,
    birth: Birth,
    faults: &[Fault],
    state: &dyn Fn() -> Vec<String>,
) {
    let words = format!("{} {}", request.host_if, request.addr);
    let before = super::settled(&[&lab.host, guest], state);
    let mut steps = 0;
    for n in 0..100 {
        for fault in faults {
            let outcome = fail_at(&lab.host, ovsdb, request, birth, n, *fault);
            if !outcome.failed {
                steps = outcome.steps;
                break;
            }
            assert_eq!(outcome.left, Vec::<String>::new(), "{words}, step {n}");
            // The kernel makes the routes of an IPv6 address in its own time: only what stays otherwise is wrong.
            let now = state();
            let now = if now == before { now } else { super::settled(&[&lab.host, guest], state) };
            super::assert_same(&before, &now, &format!("{words}, {birth:?}, step {n}, {fault:?}"));
        }
        if steps > 0 {
            assert_eq!(n, steps, "every step was made to fail");
            break;
        }
    }
    assert!(steps > 0, "{words}: the plan was never carried out");
}
