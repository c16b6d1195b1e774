//! What an attachment is known by: the network, the container and the interface that its runtime names.

use std::fmt;
use std::str::FromStr;

use super::config::NetworkName;
use super::environment::ContainerId;
use super::error::{CniError, Code};
use crate::model::pool::Owner;
use crate::model::types::IfName;

/// By this the attachment is recorded, and owns its addresses: `cni:NETWORK[@HOST]:CONTAINER/IFNAME[:MADE]`. The host stands
/// there where several hosts give addresses of one pool: a runtime tells only of its own containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The network's name.
    pub network: NetworkName,
    /// This host's name, where others have the same network.
    pub host: Option<String>,
    /// The container.
    pub container: ContainerId,
    /// The interface that the runtime names.
    pub interface: IfName,
    /// The interface that is made, where it is another: by a plugin that is not the first of its chain.
    pub made: Option<IfName>,
}

/// What begins it.
const PREFIX: &str = "cni:";

impl Key {
    /// The name of the interface in the container.
    pub fn made(&self) -> &IfName {
        self.made.as_ref().unwrap_or(&self.interface)
    }

    /// Whether both are about the same attachment, wherever it was made.
    pub fn is(&self, other: &Self) -> bool {
        (&self.network, &self.container, &self.interface, self.made()) == (&other.network, &other.container, &other.interface, other.made())
    }

    /// Who owns the addresses.
    ///
    /// # Errors
    /// When the container's or the interface's name is too long, or has letters, that an owner cannot have.
    pub fn owner(&self) -> Result<Owner, CniError> {
        self.to_string().parse().map_err(|_| {
            CniError::new(
                Code::Environment,
                "CNI_CONTAINERID, CNI_IFNAME: too long together, or with signs that no owner of an address has",
            )
            .with(self.to_string())
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.network)?;
        self.host.iter().try_for_each(|host| write!(f, "@{host}"))?;
        write!(f, ":{}/{}", self.container, self.interface.as_str())?;
        self.made.iter().try_for_each(|made| write!(f, ":{}", made.as_str()))
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (place, rest) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or(())?;
        let (network, host) = place.split_once('@').map_or((place, None), |(network, host)| (network, Some(host.to_owned())));
        let (container, interfaces) = rest.split_once('/').ok_or(())?;
        let (interface, made) = interfaces.split_once(':').map_or((interfaces, None), |(interface, made)| (interface, Some(made)));
        Ok(Self {
            network: network.parse().map_err(|_| ())?,
            host,
            container: container.parse().map_err(|_| ())?,
            interface: interface.parse().map_err(|_| ())?,
            made: made.map(str::parse).transpose().map_err(|_| ())?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_printed_as_it_was_read_and_is_an_owner() {
        for text in ["cni:lan:0123abc/eth0", "cni:my.lan-1@node1:web_1/eth0:net1", "cni:lan:a/eth0.5"] {
            let key: Key = text.parse().unwrap();
            assert_eq!((key.to_string(), key.owner().unwrap().to_string()), (text.to_owned(), text.to_owned()));
            assert_eq!(Owner::of_container(text).unwrap().to_string(), text, "it is no task's");
        }
        for text in ["web", "web/1", "cni:lan", "cni:lan:web", "cni::web/eth0", "cni:lan:/eth0", "cni:lan:../eth0", "cni:lan:a/b/c"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
        let long = format!("cni:lan:{}/eth0", "a".repeat(300)).parse::<Key>().unwrap();
        assert_eq!(long.owner().unwrap_err().code(), 4);
    }
}
