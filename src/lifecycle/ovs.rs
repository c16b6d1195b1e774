//! Asking Open vSwitch's database, when there is reason to.

use crate::external::ovsdb::{Address, Switch};
use crate::model::facts::{Facts, HostFacts, LinkKind, Names};
use crate::model::ovs::{OvsError, OvsFacts};
use crate::model::request::{AttachRequest, HostIf};

/// The database of a request: an address that is looked at, and a connection that is opened, only when they are needed.
#[derive(Debug, Default)]
pub struct Database {
    address: Option<Address>,
    switch: Option<Switch>,
}

/// How sure it is that Open vSwitch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It cannot be.
    None,
    /// It may be: a name that is in nobody's hands, or a tap.
    Perhaps,
    /// It is, by its kind or name.
    Sure,
}

impl Database {
    /// The database at an address; `None` for that of the environment, or the usual one.
    ///
    /// # Errors
    /// [`OvsError::Address`]
    pub fn at(address: Option<&str>) -> Result<Self, OvsError> {
        Ok(Self { address: address.map(str::parse).transpose()?, switch: None })
    }

    /// The address, when ovs-vsctl does not look there by itself.
    pub fn unusual_address(&self) -> Option<String> {
        let address = self.address().ok()?;
        (address != Address::usual()).then(|| address.to_string())
    }

    fn address(&self) -> Result<Address, OvsError> {
        self.address.clone().map_or_else(Address::current, Ok)
    }

    pub(super) fn switch(&mut self) -> Result<&mut Switch, OvsError> {
        let switch = match self.switch.take() {
            Some(switch) => switch,
            None => Switch::new(self.address()?),
        };
        Ok(self.switch.insert(switch))
    }

    /// Adds to the facts what the database has of the request's names.
    ///
    /// # Errors
    /// See [`OvsError`]. That there is no such database is none where nothing says that Open vSwitch is meant.
    pub fn look(&mut self, request: &AttachRequest, facts: &mut Facts) -> Result<(), OvsError> {
        let reason = reason(request, &facts.host);
        if reason == Reason::None {
            facts.host.ovs = self.holder(request, &facts.host);
            return Ok(());
        }
        let bridge = facts.host.link.as_ref().map_or_else(|| request.host_if.to_string(), |link| link.name.clone());
        // Where the guest is attached already, its own port counts.
        let port = match &facts.host.peer {
            Some(peer) => peer.name.clone(),
            None => Names::of(&facts.guest.id).host_end(request).to_string(),
        };
        facts.host.ovs = match self.ask(&bridge, &port) {
            Err(error) if reason == Reason::Perhaps && self.address.is_none() && is_absence(&error) => None,
            answered => Some(answered?),
        };
        Ok(())
    }

    /// What the database has of a NIC that is a port of its: for the message that it cannot be shared, nothing hangs on it.
    fn holder(&mut self, request: &AttachRequest, host: &HostFacts) -> Option<OvsFacts> {
        host.master.as_ref().filter(|master| master.kind == LinkKind::OpenVswitch)?;
        let nic = if request.tag.is_some() { host.vlan_link.as_ref() } else { host.link.as_ref() }?;
        self.ask(&nic.name, &nic.name).ok()
    }

    /// The names of the ports that pipework made.
    pub(super) fn own_port_names(&mut self) -> Result<Vec<String>, OvsError> {
        self.switch()?.own_port_names()
    }

    /// What the database has of a port; `None` also when there is no database.
    pub(super) fn port(&mut self, name: &str) -> Option<crate::model::ovs::OvsPort> {
        self.ask(name, name).ok()?.port
    }

    fn ask(&mut self, bridge: &str, port: &str) -> Result<OvsFacts, OvsError> {
        self.switch()?.look(bridge, port)
    }
}

fn reason(request: &AttachRequest, host: &HostFacts) -> Reason {
    match (&host.link, &request.host_if) {
        (Some(link), _) => match &link.kind {
            LinkKind::OpenVswitch => Reason::Sure,
            // A bridge of the userspace datapath is one, but not every one is a bridge (drivers/net/tun.c).
            LinkKind::Other(kind) if kind == "tun" => Reason::Perhaps,
            _ => Reason::None,
        },
        (None, HostIf::Name(name)) if name.as_str().starts_with("ovs") => Reason::Sure,
        // Neither has to be asked when the kernel is: nothing else can be meant.
        (None, HostIf::Name(name)) if name.as_str().starts_with("dummy") => Reason::None,
        (None, HostIf::Name(_)) => Reason::Perhaps,
        (None, HostIf::Mac(_)) => Reason::None,
    }
}

/// There is no Open vSwitch here, as far as we can see.
fn is_absence(error: &OvsError) -> bool {
    // `OVS_DB` may hold an address that is ovs-vsctl's only, such as one with SSL.
    matches!(error, OvsError::Gone { .. } | OvsError::Permission { .. } | OvsError::WrongSchema { .. } | OvsError::Address { .. })
}
