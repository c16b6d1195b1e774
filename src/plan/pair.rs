//! A veth straight between two guests. Each end is planned as if it alone were a guest's; the pair itself is made once.

use thiserror::Error;

use super::{Birth, Job, Kind, Plan, PlanError, addressing, same, settings};
use crate::model::difference::Difference;
use crate::model::facts::{Facts, Names, guest_if};
use crate::model::op::{NewPair, Op, PairEnd};
use crate::model::pair::{End, PairFacts, PairRequest};
use crate::model::request::AttachRequest;
use crate::model::types::{IfAddr, IfName};

/// Why two guests cannot be linked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PairError {
    /// One of them is this host.
    #[error("{guest} is this host itself, or shares its network: a link leads from one guest to another")]
    Host {
        /// Which.
        guest: String,
        /// The other.
        other: String,
    },
    /// Both are one.
    #[error("{first} and {second} are the same network namespace: a link leads from one guest to another")]
    One {
        /// The first word.
        first: String,
        /// The second.
        second: String,
    },
    /// One end alone cannot be made.
    #[error("{interface} is one end of a link between two guests, and both are made at once")]
    OneEnd {
        /// The end.
        interface: IfName,
        /// What to type.
        remedy: String,
    },
    /// Both ends are to have one address.
    #[error("both ends are to have {addr}")]
    SameAddress {
        /// Which.
        addr: IfAddr,
    },
    /// An interface is there and is not as asked.
    #[error("{}", .0.iter().map(Differs::to_string).collect::<Vec<_>>().join("; "))]
    Differs(Vec<Differs>),
    /// Another interface of a guest has the address.
    #[error("{guest} has {addr} already, on {dev}")]
    HasAddress {
        /// The guest.
        guest: String,
        /// The address.
        addr: String,
        /// The other interface.
        dev: String,
    },
}

/// What is not as asked of one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The guest.
    pub guest: String,
    /// The interface there.
    pub interface: IfName,
    /// Field by field.
    pub differences: Vec<Difference>,
}

impl std::fmt::Display for Differs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} exists in {} and is not as asked: {}", self.interface, self.guest, super::error::list(&self.differences))
    }
}

impl PairError {
    /// One end was asked for as if it were an attach.
    pub(super) fn of_one(request: &AttachRequest) -> Self {
        let (interface, other) = (guest_if(request), request.host_if.to_string());
        let remedy = format!("pipework link {}:{interface}={} {}", request.guest, request.addr, other.trim_start_matches("link:"));
        Self::OneEnd { interface, remedy }
    }

    /// What to type instead.
    pub fn hint(&self) -> String {
        match self {
            Self::Host { other, .. } => format!(
                "to join {other} with this host give it a bridge, and the bridge an address: pipework br1 {other} 10.0.0.2/24 && ip addr add 10.0.0.1/24 dev br1"
            ),
            Self::One { .. } => "name two guests; `ls -l /proc/PID/ns/net` shows which namespace a process is in".into(),
            Self::OneEnd { remedy, .. } => remedy.clone(),
            Self::SameAddress { .. } => "give each its own, like web=10.0.0.1/30 db=10.0.0.2/30".into(),
            Self::Differs(ends) => {
                let take = ends.iter().map(|end| format!("pipework detach {} -i {}", end.guest, end.interface)).collect::<Vec<_>>();
                format!("choose another name, GUEST:IF, or take it away first: {}", take.join(" && "))
            }
            Self::HasAddress { dev, .. } => format!("choose another address, or take it from {dev} first"),
        }
    }
}

/// Plans a link between two guests.
///
/// # Errors
/// Whatever would make it fail and can be known beforehand; see [`PlanError`].
pub fn pair(request: &PairRequest, facts: &PairFacts) -> Result<Plan, PlanError> {
    let requests = request.requests();
    let [first, second] = [0, 1].map(|n| Side { request: &requests[n], facts: &facts.ends[n] });
    check(request, facts, [first, second])?;
    let differs = same_ends(facts, [first, second]);
    let plan = |ops, warnings| Plan {
        ops,
        warnings,
        guest_if: guest_if(first.request),
        host_if: first.request.host_if.to_string(),
        announce: None,
        access: None,
    };
    match differs {
        Some(differs) if differs.is_empty() => return Ok(plan(Vec::new(), Vec::new())),
        Some(differs) => return Err(PairError::Differs(differs).into()),
        None => {}
    }
    let end = |side: Side<'_>| PairEnd { guest: side.name().to_owned(), interface: guest_if(side.request) };
    let pair = NewPair { first: end(first), second: end(second), mtu: request.mtu.map(|mtu| mtu.get()) };
    let mut ops = vec![Op::AddPair { pair }];
    for (which, side) in [(End::First, first), (End::Second, second)] {
        ops.extend(side.ops()?.into_iter().map(|op| op.at(which, side.name())));
    }
    Ok(plan(ops, warnings(request)))
}

/// One end as a guest of its own.
#[derive(Clone, Copy)]
struct Side<'a> {
    request: &'a AttachRequest,
    facts: &'a Facts,
}

impl Side<'_> {
    fn name(&self) -> &str {
        &self.facts.guest.id.name
    }

    fn ops(&self) -> Result<Vec<Op>, PlanError> {
        let Self { request, facts } = *self;
        let job = Job { request, facts, birth: Birth::Guest, names: Names::of(&facts.guest.id), guest_if: guest_if(request) };
        settings::check(&job)?;
        addressing::check(&job).map_err(|error| match error {
            PlanError::GuestHasAddress { addr, dev } => PairError::HasAddress { guest: self.name().to_owned(), addr, dev }.into(),
            other => other,
        })?;
        Ok(addressing::ops(&job, Kind::Pair))
    }
}

fn check(request: &PairRequest, facts: &PairFacts, [first, second]: [Side<'_>; 2]) -> Result<(), PairError> {
    for (side, other) in [(first, second), (second, first)] {
        if side.facts.guest.shares_host {
            return Err(PairError::Host { guest: side.name().to_owned(), other: other.name().to_owned() });
        }
    }
    if facts.one {
        return Err(PairError::One { first: first.name().to_owned(), second: second.name().to_owned() });
    }
    let [one, other] = &request.ends;
    match one.addr.addrs.iter().find(|addr| other.addr.addrs.iter().any(|theirs| theirs.ip() == addr.ip())) {
        Some(addr) => Err(PairError::SameAddress { addr: *addr }),
        None => Ok(()),
    }
}

/// `None` when neither end is there; else what differs.
fn same_ends(facts: &PairFacts, sides: [Side<'_>; 2]) -> Option<Vec<Differs>> {
    if sides.iter().all(|side| side.facts.guest.link.is_none()) {
        return None;
    }
    let differs = sides.iter().filter_map(|side| {
        let link = side.facts.guest.link.as_ref()?;
        let differences = same::linked(side.request, side.facts, link, facts.joined).unwrap_or_default();
        let (guest, interface) = (side.name().to_owned(), guest_if(side.request));
        (!differences.is_empty()).then_some(Differs { guest, interface, differences })
    });
    Some(differs.collect())
}

/// Two ends that have addresses of one family and cannot talk.
fn warnings(request: &PairRequest) -> Vec<String> {
    let [one, other] = &request.ends;
    let reaches = |from: &IfAddr, to: &IfAddr| from.contains(to.ip());
    let apart = one.addr.addrs.iter().find_map(|addr| {
        let same_family = other.addr.of(addr.family()).collect::<Vec<_>>();
        let lonely = !same_family.is_empty() && !same_family.iter().any(|theirs| reaches(addr, theirs) && reaches(theirs, addr));
        lonely.then(|| {
            same_family.first().map(|theirs| format!("{addr} and {theirs} are not in one subnet: the two ends need routes to each other"))
        })
    });
    let routed = !one.addr.gateways.is_empty() || !other.addr.gateways.is_empty();
    apart.flatten().filter(|_| !routed).into_iter().collect()
}

/// The steps of a link that concern one of the two guests, as if it alone were attached: for its record.
pub fn steps_of(ops: &[Op], end: End) -> Vec<Op> {
    let op = |op: &Op| match op {
        Op::AddPair { pair } => Some(Op::AddPair { pair: pair.seen_from(end) }),
        Op::At { end: at, step, .. } if *at == end => Some(step.as_ref().clone()),
        _ => None,
    };
    ops.iter().filter_map(op).collect()
}

impl Plan {
    /// What of a link's plan concerns one of the two guests, as [`steps_of`] has it.
    pub fn of_end(&self, end: End, request: &AttachRequest) -> Self {
        let (ops, host_if) = (steps_of(&self.ops, end), request.host_if.to_string());
        Self { ops, guest_if: guest_if(request), host_if, ..self.clone() }
    }
}
