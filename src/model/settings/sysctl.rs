//! `--sysctl`: settings of the guest's interface, and of nothing else.

use std::fmt;
use std::str::FromStr;

use crate::model::error::InputError;
use crate::model::types::{IfName, serde_as_text};

/// Where the settings of an interface are, under /proc/sys/net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// net.ipv4.conf
    Ipv4Conf,
    /// net.ipv6.conf
    Ipv6Conf,
    /// net.ipv4.neigh
    Ipv4Neigh,
    /// net.ipv6.neigh
    Ipv6Neigh,
}

impl Tree {
    const ALL: [Self; 4] = [Self::Ipv4Conf, Self::Ipv6Conf, Self::Ipv4Neigh, Self::Ipv6Neigh];

    /// As sysctl(8) names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4Conf => "net.ipv4.conf",
            Self::Ipv6Conf => "net.ipv6.conf",
            Self::Ipv4Neigh => "net.ipv4.neigh",
            Self::Ipv6Neigh => "net.ipv6.neigh",
        }
    }

    /// Its directory under /proc/sys.
    pub fn directory(self) -> String {
        self.name().replace('.', "/")
    }
}

/// `net.ipv4.conf.IF.arp_ignore=1`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Where.
    pub tree: Tree,
    /// The interface as it was typed; none for the word IF.
    pub interface: Option<IfName>,
    /// The setting.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Sysctl {
    /// As sysctl(8) takes it, for an interface. Its names may have dots in them, so that slashes stand between the parts.
    pub fn of(&self, interface: &IfName) -> String {
        format!("{}/{interface}/{}={}", self.tree.directory(), self.name, self.value)
    }
}

impl FromStr for Sysctl {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::Setting { option: "--sysctl", text: text.to_owned(), why: why.to_owned() };
        let form = "give a setting of the guest's interface, like net.ipv4.conf.IF.arp_ignore=1: net.ipv4.conf, net.ipv6.conf, net.ipv4.neigh or net.ipv6.neigh, and IF for the interface";
        let (key, value) = text.split_once('=').ok_or_else(|| refuse(form))?;
        let under = |tree: &Tree| key.strip_prefix(tree.name())?.strip_prefix('.').map(|rest| (*tree, rest));
        let (tree, rest) = Tree::ALL.iter().find_map(under).ok_or_else(|| refuse(form))?;
        // An interface's name may have dots in it, a setting's has none.
        let (interface, name) = rest.rsplit_once('.').ok_or_else(|| refuse(form))?;
        let interface = match interface {
            "IF" => None,
            "all" | "default" => {
                return Err(refuse("all and default are other interfaces' too: only the guest's own interface is set here"));
            }
            name => Some(name.parse::<IfName>().map_err(|error| refuse(&error.to_string()))?),
        };
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(refuse(form));
        }
        if value.is_empty() || value.len() > 64 || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refuse("the value behind = has to be something, and without spaces"));
        }
        Ok(Self { tree, interface, name: name.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = self.interface.as_ref().map_or("IF", IfName::as_str);
        write!(f, "{}.{interface}.{}={}", self.tree.name(), self.name, self.value)
    }
}

serde_as_text!(Sysctl);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_settings_of_one_interface_are_taken() {
        for text in ["net.ipv4.conf.IF.arp_ignore=1", "net.ipv6.conf.eth0.10.accept_ra=2", "net.ipv4.neigh.eth1.gc_stale_time=30"] {
            assert_eq!(text.parse::<Sysctl>().unwrap().to_string(), text);
        }
        for text in [
            "net.ipv4.ip_forward=1",
            "kernel.panic=1",
            "net.ipv4.conf.all.arp_ignore=1",
            "net.ipv4.conf.default.arp_ignore=1",
            "net.ipv4.conf.IF.arp_ignore",
            "net.ipv4.conf.IF.arp_ignore=",
            "net.ipv4.conf.IF.=1",
            "net.ipv4.conf..x=1",
            "net.ipv4.conf.IF.../../x=1",
            "net.ipv4.conf.a/b.x=1",
            "net.ipv4.conf.IF.x=1 2",
            "net/ipv4/conf/IF/x=1",
        ] {
            let error = text.parse::<Sysctl>().unwrap_err().to_string();
            assert!(error.starts_with("--sysctl"), "{text}: {error}");
        }
    }
}
