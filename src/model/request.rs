//! What is asked: the words of a command line, checked, with nothing of the system in them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use super::addr_spec::AddrSpec;
use super::conflict::{Dad, DadMode};
use super::dynamic::Dynamic;
use super::error::InputError;
use super::pair::GuestIf;
use super::pool::PoolWord;
use super::settings::Settings;
use super::sharing::Sharing;
use super::types::{Family, IfName, MacAddr, Tag, serde_as_text};

/// A request to give a guest an interface: the original's
/// `<hostif> [-i <guestif>] [-l <localif>] <guest> <addr> [<mac>][@<vlan>]`. As JSON its words are those of the command line,
/// and what was not said is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// Bridge, NIC, InfiniBand parent or `dummy`.
    pub host_if: HostIf,
    /// Whose interface it becomes.
    pub guest: GuestRef,
    /// `-i`; when absent `eth1`, or `ib0` on InfiniBand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_if: Option<IfName>,
    /// `-l`: the name of the veth's host end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_if: Option<IfName>,
    /// The addresses, or none.
    #[serde(default, skip_serializing_if = "AddrSpec::is_empty")]
    pub addr: AddrSpec,
    /// Who gives the address, when it is not told; `addr` is then empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<Dynamic>,
    /// `pool:NAME`: `addr` is that of a pool, once it is known which the guest has there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolWord>,
    /// The MAC address of the guest's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// VLAN or partition key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// `--direct-phys`: the NIC itself, not a macvlan on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct_phys: bool,
    /// `--macvlan`, `--macvtap`, `--ipvlan`: how a NIC is shared; when absent by a macvlan in bridge mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// `--vlan-filtering`: a bridge that was there before may be made to filter VLANs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vlan_filtering: bool,
    /// `--force`: take a NIC that this host itself needs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// `--dad`, `--dad-wait`: whether the network is asked who has the address.
    #[serde(default, skip_serializing_if = "Dad::is_off")]
    pub dad: Dad,
    /// `--host-access`: host and guest can reach each other across a macvlan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_access: bool,
    /// `--mtu`, `--route`, `--rate` and the like: what the interface is given beyond its addresses.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
}

impl AttachRequest {
    /// A request without any option.
    pub fn new(host_if: HostIf, guest: GuestRef, addr: AddrWord) -> Self {
        // Who gets an address of a pool asks whether somebody has it all the same.
        let claimed = Dad { mode: DadMode::Fail, patient: false };
        let (addr, dynamic, pool, dad) = match addr {
            AddrWord::Static(spec) => (spec, None, None, Dad::default()),
            AddrWord::Dynamic(dynamic) => (AddrSpec::default(), Some(dynamic), None, Dad::default()),
            AddrWord::Pool(word) => (AddrSpec::default(), None, Some(word), claimed),
        };
        Self {
            host_if,
            guest,
            addr,
            dynamic,
            pool,
            guest_if: None,
            local_if: None,
            mac: None,
            tag: None,
            direct_phys: false,
            host_access: false,
            dad,
            sharing: None,
            vlan_filtering: false,
            force: false,
            settings: Settings::default(),
        }
    }
}

impl AttachRequest {
    /// Whether an address or a gateway will be of the family, whoever gives it.
    pub fn has_family(&self, family: Family) -> bool {
        self.addr.has_family(family) || self.dynamic.as_ref().is_some_and(|dynamic| dynamic.family() == family)
    }
}

/// The third word: an address, or who gives one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddrWord {
    /// `<ip>/<prefix>[,...][@<gateway>[,...]]` or `0/0`.
    Static(AddrSpec),
    /// `dhcp` and the like.
    Dynamic(Dynamic),
    /// `pool:NAME`, `pool:NAME#ADDRESS`.
    Pool(PoolWord),
}

impl AddrWord {
    /// Refuses a `-a` that contradicts an address or a gateway.
    ///
    /// # Errors
    /// [`InputError::FamilyMismatch`]
    pub fn check_family(&self, asked: Option<Family>) -> Result<(), InputError> {
        let has = |family| match self {
            Self::Static(spec) => spec.has_family(family),
            Self::Dynamic(dynamic) => dynamic.family() == family,
            Self::Pool(word) => word.wish.is_some_and(|ip| Family::of(ip) == family),
        };
        let other = |asked| [Family::Inet, Family::Inet6].into_iter().find(|family| *family != asked && has(*family));
        match asked.and_then(|asked| Some((asked, other(asked)?))) {
            Some((asked, is)) => Err(InputError::FamilyMismatch { asked, is }),
            None => Ok(()),
        }
    }
}

impl FromStr for AddrWord {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        if text.starts_with(PoolWord::PREFIX) {
            return text.parse().map(Self::Pool);
        }
        match Dynamic::parse(text) {
            Some(dynamic) => dynamic.map(Self::Dynamic),
            None => text.parse().map(Self::Static),
        }
    }
}

impl From<AddrSpec> for AddrWord {
    fn from(spec: AddrSpec) -> Self {
        Self::Static(spec)
    }
}

impl fmt::Display for AddrWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(spec) => spec.fmt(f),
            Self::Dynamic(dynamic) => dynamic.fmt(f),
            Self::Pool(word) => word.fmt(f),
        }
    }
}

/// The first word: a host interface by name, or a NIC by its MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostIf {
    /// By name.
    Name(IfName),
    /// `mac:<address>`.
    Mac(MacAddr),
    /// `link:<guest>:<interface>`: no interface of the host, but the other end of a link between two guests.
    Guest(Box<GuestIf>),
}

impl FromStr for HostIf {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        match text.split_once(':') {
            Some(("mac", mac)) => mac.parse().map(Self::Mac),
            Some(("link", end)) => Ok(Self::Guest(Box::new(end.parse()?))),
            _ => text.parse().map(Self::Name),
        }
    }
}

impl fmt::Display for HostIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Mac(mac) => write!(f, "mac:{mac}"),
            Self::Guest(end) => write!(f, "link:{end}"),
        }
    }
}

/// The last word: `[<mac>][@<vlan>]`, the MAC written out or made of `U:<string>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MacAndTag {
    /// The MAC address.
    pub mac: Option<MacAddr>,
    /// VLAN or partition key.
    pub tag: Option<Tag>,
}

impl FromStr for MacAndTag {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let (mac, tag) = text.split_once('@').unwrap_or((text, ""));
        let mac = match (mac, mac.strip_prefix("U:")) {
            ("", _) => None,
            (_, Some(unique)) => Some(MacAddr::from_unique(unique)?),
            (plain, None) => Some(plain.parse()?),
        };
        let tag = if tag.is_empty() { None } else { Some(tag.parse()?) };
        Ok(Self { mac, tag })
    }
}

/// Who is meant by the guest word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GuestRef {
    /// A name or ID, looked for in Docker, Podman and the cgroups.
    Any(String),
    /// `docker:`: only in the Docker engine.
    Docker(String),
    /// `podman:`: only in Podman.
    Podman(String),
    /// `lxc:`: only in the cgroups (LXC, systemd-nspawn and the like).
    Lxc(String),
    /// `pid:`: the namespace of a process.
    Pid(u32),
    /// `netns:NAME`: a namespace under /run/netns (ip-netns(8)).
    NetnsName(String),
    /// `netns:/path`: a namespace file.
    NetnsPath(PathBuf),
}

impl FromStr for GuestRef {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::Guest { text: text.to_owned(), why: why.to_owned() };
        let name = |rest: &str| -> Result<String, InputError> {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '+');
            match rest {
                "" => Err(refuse("it names nobody")),
                "." | ".." => Err(refuse("it is a directory")),
                _ if rest.len() > 255 => Err(refuse("it is longer than 255 bytes")),
                _ if rest.starts_with('-') => Err(refuse("a name does not start with a dash; options go before or after it whole")),
                _ if !rest.chars().all(good) => Err(refuse(
                    "a container's name has letters, digits, '_', '.', '-' only; other guests are pid:N, netns:NAME, netns:/path",
                )),
                _ => Ok(rest.to_owned()),
            }
        };
        let Some((engine, rest)) = text.split_once(':') else {
            // Docker prints names with a slash in front, and takes them so.
            return name(text.strip_prefix('/').unwrap_or(text)).map(Self::Any);
        };
        match engine {
            "docker" => name(rest.strip_prefix('/').unwrap_or(rest)).map(Self::Docker),
            "podman" => name(rest).map(Self::Podman),
            "lxc" => name(rest).map(Self::Lxc),
            "pid" => rest
                .parse()
                .ok()
                .filter(|pid| *pid > 0 && *pid <= 1 << 22)
                .map(Self::Pid)
                .ok_or_else(|| refuse("a process ID is a number from 1 to 4194304")),
            "netns" if rest.contains('\0') => Err(refuse("a path has no NUL in it")),
            "netns" if rest.starts_with('/') => Ok(Self::NetnsPath(rest.into())),
            "netns" => name(rest).map(Self::NetnsName),
            _ => Err(refuse("the word before ':' is one of docker, podman, lxc, pid, netns")),
        }
    }
}

impl fmt::Display for GuestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(name) => f.write_str(name),
            Self::Docker(name) => write!(f, "docker:{name}"),
            Self::Podman(name) => write!(f, "podman:{name}"),
            Self::Lxc(name) => write!(f, "lxc:{name}"),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::NetnsName(name) => write!(f, "netns:{name}"),
            Self::NetnsPath(path) => write!(f, "netns:{}", path.display()),
        }
    }
}

serde_as_text!(HostIf, GuestRef);
