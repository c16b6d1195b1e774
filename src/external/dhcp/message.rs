//! DHCPv4 messages (RFC 2131, section 2): to bytes, and from whatever bytes came.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::names;
use crate::model::lease::{FOREVER, Lease, LeaseRoute, Lifetime};
use crate::model::types::{IfAddr, MacAddr, check_unicast};

/// The bytes that tell DHCP from BOOTP (RFC 2131, section 3).
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Length of what stands before the options, with the magic.
const HEADER: usize = 240;
/// More servers of a kind than any resolver asks (resolv.conf(5): 3). A frame may have thousands.
pub(super) const MOST_SERVERS: usize = 32;
/// Shorter ones are dropped by BOOTP relays (RFC 1542, section 2.1).
const SHORTEST: usize = 300;
const BROADCAST_FLAG: u16 = 0x8000;
const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;

// Options (RFC 2132; 119 RFC 3397, 121 RFC 3442)
pub(super) const MASK: u8 = 1;
pub(super) const ROUTERS: u8 = 3;
pub(super) const DNS: u8 = 6;
pub(super) const HOST_NAME: u8 = 12;
pub(super) const DOMAIN: u8 = 15;
pub(super) const MTU: u8 = 26;
pub(super) const BROADCAST: u8 = 28;
pub(super) const NTP: u8 = 42;
pub(super) const REQUESTED: u8 = 50;
pub(super) const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const KIND: u8 = 53;
pub(super) const SERVER: u8 = 54;
pub(super) const ASK: u8 = 55;
const TEXT: u8 = 56;
pub(super) const LARGEST: u8 = 57;
pub(super) const T1: u8 = 58;
pub(super) const T2: u8 = 59;
pub(super) const VENDOR_CLASS: u8 = 60;
pub(super) const CLIENT_ID: u8 = 61;
pub(super) const FQDN: u8 = 81;
pub(super) const SEARCH: u8 = 119;
pub(super) const CLASSLESS: u8 = 121;
const END: u8 = 255;

/// What a message is (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has an address?
    Discover,
    /// I have this one.
    Offer,
    /// I take it, or: may I keep it?
    Request,
    /// It is yours.
    Ack,
    /// It is not.
    Nak,
    /// I need it no longer.
    Release,
}

const KINDS: [(Kind, u8); 6] =
    [(Kind::Discover, 1), (Kind::Offer, 2), (Kind::Request, 3), (Kind::Ack, 5), (Kind::Nak, 6), (Kind::Release, 7)];

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Transaction: answers bear that of their question.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// The client wants its answer by broadcast.
    pub broadcast: bool,
    /// The client's address, when it has one that it can answer for.
    pub ciaddr: Ipv4Addr,
    /// The address that the server lends.
    pub yiaddr: Ipv4Addr,
    /// The client's Ethernet address.
    pub mac: MacAddr,
    /// Options by number, without kind, padding and end. Parts of long ones are joined (RFC 3396).
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// A client's message without options.
    pub fn new(kind: Kind, xid: u32, mac: MacAddr) -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self { kind, xid, secs: 0, broadcast: false, ciaddr: none, yiaddr: none, mac, options: BTreeMap::new() }
    }

    /// The bytes of a client's message, as they stand behind the UDP header.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![BOOTREQUEST, 1, 6, 0];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(if self.broadcast { BROADCAST_FLAG } else { 0 }.to_be_bytes());
        bytes.extend(self.ciaddr.octets());
        // yiaddr, siaddr, giaddr are for servers and relays.
        bytes.extend([0; 12]);
        bytes.extend(self.mac.octets());
        bytes.resize(HEADER - MAGIC.len(), 0);
        bytes.extend(MAGIC);
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or(1, |(_, number)| *number);
        bytes.extend([KIND, 1, kind]);
        for (code, value) in &self.options {
            for part in value.chunks(255) {
                bytes.extend([*code, u8::try_from(part.len()).unwrap_or(255)]);
                bytes.extend(part);
            }
        }
        bytes.push(END);
        if bytes.len() < SHORTEST {
            bytes.resize(SHORTEST, 0);
        }
        bytes
    }

    /// A server's message; `None` when the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        if header[..3] != [BOOTREPLY, 1, 6] || header[236..] != MAGIC {
            return None;
        }
        let mut options = BTreeMap::new();
        collect(&bytes[HEADER..], &mut options);
        // Options may go on in the fields for file and server name (RFC 2131, section 4.1).
        let overload = options.get(&OVERLOAD).and_then(|v: &Vec<u8>| v.first()).copied().unwrap_or(0);
        if overload & 1 != 0 {
            collect(&header[108..236], &mut options);
        }
        if overload & 2 != 0 {
            collect(&header[44..108], &mut options);
        }
        let number = *options.remove(&KIND)?.first()?;
        let kind = KINDS.iter().find(|(_, n)| *n == number)?.0;
        let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let mut mac = [0; 6];
        mac.copy_from_slice(&header[28..34]);
        Some(Self {
            kind,
            xid: word(4),
            secs: u16::from_be_bytes([header[8], header[9]]),
            broadcast: header[10] & 0x80 != 0,
            ciaddr: word(12).into(),
            yiaddr: word(16).into(),
            mac: MacAddr::from_bytes(&mac)?,
            options,
        })
    }

    fn word(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.options.get(&code)?.as_slice().try_into().ok()?))
    }

    fn addrs(&self, code: u8) -> Vec<Ipv4Addr> {
        let bytes = self.options.get(&code).map(Vec::as_slice).unwrap_or_default();
        let all = bytes.chunks_exact(4).map(|c| Ipv4Addr::new(c[0], c[1], c[2], c[3]));
        all.filter(|ip| check_unicast((*ip).into()).is_ok()).take(MOST_SERVERS).collect()
    }

    fn text(&self, code: u8) -> Option<String> {
        let text = std::str::from_utf8(self.options.get(&code)?).ok()?.trim_end_matches('\0');
        Some(text.to_owned()).filter(|t| !t.is_empty())
    }

    /// The server that speaks (option 54).
    pub fn server(&self) -> Option<Ipv4Addr> {
        self.addrs(SERVER).first().copied()
    }

    /// The server's words to a person (option 56), on one line.
    pub fn words(&self) -> Option<String> {
        self.text(TEXT).map(|text| text.chars().filter(|c| !c.is_control()).take(200).collect())
    }

    /// The lease that an offer or an acknowledgement tells; `None` when it cannot be used.
    pub fn lease(&self, others: &[u8]) -> Option<Lease> {
        check_unicast(self.yiaddr.into()).ok().filter(|()| !self.yiaddr.is_loopback())?;
        let prefix = match self.word(MASK) {
            Some(mask) => Ipv4Network::with_netmask(self.yiaddr, mask.into()).ok()?.prefix(),
            None => classful(self.yiaddr),
        };
        let valid = self.word(LEASE_TIME).unwrap_or(FOREVER).max(1);
        let (renew, rebind) = times(valid, self.word(T1), self.word(T2));
        Some(Lease {
            addr: IfAddr::new(self.yiaddr.into(), prefix).filter(|_| prefix > 0)?,
            server: self.server()?.into(),
            lifetime: Lifetime { preferred: valid, valid },
            renew,
            rebind,
            routes: self.routes(),
            mtu: self.options.get(&MTU).and_then(|v| v.as_slice().try_into().ok()).map(|v| u32::from(u16::from_be_bytes(v))),
            dns: self.addrs(DNS).into_iter().map(IpAddr::V4).collect(),
            domain: self.text(DOMAIN).filter(|name| names::is_plain(name)),
            search: self.options.get(&SEARCH).map(|bytes| names::decode_list(bytes)).unwrap_or_default(),
            ntp: self.addrs(NTP).into_iter().map(IpAddr::V4).collect(),
            others: others.iter().filter_map(|code| Some((*code, self.options.get(code)?.clone()))).collect(),
        })
    }

    /// Option 121 is all when it is there; option 3's first router is the default route otherwise (RFC 3442, "DHCP Client
    /// Behavior").
    fn routes(&self) -> Vec<LeaseRoute> {
        if let Some(classless) = self.options.get(&CLASSLESS).map(|bytes| classless_routes(bytes)).filter(|r| !r.is_empty()) {
            return classless;
        }
        let everywhere = IpNetwork::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let to = IpNetwork::new(everywhere.ip(), 0).unwrap_or(everywhere);
        self.addrs(ROUTERS).first().map(|router| LeaseRoute { to, via: Some(*router) }).into_iter().collect()
    }
}

/// A prefix length by class, for servers that send no mask (RFC 950's defaults).
fn classful(ip: Ipv4Addr) -> u8 {
    match ip.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

/// T1 and T2, the server's where they make sense, else the defaults of RFC 2131, section 4.4.5: a half and seven eighths.
fn times(valid: u32, t1: Option<u32>, t2: Option<u32>) -> (u32, u32) {
    if valid == FOREVER {
        return (FOREVER, FOREVER);
    }
    let share = |eighths: u64| u32::try_from(u64::from(valid) * eighths / 8).unwrap_or(valid);
    let rebind = t2.filter(|t2| (1..valid).contains(t2)).unwrap_or(share(7)).max(1);
    let renew = t1.filter(|t1| (1..=rebind).contains(t1)).unwrap_or(share(4)).clamp(1, rebind);
    (renew, rebind)
}

/// Options up to the end, or up to what is none.
fn collect(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) {
    loop {
        match bytes {
            [0, rest @ ..] => bytes = rest,
            [] | [END, ..] => return,
            [code, length, rest @ ..] => {
                let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { return };
                options.entry(*code).or_default().extend(value);
                bytes = rest;
            }
            [_] => return,
        }
    }
}

/// The routes of option 121: prefix length, so many bytes of the network as it needs, router. Malformed ones end the list.
pub fn classless_routes(mut bytes: &[u8]) -> Vec<LeaseRoute> {
    let mut routes = Vec::new();
    while let [prefix @ 0..=32, rest @ ..] = bytes {
        let length = usize::from(prefix.div_ceil(8));
        let Some((network, rest)) = rest.split_at_checked(length) else { break };
        let Some((router, rest)) = rest.split_first_chunk::<4>() else { break };
        bytes = rest;
        let mut octets = [0; 4];
        octets[..length].copy_from_slice(network);
        let router = Ipv4Addr::from(*router);
        let via = Some(router).filter(|r| !r.is_unspecified());
        let good = via.is_none_or(|r| check_unicast(r.into()).is_ok());
        // Host bits are to be ignored (RFC 3442, "Classless Route Option Format").
        if let Some(net) = Ipv4Network::new(octets.into(), *prefix).ok().and_then(|n| Ipv4Network::new(n.network(), *prefix).ok()) {
            let route = LeaseRoute { to: IpNetwork::V4(net), via };
            if good && !routes.contains(&route) {
                routes.push(route);
            }
        }
    }
    routes
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
