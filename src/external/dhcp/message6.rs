//! DHCPv6 messages (RFC 8415, section 8): to bytes, and from whatever bytes came.

use std::net::{IpAddr, Ipv6Addr};

use super::message::MOST_SERVERS;
use super::names;
use crate::model::lease::{FOREVER, Lease, Lifetime};
use crate::model::types::{IfAddr, check_unicast};

// Options (RFC 8415, section 21; 23 and 24 RFC 3646)
pub(super) const CLIENT_ID: u16 = 1;
pub(super) const SERVER_ID: u16 = 2;
pub(super) const IA_NA: u16 = 3;
const IA_ADDR: u16 = 5;
pub(super) const ASK: u16 = 6;
const PREFERENCE: u16 = 7;
pub(super) const ELAPSED: u16 = 8;
const STATUS: u16 = 13;
pub(super) const DNS: u16 = 23;
pub(super) const SEARCH: u16 = 24;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind6 {
    /// Who has an address?
    Solicit = 1,
    /// I have.
    Advertise = 2,
    /// I take it.
    Request = 3,
    /// It is yours, or why not.
    Reply = 7,
    /// I need it no longer.
    Release = 8,
}

const KINDS: [Kind6; 5] = [Kind6::Solicit, Kind6::Advertise, Kind6::Request, Kind6::Reply, Kind6::Release];

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message6 {
    /// What it is.
    pub kind: Kind6,
    /// Transaction, 24 bits.
    pub xid: u32,
    /// Options in their order.
    pub options: Vec<(u16, Vec<u8>)>,
}

/// What a server says of the address that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// This one.
    Lease(Box<Lease>),
    /// None, and why (a status code, with the server's own words).
    Refusal(Option<String>),
    /// Nothing that could be used.
    Nothing,
}

impl Message6 {
    /// The first option of a number.
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        find(&self.options, code)
    }

    /// The bytes, as they stand behind the UDP header.
    pub fn encode(&self) -> Vec<u8> {
        let [_, xid @ ..] = self.xid.to_be_bytes();
        let mut bytes = vec![self.kind as u8];
        bytes.extend(xid);
        for (code, value) in &self.options {
            bytes.extend(encode_option(*code, value));
        }
        bytes
    }

    /// A message; `None` when the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [kind, a, b, c, options @ ..] = bytes else { return None };
        let kind = *KINDS.iter().find(|known| **known as u8 == *kind)?;
        Some(Self { kind, xid: u32::from_be_bytes([0, *a, *b, *c]), options: decode_options(options) })
    }

    /// How much the server wants to be chosen (RFC 8415, section 21.8).
    pub fn preference(&self) -> u8 {
        self.option(PREFERENCE).and_then(|value| value.first()).copied().unwrap_or(0)
    }

    /// What is said of the association `iaid` by the server at `from`.
    pub fn said(&self, iaid: u32, from: Ipv6Addr) -> Said {
        if let Some(refusal) = refusal(&self.options) {
            return Said::Refusal(refusal);
        }
        let associations = self.options.iter().filter(|(code, _)| *code == IA_NA);
        let ours = associations.filter_map(|(_, value)| Association::decode(value)).find(|association| association.iaid == iaid);
        let Some(association) = ours else { return Said::Nothing };
        if let Some(refusal) = refusal(&association.options) {
            return Said::Refusal(refusal);
        }
        match association.addr() {
            Some((ip, lifetime)) => self.lease(ip, lifetime, &association, from).map_or(Said::Nothing, |l| Said::Lease(Box::new(l))),
            None => Said::Nothing,
        }
    }

    fn lease(&self, ip: Ipv6Addr, lifetime: Lifetime, association: &Association, from: Ipv6Addr) -> Option<Lease> {
        let (t1, t2) = association.times(lifetime);
        let dns = self.option(DNS).unwrap_or_default().chunks_exact(16);
        let dns = dns.filter_map(|bytes| Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?))).filter(|ip| check_unicast(*ip).is_ok());
        Some(Lease {
            addr: IfAddr::new(ip.into(), 128)?,
            server: from.into(),
            lifetime,
            renew: t1,
            rebind: t2,
            routes: Vec::new(),
            mtu: None,
            dns: dns.take(MOST_SERVERS).collect(),
            domain: None,
            search: self.option(SEARCH).map(names::decode_list).unwrap_or_default(),
            ntp: Vec::new(),
            others: Vec::new(),
        })
    }
}

/// An IA_NA option (RFC 8415, section 21.4).
struct Association {
    iaid: u32,
    t1: u32,
    t2: u32,
    options: Vec<(u16, Vec<u8>)>,
}

impl Association {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        Some(Self { iaid: word(0)?, t1: word(4)?, t2: word(8)?, options: decode_options(bytes.get(12..)?) })
    }

    /// The first address that can be used at all.
    fn addr(&self) -> Option<(Ipv6Addr, Lifetime)> {
        let addrs = self.options.iter().filter(|(code, _)| *code == IA_ADDR);
        addrs.filter_map(|(_, value)| leased(value)).next()
    }

    /// T1 and T2; 0 leaves them to the client (RFC 8415, section 14.2, recommends a half and eight tenths).
    fn times(&self, lifetime: Lifetime) -> (u32, u32) {
        if lifetime.preferred == FOREVER {
            return (FOREVER, FOREVER);
        }
        let share = |tenths: u64| u32::try_from(u64::from(lifetime.preferred) * tenths / 10).unwrap_or(lifetime.preferred).max(1);
        let t2 = if self.t2 == 0 || self.t2 > lifetime.valid { share(8) } else { self.t2 };
        let t1 = if self.t1 == 0 || self.t1 > t2 { share(5).min(t2) } else { self.t1 };
        (t1, t2)
    }
}

/// An IA Address option (RFC 8415, section 21.6): address, preferred and valid time, options.
fn leased(bytes: &[u8]) -> Option<(Ipv6Addr, Lifetime)> {
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?);
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let lifetime = Lifetime { preferred: word(16)?, valid: word(20)? };
    let refused = refusal(&decode_options(bytes.get(24..)?)).is_some();
    let good = check_unicast(ip.into()).is_ok() && !ip.is_unicast_link_local() && !ip.is_loopback();
    (good && !refused && lifetime.valid > 0 && lifetime.preferred <= lifetime.valid).then_some((ip, lifetime))
}

/// The refusal in a list of options: a status that is not success (RFC 8415, section 21.13).
fn refusal(options: &[(u16, Vec<u8>)]) -> Option<Option<String>> {
    let [high, low, text @ ..] = find(options, STATUS)? else { return None };
    let code = u16::from_be_bytes([*high, *low]);
    let name = match code {
        0 => return None,
        1 => "UnspecFail".to_owned(),
        2 => "NoAddrsAvail".to_owned(),
        3 => "NoBinding".to_owned(),
        4 => "NotOnLink".to_owned(),
        other => format!("status {other}"),
    };
    let words: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(200).collect();
    Some(Some(if words.is_empty() { name } else { format!("{name}: {words}") }))
}

fn find(options: &[(u16, Vec<u8>)], code: u16) -> Option<&[u8]> {
    options.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
}

/// One option.
pub(super) fn encode_option(code: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    code.to_be_bytes().into_iter().chain(length.to_be_bytes()).chain(value.iter().take(usize::from(length)).copied()).collect()
}

/// An IA_NA without T1, T2; with the address that is taken or given back, if any.
pub(super) fn association(iaid: u32, ip: Option<Ipv6Addr>) -> Vec<u8> {
    let mut value: Vec<u8> = iaid.to_be_bytes().into_iter().chain([0; 8]).collect();
    if let Some(ip) = ip {
        let addr: Vec<u8> = ip.octets().into_iter().chain([0; 8]).collect();
        value.extend(encode_option(IA_ADDR, &addr));
    }
    value
}

/// Options up to the end, or up to what is none.
fn decode_options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    while let [a, b, c, d, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let Some((value, rest)) = rest.split_at_checked(length) else { break };
        options.push((u16::from_be_bytes([*a, *b]), value.to_vec()));
        bytes = rest;
    }
    options
}
