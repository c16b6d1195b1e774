//! Small validated types: once made, they are right, and every one prints as `ip` would.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::error::InputError;
use super::vlan::PortVlans;

/// A network interface name: 1 to 15 bytes, no `/`, no `:`, no white space, not `.` or `..`
/// (`dev_valid_name` in the kernel's net/core/dev.c, `IFNAMSIZ` in linux/if.h).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(String);

impl IfName {
    /// The longest name in bytes (`IFNAMSIZ` less the closing NUL).
    pub const MAX: usize = 15;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that this program makes itself and knows to be right.
    pub(crate) fn made(text: &str) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text}");
        Self(text.to_owned())
    }
}

impl FromStr for IfName {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: String| Err(InputError::IfName { name: text.to_owned(), why });
        if text.is_empty() {
            return refuse("it is empty".into());
        }
        if text.len() > Self::MAX {
            return refuse(format!("it has {} bytes, the kernel takes at most {}", text.len(), Self::MAX));
        }
        if text == "." || text == ".." {
            return refuse("it is a directory".into());
        }
        // '%' is a pattern to the kernel: "eth%d" would make eth0, eth1, ...
        if let Some(bad) = text.chars().find(|c| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control()) {
            return refuse(format!("{bad:?} is not allowed in it"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An Ethernet address that a link can have: unicast and not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// The six bytes in transmission order.
    pub fn octets(&self) -> [u8; 6] {
        self.0
    }

    /// The address that a frame came from.
    pub fn of_frame(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// Takes six random bytes and makes them a locally administered unicast address (IEEE 802-2014, 8.4).
    pub fn local_from(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        Self(bytes)
    }

    /// The address the original pipework makes of `U:<text>`: `02:` and the first five bytes of the
    /// MD5 of the text and a newline. White space is folded as its unquoted `echo` does.
    ///
    /// # Errors
    /// When there is nothing but white space.
    pub fn from_unique(text: &str) -> Result<Self, InputError> {
        let words: Vec<&str> = text.split([' ', '\t', '\n']).filter(|w| !w.is_empty()).collect();
        if words.is_empty() {
            return Err(InputError::Mac { text: format!("U:{text}"), why: "U: needs a string to make an address of, like U:web1".into() });
        }
        let digest = Md5::digest(format!("{}\n", words.join(" ")));
        Ok(Self([0x02, digest[0], digest[1], digest[2], digest[3], digest[4]]))
    }

    /// The address from the kernel's bytes; `None` when they are not an Ethernet address.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 6]>::try_from(bytes).ok().map(Self)
    }
}

impl FromStr for MacAddr {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::Mac { text: text.to_owned(), why: why.to_owned() };
        let groups: Vec<&str> = text.split(':').collect();
        if groups.len() != 6 {
            return Err(refuse("an address is six hexadecimal pairs, like 26:2e:71:98:60:8f, or U:<any string>"));
        }
        let mut bytes = [0u8; 6];
        for (byte, group) in bytes.iter_mut().zip(groups) {
            if group.is_empty() || group.len() > 2 || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(refuse("an address is six hexadecimal pairs, like 26:2e:71:98:60:8f"));
            }
            *byte = u8::from_str_radix(group, 16).map_err(|_| refuse("not hexadecimal"))?;
        }
        if bytes[0] & 1 == 1 {
            return Err(refuse("it is a multicast address: the first byte must be even, like 02 or 26"));
        }
        if bytes == [0; 6] {
            return Err(refuse("it is all zero"));
        }
        Ok(Self(bytes))
    }
}

/// An 802.1Q VLAN identifier, 1 to 4094 (IEEE 802.1Q-2018, 9.6: 0 and 4095 are reserved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// The identifier as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = InputError;

    fn try_from(id: u16) -> Result<Self, InputError> {
        id.to_string().parse()
    }
}

impl FromStr for VlanId {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        text.parse::<u16>()
            .ok()
            .filter(|id| (1..=4094).contains(id) && text.bytes().all(|b| b.is_ascii_digit()))
            .map(Self)
            .ok_or_else(|| InputError::Vlan { text: text.to_owned() })
    }
}

/// An InfiniBand partition key, written in hexadecimal without `0x` (InfiniBand specification 10.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pkey(u16);

impl Pkey {
    /// The key as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for Pkey {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let bad = || InputError::Pkey { text: text.to_owned() };
        if text.is_empty() || text.len() > 4 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        // The kernel refuses 0 and 0x8000 (ipoib_new_child_link in drivers/infiniband/ulp/ipoib).
        match u16::from_str_radix(text, 16) {
            Ok(0 | 0x8000) | Err(_) => Err(bad()),
            Ok(key) => Ok(Self(key)),
        }
    }
}

/// What stands behind `@` in the last word: VLANs on Ethernet, a partition key on InfiniBand.
/// Which of them is known once the host interface has been looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag as one VLAN identifier.
    ///
    /// # Errors
    /// When it is none.
    pub fn vlan(&self) -> Result<VlanId, InputError> {
        self.0.parse()
    }

    /// The tag as a partition key.
    ///
    /// # Errors
    /// When it is none.
    pub fn pkey(&self) -> Result<Pkey, InputError> {
        self.0.parse()
    }

    /// The tag as the VLANs of a switch port: `10`, `10,20-30` or `,20-30`.
    ///
    /// # Errors
    /// When it is none.
    pub fn port(&self) -> Result<PortVlans, InputError> {
        self.0.parse()
    }

    /// The tag as a service VLAN, `ad:100` (IEEE 802.1ad); `None` when it is none.
    pub fn service_vlan(&self) -> Option<Result<VlanId, InputError>> {
        self.0.strip_prefix("ad:").map(str::parse)
    }
}

impl FromStr for Tag {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let tag = Self(text.to_owned());
        if tag.port().is_ok() || tag.pkey().is_ok() || tag.service_vlan().is_some_and(|id| id.is_ok()) {
            return Ok(tag);
        }
        Err(InputError::Vlan { text: text.to_owned() })
    }
}

/// An address family, as `-a` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }

    /// The prefix length of a single host: 32 or 128.
    pub fn host_prefix(self) -> u8 {
        match self {
            Self::Inet => 32,
            Self::Inet6 => 128,
        }
    }
}

impl FromStr for Family {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        match text {
            "4" | "inet" => Ok(Self::Inet),
            "6" | "inet6" => Ok(Self::Inet6),
            _ => Err(InputError::Family { text: text.to_owned() }),
        }
    }
}

/// An interface address with its prefix length; the host bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IfAddr(IpNetwork);

impl IfAddr {
    /// Puts an address and a prefix length together; `None` when the length is too long for the family.
    pub fn new(ip: IpAddr, prefix: u8) -> Option<Self> {
        IpNetwork::new(ip, prefix).ok().map(Self)
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.0.ip()
    }

    /// The prefix length in bits.
    pub fn prefix(&self) -> u8 {
        self.0.prefix()
    }

    /// The family.
    pub fn family(&self) -> Family {
        Family::of(self.ip())
    }

    /// The subnet: the address without its host bits.
    pub fn network(&self) -> IpNetwork {
        match self.0 {
            IpNetwork::V4(net) => Ipv4Network::new(net.network(), net.prefix()).map_or(self.0, IpNetwork::V4),
            IpNetwork::V6(net) => Ipv6Network::new(net.network(), net.prefix()).map_or(self.0, IpNetwork::V6),
        }
    }

    /// Whether `ip` lies in the subnet of this address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.0, ip) {
            (IpNetwork::V4(net), IpAddr::V4(ip)) => net.contains(ip),
            (IpNetwork::V6(net), IpAddr::V6(ip)) => net.contains(ip),
            _ => false,
        }
    }

    /// The IPv4 broadcast address; none for IPv6, /31 (RFC 3021) and /32.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.0 {
            IpNetwork::V4(net) if net.prefix() < 31 => Some(net.broadcast()),
            _ => None,
        }
    }
}

impl FromStr for IfAddr {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: String| InputError::Address { text: text.to_owned(), why };
        let Some((ip, prefix)) = text.split_once('/') else {
            let guess = match text.parse::<IpAddr>() {
                Ok(IpAddr::V6(_)) => 64,
                Ok(IpAddr::V4(_)) => 24,
                Err(_) => {
                    return Err(refuse(
                        "give IP/PREFIX[@GATEWAY] like 192.168.1.10/24, 0/0 for none, or dhcp, dhcp:-f, dhcp6, slaac, udhcpc, dhclient, dhcpcd; the order is HOSTIF GUEST ADDR"
                            .into(),
                    ));
                }
            };
            return Err(InputError::NoPrefix { text: text.to_owned(), guess });
        };
        let address: IpAddr = ip.parse().map_err(|_| refuse(format!("{ip:?} is not an IPv4 or IPv6 address")))?;
        // A leading zero is octal to `ip` and a plus sign an accident: neither is guessed at.
        let plain = !prefix.is_empty()
            && prefix.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && (prefix.len() == 1 || !prefix.starts_with('0'));
        let network = match (address, plain) {
            (IpAddr::V4(_), true) => Ipv4Network::from_str(text).ok().map(IpNetwork::V4),
            (IpAddr::V6(_), true) => Ipv6Network::from_str(text).ok().map(IpNetwork::V6),
            _ => None,
        };
        let most = Family::of(address).host_prefix();
        let addr = Self(network.ok_or_else(|| refuse(format!("{prefix:?} is not a prefix length from 1 to {most}")))?);
        if addr.prefix() == 0 {
            return Err(refuse("a prefix length of 0 takes in every address; `0/0` alone means no address".into()));
        }
        check_unicast(address).map_err(|why| refuse(why.into()))?;
        if addr.broadcast().is_some_and(|brd| IpAddr::V4(brd) == address) {
            return Err(refuse("it is the broadcast address of its own subnet".into()));
        }
        Ok(addr)
    }
}

/// Says why an address cannot be an interface's or a gateway's own.
pub(crate) fn check_unicast(ip: IpAddr) -> Result<(), &'static str> {
    if ip.is_unspecified() {
        return Err("it is the unspecified address");
    }
    if ip.is_multicast() {
        return Err("it is a multicast address");
    }
    if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("it is the broadcast address");
    }
    Ok(())
}

/// One of the two sides of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The network namespace pipework runs in.
    Host,
    /// The network namespace of the container.
    Guest,
}

/// A link, by side and name: its index may not be known yet when a plan is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkRef {
    /// Where it is.
    pub side: Side,
    /// What it is called there.
    pub name: IfName,
}

impl LinkRef {
    /// A link of the host.
    pub fn host(name: &IfName) -> Self {
        Self { side: Side::Host, name: name.clone() }
    }

    /// A link of the guest.
    pub fn guest(name: &IfName) -> Self {
        Self { side: Side::Guest, name: name.clone() }
    }
}

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Side::Host => write!(f, "{}", self.name),
            Side::Guest => write!(f, "{} in the guest", self.name),
        }
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Pkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "IPv4",
            Self::Inet6 => "IPv6",
        })
    }
}

impl fmt::Display for IfAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip(), self.prefix())
    }
}

/// Types that are written to a file or a report as the text they print, and read back as it is typed.
macro_rules! serde_as_text {
    ($($name:ty),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;

serde_as_text!(IfName, MacAddr, IfAddr, Pkey, Tag);
