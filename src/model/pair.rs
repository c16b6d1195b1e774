//! A link straight between two guests: its words, `GUEST[:IF][=ADDR]`, and what is asked of each end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::addr_spec::AddrSpec;
use super::dynamic::Dynamic;
use super::error::InputError;
use super::facts::Facts;
use super::request::{AddrWord, AttachRequest, GuestRef, HostIf};
use super::settings::Mtu;
use super::types::{IfName, serde_as_text};

/// The words before the first `:` of a guest that have a `:` of their own behind them.
const ENGINES: [&str; 5] = ["docker", "podman", "lxc", "pid", "netns"];
/// The interface in a guest, when no name is told.
const USUAL: &str = "eth1";

/// An interface of a guest: `GUEST[:IF]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GuestIf {
    /// Whose.
    pub guest: GuestRef,
    /// Its name there.
    pub interface: IfName,
}

serde_as_text!(GuestIf);

impl FromStr for GuestIf {
    type Err = InputError;

    /// The interface is what stands behind the last `:`, not counting the one behind `docker`, `podman`, `lxc`, `pid`,
    /// `netns` at the beginning, which is the guest's. Where nothing stands there, it is `eth1`. So a path with a colon in it
    /// has to be followed by one: `netns:/run/a:b:`.
    fn from_str(text: &str) -> Result<Self, InputError> {
        let engine = text.split_once(':').map(|(engine, _)| engine).filter(|engine| ENGINES.contains(engine));
        let own = engine.map_or(0, |engine| engine.len() + 1);
        let (guest, interface) = match text.rfind(':').filter(|at| *at >= own) {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            None => (text, ""),
        };
        let interface = if interface.is_empty() { Ok(IfName::made(USUAL)) } else { interface.parse() };
        Ok(Self { guest: guest.parse()?, interface: interface? })
    }
}

impl fmt::Display for GuestIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A container that is called like an engine: with Docker's own slash before it, it is a name and no engine.
        let slash = matches!(&self.guest, GuestRef::Any(name) if ENGINES.contains(&name.as_str()));
        write!(f, "{}{}:{}", if slash { "/" } else { "" }, self.guest, self.interface)
    }
}

/// One end of a link: `GUEST[:IF][=ADDR]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndWord {
    /// Where it is.
    pub at: GuestIf,
    /// Its addresses, and gateways behind it.
    pub addr: AddrSpec,
}

impl FromStr for EndWord {
    type Err = InputError;

    /// The addresses are what stands behind the last `=`, none where nothing stands there. So a path with a `=` in it has to be
    /// followed by one: `netns:/run/a=b=`.
    fn from_str(text: &str) -> Result<Self, InputError> {
        let (at, addr) = text.rsplit_once('=').unwrap_or((text, ""));
        if Dynamic::parse(addr).is_some() {
            let why = "nobody gives addresses on a link between two guests: give IP/PREFIX, or nothing".into();
            return Err(InputError::Address { text: addr.to_owned(), why });
        }
        let addr = if addr.is_empty() { AddrSpec::default() } else { addr.parse()? };
        Ok(Self { at: at.parse()?, addr })
    }
}

impl fmt::Display for EndWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.at, self.addr)
    }
}

/// A request to link two guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairRequest {
    /// The ends, in the order in which they were told.
    pub ends: [EndWord; 2],
    /// MTU of both in bytes; the kernel's own when absent.
    pub mtu: Option<Mtu>,
}

impl PairRequest {
    /// What is asked of each end, as if it alone were attached, to the other.
    pub fn requests(&self) -> [AttachRequest; 2] {
        let [first, second] = &self.ends;
        [self.request(first, second), self.request(second, first)]
    }

    fn request(&self, end: &EndWord, other: &EndWord) -> AttachRequest {
        let host_if = HostIf::Guest(Box::new(other.at.clone()));
        let mut request = AttachRequest::new(host_if, end.at.guest.clone(), AddrWord::Static(end.addr.clone()));
        request.guest_if = Some(end.at.interface.clone());
        request.settings.mtu = self.mtu;
        request
    }
}

/// Which of two linked guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The one that was told first.
    First,
    /// The other.
    Second,
}

/// What two guests look like that are to be linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFacts {
    /// Each of them.
    pub ends: [Facts; 2],
    /// Whether both are one network namespace.
    pub one: bool,
    /// Whether their interfaces of these names are the two ends of one veth pair.
    pub joined: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_split_off_at_the_last_colon_that_is_not_the_guests_own() {
        for (word, guest, interface) in [
            ("web", "web", "eth1"),
            ("web:", "web", "eth1"),
            ("web:lan0", "web", "lan0"),
            ("/web:lan0", "web", "lan0"),
            ("4f3c", "4f3c", "eth1"),
            ("docker:web", "docker:web", "eth1"),
            ("docker:web:lan0", "docker:web", "lan0"),
            ("docker:docker", "docker:docker", "eth1"),
            ("docker:lan0:lan0", "docker:lan0", "lan0"),
            ("podman:web:", "podman:web", "eth1"),
            ("lxc:web:eth2", "lxc:web", "eth2"),
            ("pid:12", "pid:12", "eth1"),
            ("pid:12:13", "pid:12", "13"),
            ("netns:lab", "netns:lab", "eth1"),
            ("netns:lab:eth2", "netns:lab", "eth2"),
            ("netns:/run/a", "netns:/run/a", "eth1"),
            ("netns:/run/a:eth2", "netns:/run/a", "eth2"),
            ("netns:/run/a:b:eth2", "netns:/run/a:b", "eth2"),
            ("netns:/run/a:b:", "netns:/run/a:b", "eth1"),
            // A name that is nothing but a word for an engine.
            ("docker", "docker", "eth1"),
        ] {
            let end: GuestIf = word.parse().unwrap();
            assert_eq!((end.guest.to_string().as_str(), end.interface.as_str()), (guest, interface), "{word}");
            assert_eq!(end.to_string().parse::<GuestIf>().unwrap(), end, "{word}");
        }
    }

    #[test]
    fn the_addresses_stand_behind_the_last_equals_sign() {
        for (word, at, addr) in [
            ("web", "web:eth1", "0/0"),
            ("web=", "web:eth1", "0/0"),
            ("web=0/0", "web:eth1", "0/0"),
            ("web=10.0.0.1/24", "web:eth1", "10.0.0.1/24"),
            ("web:lan0=10.0.0.1/24,fd00::1/64@10.0.0.2,fd00::2", "web:lan0", "10.0.0.1/24,fd00::1/64@10.0.0.2,fd00::2"),
            ("docker:web=fd00::1/64", "docker:web:eth1", "fd00::1/64"),
            ("netns:/a:b:eth2=fd00::1/64", "netns:/a:b:eth2", "fd00::1/64"),
            ("netns:/a=b=10.0.0.1/24", "netns:/a=b:eth1", "10.0.0.1/24"),
            ("netns:/a=b=", "netns:/a=b:eth1", "0/0"),
        ] {
            let end: EndWord = word.parse().unwrap();
            assert_eq!((end.at.to_string().as_str(), end.addr.to_string().as_str()), (at, addr), "{word}");
        }
    }

    #[test]
    fn what_is_no_end_is_refused_with_the_word_that_is_wrong() {
        for (word, wanted) in [
            ("", "guest \"\""),
            (":eth1", "guest \"\""),
            ("=10.0.0.1/24", "guest \"\""),
            ("docker:", "guest \"docker:\""),
            ("docker::eth1", "guest \"docker:\""),
            ("pid:x", "a process ID is a number"),
            ("web:eth1:eth2", "guest \"web:eth1\""),
            ("web:much-too-long-a-name", "interface name"),
            ("web=10.0.0.1", "Maybe you meant 10.0.0.1/24"),
            ("web=nonsense", "address \"nonsense\""),
            ("web=dhcp", "nobody gives addresses"),
            ("web=dhcp:-f", "nobody gives addresses"),
            ("netns:/a=b", "address \"b\""),
        ] {
            let error = word.parse::<EndWord>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{word}: {error}");
        }
    }

    #[test]
    fn each_end_is_asked_for_as_if_it_were_attached_to_the_other() {
        let ends = ["web=10.0.0.1/24", "pid:12:lan0"].map(|word| word.parse::<EndWord>().unwrap());
        let [first, second] = PairRequest { ends, mtu: None }.requests();
        assert_eq!((first.host_if.to_string(), first.guest.to_string()), ("link:pid:12:lan0".to_owned(), "web".to_owned()));
        assert_eq!((second.host_if.to_string(), second.guest_if.unwrap().to_string()), ("link:web:eth1".to_owned(), "lan0".to_owned()));
        assert_eq!(first.host_if.to_string().parse::<HostIf>().unwrap(), first.host_if);
    }
}
