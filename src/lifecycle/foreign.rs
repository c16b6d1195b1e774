//! Interfaces without a record: the original script's, known by their names, and, when it is insisted on, anybody's.

use super::detach::{DetachError, DetachOptions, Which};
use super::{Database, Machine};
use crate::guest::Held;
use crate::kernel::{System, nl80211, observe};
use crate::model::command::Commands;
use crate::model::facts::{LinkFacts, LinkKind, Names, origin_name};
use crate::model::op::Op;
use crate::model::ovs::NewOvsPort;
use crate::model::phy::PhyFacts;
use crate::model::report::DetachedInterface;
use crate::model::request::GuestRef;
use crate::model::types::{IfName, LinkRef};
use crate::plan::execute::{Event, Kernel};

/// What was taken away, and what was left.
pub(super) struct TakenForeign {
    pub(super) interface: DetachedInterface,
    pub(super) left: Vec<String>,
}

/// Takes an interface away of which there is no record; `None` when there is none of that name.
pub(super) fn detach(
    guest: &GuestRef,
    held: &Held,
    options: &DetachOptions,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Option<TakenForeign>, DetachError> {
    let name = match &options.which {
        Which::Interface(name) => name.clone(),
        Which::Only => IfName::made("eth1"),
        // Only what is recorded, or named.
        Which::All => return Ok(None),
    };
    let mut sides = observe::open(&held.namespace)?;
    if sides.home.is(&held.namespace) {
        return Ok(None);
    }
    let Some(link) = observe::link_called(&mut sides.guest, &name)? else { return Ok(None) };
    let peer = observe::peer_of(&mut sides.host, &link)?;
    let phy = nl80211::phy_in(&held.namespace, &mut sides.guest, &link)?;
    let mut database = Database::at(options.ovsdb.as_deref()).map_err(crate::model::error::KernelError::Ovs)?;
    let Some(ops) = ops(&name, &link, (peer.as_ref(), phy), held, options.force, &mut database) else {
        if options.which == Which::Only {
            // Nobody named it: it is somebody's eth1, and nothing of ours.
            return Ok(None);
        }
        return Err(DetachError::Foreign { guest: guest.to_string(), interface: name, is: link.describe() });
    };
    let commands = Commands::new(&held.id);
    let steps = ops.iter().map(|op| commands.step(op)).collect::<Vec<_>>();
    let mut left = Vec::new();
    let mut machine = Machine::new(System::new(&mut sides), &mut database);
    for op in ops.iter().filter(|_| !options.dry_run) {
        watch(Event::Undoing(op));
        if let Err(error) = machine.apply(op)
            && !error.errno().is_some_and(|errno| op.tolerates(errno))
        {
            left.push(format!("{}: {error}", op.describe()));
        }
    }
    let interface = DetachedInterface {
        guest: (&held.id).into(),
        interface: name,
        host_interface: None,
        steps: if options.steps { steps } else { Vec::new() },
    };
    Ok(Some(TakenForeign { interface, left }))
}

/// What takes it away; `None` when it is not known to be pipework's.
fn ops(
    name: &IfName,
    link: &LinkFacts,
    (peer, phy): (Option<&LinkFacts>, Option<PhyFacts>),
    held: &Held,
    force: bool,
    database: &mut Database,
) -> Option<Vec<Op>> {
    let place = LinkRef::guest(name);
    if let Some(home) = link.alt_names.iter().find_map(|alt| alt.strip_prefix(&origin_name(""))?.parse::<IfName>().ok()) {
        return Some(vec![bring_home(place, &home, phy)]);
    }
    if let Some(peer) = peer {
        let port = peer.name.parse::<IfName>().ok()?;
        let named = Names::of(&held.id).made(&format!("v{name}pl{}", held.id.number()));
        if !(link.is_ours() || port == named || force) {
            return None;
        }
        let mut ops = Vec::new();
        ops.extend(database.own_port(&port).map(|port| Op::DelOvsPort { port }));
        ops.push(Op::DelLink { link: LinkRef::host(&port) });
        return Some(ops);
    }
    if link.is_ours() {
        return Some(vec![Op::DelOwnLink { link: place }]);
    }
    if !force {
        return None;
    }
    // A NIC cannot be deleted: its name on the host is not known, and it keeps the one it has.
    let is_nic = link.kind == LinkKind::Device;
    Some(if is_nic {
        vec![
            Op::AddAltName { link: place.clone(), name: origin_name(name.as_str()) },
            bring_home(place, name, phy),
            Op::DelAltName { link: LinkRef::host(name), name: origin_name(name.as_str()) },
        ]
    } else {
        vec![Op::DelLink { link: place }]
    })
}

/// A NIC back to the host under a name there. One that is Wi-Fi goes only with its phy.
fn bring_home(from: LinkRef, name: &IfName, phy: Option<PhyFacts>) -> Op {
    let to = LinkRef::host(name);
    match phy {
        Some(PhyFacts { phy, wdev, others, .. }) => Op::MovePhy { phy, wdev, from, to, before: None, others },
        None => Op::MoveLink { from, to, before: None },
    }
}

impl Database {
    /// All ports that pipework, this one or the original, made; none when there is no database.
    pub(super) fn own_ports(&mut self) -> Vec<NewOvsPort> {
        let names = self.own_port_names().unwrap_or_default();
        names.iter().filter_map(|name| self.own_port(&name.parse().ok()?)).collect()
    }

    /// The port of that name that pipework, this one or the original, made.
    fn own_port(&mut self, name: &IfName) -> Option<NewOvsPort> {
        let port = self.port(name.as_str())?;
        let bridge = port.bridge.as_ref()?.parse().ok()?;
        port.is_ours().then(|| NewOvsPort { bridge, name: name.clone(), vlans: port.vlans.clone(), ids: port.ids.clone(), replaces: None })
    }
}
