//! An attachment in words: what stands in a topology file, and what the options of `attach` come to.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;
use crate::model::conflict::{Dad, DadMode};
use crate::model::error::InputError;
use crate::model::request::{AddrWord, AttachRequest, MacAndTag};
use crate::model::settings::{Offloads, Settings};
use crate::model::sharing::{IpvlanMode, MacvlanMode, Sharing};
use crate::model::types::{Family, IfName};

/// The word for the first free name.
pub const AUTO_NAME: &str = "auto";

/// A guest's interface, as `pipework attach` makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Bridge (br..., and Open vSwitch's ovs..., is made when absent), NIC, InfiniBand interface, mac:<NIC's address>, or dummy.
    pub host_if: String,
    /// Container's name or ID, docker:NAME, podman:NAME, lxc:NAME, pid:N, netns:NAME, netns:/path.
    pub guest: String,
    /// Name of the interface in the guest; eth1 when absent, on InfiniBand ib0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_if: Option<String>,
    /// Name of the veth pair's end on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_if: Option<String>,
    /// Addresses as IP/PREFIX, IPv4 and IPv6; or pool:NAME, pool:NAME#ADDRESS, which stands alone and has its gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The guest's default gateways, at most one of a family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// Who gives the address, in the place of addresses and gateways: dhcp, dhcp6, slaac, udhcpc[-f], dhclient[-f], dhcpcd[-f],
    /// dhcp-container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<String>,
    /// Address family that the addresses have to be of: 4, 6, inet, inet6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// MAC address, or U:STRING to make one of any string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// VLAN: 10; on a bridge also tagged ones, "10,20-30" or ",20-30"; on a NIC also "ad:100"; on InfiniBand a partition key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Word>,
    /// Move the NIC itself into the guest, not a macvlan on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct_phys: bool,
    /// Share the NIC by a macvlan in that mode: bridge (the default), vepa, private, passthru, source:MAC,MAC...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macvlan: Option<String>,
    /// Share the NIC by an ipvlan, which has no MAC address of its own: l2, l3, l3s, with :private or :vepa behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipvlan: Option<String>,
    /// Share the NIC by a macvtap, for a virtual machine; modes as macvlan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macvtap: Option<String>,
    /// With vlan: make a bridge that is there filter VLANs, which its other ports will notice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vlan_filtering: bool,
    /// Even where this host needs the NIC or bridge itself, and where another guest has the address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Let host and guest reach each other, which a macvlan alone does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_access: bool,
    /// Ask the network who has the address first: off, warn, fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dad: Option<String>,
    /// With dad: ask as slowly as RFC 5227 says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dad_wait: bool,
    /// MTU of the guest's interface, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Word>,
    /// Metric of the gateways' routes; other default routes then stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Routes, each in the words of `ip route add`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Rules, each in the words of `ip rule add`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Source routing by a table of the interface's own: "auto" or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Word>,
    /// The most that passes into and out of the guest, like 10mbit/2mbit, 10mbit/2mbit:64kb, 10mbit/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// What becomes of packets that leave: delay=100ms,jitter=10ms,loss=0.3%,duplicate=,corrupt=,reorder=,rate=,limit=.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netem: Option<String>,
    /// Features as `ethtool -K` names them, each like tx=off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offloads: Vec<String>,
    /// How many packets may wait at the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txqueuelen: Option<u32>,
    /// How many queues a veth's ends get when it is made; one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<NonZeroU16>,
    /// Settings of the guest's interface, each like net.ipv4.conf.IF.arp_ignore=1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<String>,
    /// MAC address of the veth pair's end on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_mac: Option<String>,
    /// Keep it as a wanted attachment, which `pipework repair` brings back after a restart of guest or host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub persist: bool,
    /// How many seconds dynamic may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp_timeout: Option<u32>,
    /// Write the DHCP server's DNS servers and domains into the guest's /etc/resolv.conf.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp_dns: bool,
    /// Image with a udhcpc for dhcp-container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp_image: Option<String>,
    /// Open vSwitch's database: unix:PATH or tcp:ADDRESS:PORT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovsdb: Option<String>,
    /// Leave the link /var/run/netns/PID in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_netns: bool,
}

/// What an attachment says beyond its request: how to go about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Keep it for a restart.
    pub persist: bool,
    /// Seconds that an address may take to come.
    pub dhcp_timeout: Option<u32>,
    /// The DHCP server's DNS servers go into the guest's resolv.conf.
    pub dhcp_dns: bool,
    /// The image of `dhcp-container`.
    pub dhcp_image: Option<String>,
    /// Address of Open vSwitch's database.
    pub ovsdb: Option<String>,
    /// Leave the link in /var/run/netns.
    pub keep_netns: bool,
}

/// What is wrong, key by key.
struct Reader(Vec<(&'static str, InputError)>);

impl Reader {
    fn take<T>(&mut self, key: &'static str, read: Result<T, InputError>) -> Option<T> {
        read.map_err(|error| self.0.push((key_of(&error).unwrap_or(key), error))).ok()
    }

    /// The original takes an empty word for an absent one: scripts write "$MAC@$VLAN".
    fn one<T: std::str::FromStr<Err = InputError>>(&mut self, key: &'static str, text: Option<&str>) -> Option<T> {
        let read = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
        self.take(key, read).flatten()
    }

    fn all<T: std::str::FromStr<Err = InputError>>(&mut self, key: &'static str, texts: &[String]) -> Vec<T> {
        texts.iter().filter_map(|text| self.take(key, text.parse())).collect()
    }
}

/// The key that an error is about, where several are read as one word.
fn key_of(error: &InputError) -> Option<&'static str> {
    match error {
        InputError::Vlan { .. } => Some("vlan"),
        InputError::Gateway { .. } => Some("gateways"),
        InputError::IpvlanMode { .. } => Some("ipvlan"),
        InputError::DadWait => Some("dad_wait"),
        _ => None,
    }
}

impl Attachment {
    /// What is asked. All that is wrong with it is told, each with its key.
    ///
    /// # Errors
    /// At least one.
    pub fn request(&self) -> Result<AttachRequest, Vec<(&'static str, InputError)>> {
        let mut reader = Reader(Vec::new());
        let host_if = reader.take("host_if", self.host_if.parse());
        let guest = reader.take("guest", self.guest.parse());
        let family = reader.one::<Family>("family", self.family.as_deref());
        let addr = reader.take("addresses", self.addr());
        if let Some(addr) = &addr {
            reader.take("family", addr.check_family(family));
        }
        let last = reader.take("mac", self.mac_and_tag().parse::<MacAndTag>()).unwrap_or_default();
        let named = self.guest_if.as_deref().filter(|name| *name != AUTO_NAME);
        let guest_if = reader.one::<IfName>("guest_if", named);
        let local_if = reader.one::<IfName>("local_if", self.local_if.as_deref());
        let settings = self.settings(&mut reader);
        let sharing = reader.take("macvlan", self.sharing()).flatten();
        let mode = reader.take("dad", self.dad(addr.as_ref())).unwrap_or_default();
        match (host_if, guest, addr) {
            (Some(host_if), Some(guest), Some(addr)) if reader.0.is_empty() => Ok(AttachRequest {
                guest_if,
                local_if,
                mac: last.mac,
                tag: last.tag,
                direct_phys: self.direct_phys,
                sharing,
                vlan_filtering: self.vlan_filtering,
                force: self.force,
                host_access: self.host_access,
                dad: Dad { mode, patient: self.dad_wait },
                settings,
                ..AttachRequest::new(host_if, guest, addr)
            }),
            _ => Err(reader.0),
        }
    }

    /// How to go about it.
    pub fn how(&self) -> How {
        How {
            persist: self.persist,
            dhcp_timeout: self.dhcp_timeout,
            dhcp_dns: self.dhcp_dns,
            dhcp_image: self.dhcp_image.clone(),
            ovsdb: self.ovsdb.clone().filter(|address| !address.is_empty()),
            keep_netns: self.keep_netns,
        }
    }

    fn addr(&self) -> Result<AddrWord, InputError> {
        let told = addr_word(&self.addresses, &self.gateways);
        match &self.dynamic {
            None => told.parse(),
            Some(word) if self.addresses.is_empty() && self.gateways.is_empty() => word.parse().map(AddrWord::Dynamic),
            Some(word) => {
                Err(InputError::Address { text: told, why: format!("{word} gives it: leave out addresses and gateways, or {word}") })
            }
        }
    }

    /// `[MAC][@VLAN]`, as it is typed.
    fn mac_and_tag(&self) -> String {
        let mac = self.mac.as_deref().unwrap_or_default();
        self.vlan.as_ref().map_or_else(|| mac.to_owned(), |vlan| format!("{mac}@{}", vlan.as_str()))
    }

    /// The one of the three that is given.
    fn sharing(&self) -> Result<Option<Sharing>, InputError> {
        let macvlan = |text: &String| text.parse::<MacvlanMode>();
        Ok(match (&self.macvlan, &self.macvtap, &self.ipvlan) {
            (Some(mode), ..) => Some(Sharing::Macvlan(macvlan(mode)?)),
            (_, Some(mode), _) => Some(Sharing::Macvtap(macvlan(mode)?)),
            (.., Some(mode)) => Some(Sharing::Ipvlan(mode.parse::<IpvlanMode>()?)),
            _ => None,
        })
    }

    /// How many ways to have the NIC are given: one at most makes sense.
    pub(in crate::model) fn ways(&self) -> usize {
        [self.direct_phys, self.macvlan.is_some(), self.macvtap.is_some(), self.ipvlan.is_some()].into_iter().filter(|given| *given).count()
    }

    /// Off when nothing is said, but for an address of a pool: then the time to wait would do nothing.
    fn dad(&self, addr: Option<&AddrWord>) -> Result<DadMode, InputError> {
        let mode = match self.dad.as_deref() {
            None | Some("") if matches!(addr, Some(AddrWord::Pool(_))) => DadMode::Fail,
            None | Some("") => DadMode::Off,
            Some(text) => text.parse()?,
        };
        if self.dad_wait && mode == DadMode::Off { Err(InputError::DadWait) } else { Ok(mode) }
    }

    fn settings(&self, reader: &mut Reader) -> Settings {
        let offloads = if self.offloads.is_empty() { Ok(Offloads::default()) } else { self.offloads.join(",").parse() };
        Settings {
            mtu: reader.take("mtu", self.mtu.as_ref().map(|word| word.as_str().parse()).transpose()).flatten(),
            metric: self.metric,
            routes: reader.all("routes", &self.routes),
            rules: reader.all("rules", &self.rules),
            table: reader.take("table", self.table.as_ref().map(|word| word.as_str().parse()).transpose()).flatten(),
            rate: reader.take("rate", self.rate.as_deref().map(str::parse).transpose()).flatten(),
            netem: reader.take("netem", self.netem.as_deref().map(str::parse).transpose()).flatten(),
            offloads: reader.take("offloads", offloads).unwrap_or_default(),
            txqueuelen: self.txqueuelen,
            queues: self.queues,
            sysctls: reader.all("sysctls", &self.sysctls),
            link_mac: reader.take("link_mac", self.link_mac.as_deref().map(str::parse).transpose()).flatten(),
            auto_name: self.guest_if.as_deref() == Some(AUTO_NAME),
        }
    }
}

/// `IP/PREFIX,...@GATEWAY,...`, as it is typed.
pub(super) fn addr_word(addresses: &[String], gateways: &[String]) -> String {
    let addrs = if addresses.is_empty() { "0/0".to_owned() } else { addresses.join(",") };
    if gateways.is_empty() { addrs } else { format!("{addrs}@{}", gateways.join(",")) }
}

/// The words by which a request was, or could have been, asked.
impl From<&AttachRequest> for Attachment {
    fn from(request: &AttachRequest) -> Self {
        fn texts<T: ToString>(all: &[T]) -> Vec<String> {
            all.iter().map(ToString::to_string).collect()
        }
        fn text<T: ToString>(one: Option<&T>) -> Option<String> {
            one.map(ToString::to_string)
        }
        let settings = &request.settings;
        let (mut macvlan, mut macvtap, mut ipvlan) = (None, None, None);
        match &request.sharing {
            Some(Sharing::Macvlan(mode)) => macvlan = Some(mode.to_string()),
            Some(Sharing::Macvtap(mode)) => macvtap = Some(mode.to_string()),
            Some(Sharing::Ipvlan(mode)) => ipvlan = Some(mode.to_string()),
            None => {}
        }
        let offloads = settings.offloads.to_string();
        let auto = settings.auto_name.then(|| AUTO_NAME.to_owned());
        Self {
            host_if: request.host_if.to_string(),
            guest: request.guest.to_string(),
            guest_if: text(request.guest_if.as_ref()).or(auto),
            local_if: text(request.local_if.as_ref()),
            addresses: request.pool.as_ref().map_or_else(|| texts(&request.addr.addrs), |word| vec![word.to_string()]),
            gateways: if request.pool.is_some() { Vec::new() } else { texts(&request.addr.gateways) },
            dynamic: text(request.dynamic.as_ref()),
            family: None,
            mac: text(request.mac.as_ref()),
            vlan: request.tag.as_ref().map(Word::from),
            direct_phys: request.direct_phys,
            macvlan,
            ipvlan,
            macvtap,
            vlan_filtering: request.vlan_filtering,
            force: request.force,
            host_access: request.host_access,
            dad: (request.dad.asks() || request.pool.is_some()).then(|| request.dad.mode.to_string()),
            dad_wait: request.dad.patient,
            mtu: settings.mtu.map(Word::from),
            metric: settings.metric,
            routes: texts(&settings.routes),
            rules: texts(&settings.rules),
            table: settings.table.map(Word::from),
            rate: text(settings.rate.as_ref()),
            netem: text(settings.netem.as_ref()),
            offloads: offloads.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect(),
            txqueuelen: settings.txqueuelen,
            queues: settings.queues,
            sysctls: texts(&settings.sysctls),
            link_mac: text(settings.link_mac.as_ref()),
            ..Self::default()
        }
    }
}
