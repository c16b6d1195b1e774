//! Messages as bytes: attributes written and read one by one (struct nlattr, linux/netlink.h).

use std::net::IpAddr;

use crate::kernel::wire;

/// A message that is being written.
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Begins with the message's own header.
    pub(super) fn new(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    /// Adds an attribute. One that is too long for its length field is left out: nothing we send comes near.
    pub(super) fn add(&mut self, kind: u16, value: &[u8]) {
        if value.len() + 4 <= usize::from(u16::MAX) {
            wire::put_attribute(&mut self.0, kind, value);
        }
    }

    pub(super) fn add_u8(&mut self, kind: u16, value: Option<u8>) {
        value.into_iter().for_each(|v| self.add(kind, &[v]));
    }

    pub(super) fn add_u32(&mut self, kind: u16, value: Option<u32>) {
        value.into_iter().for_each(|v| self.add(kind, &v.to_ne_bytes()));
    }

    pub(super) fn add_ip(&mut self, kind: u16, value: Option<IpAddr>) {
        value.into_iter().for_each(|ip| self.add(kind, &ip_bytes(ip)));
    }

    /// With its end, as names of links are sent.
    pub(super) fn add_text(&mut self, kind: u16, value: Option<&str>) {
        value.into_iter().for_each(|v| self.add(kind, &[v.as_bytes(), &[0]].concat()));
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

pub(super) fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An address, told by its length.
pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

pub(super) fn u8_of(value: &[u8]) -> Option<u8> {
    value.first().copied()
}

pub(super) fn u16_at(value: &[u8], at: usize) -> Option<u16> {
    value.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes)
}

pub(super) fn u32_at(value: &[u8], at: usize) -> Option<u32> {
    value.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)
}

pub(super) fn u32_of(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

/// Text up to its end.
pub(super) fn text(value: &[u8]) -> String {
    let text = value.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
