//! Addresses to be given out: a pool, the word that asks for one of its addresses, and who is to have it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::model::error::InputError;
use crate::model::types::{IfAddr, serde_as_text};

mod choice;
mod file;

pub use file::read;
pub(in crate::model) use file::{MOST_RESERVED, each, overlap, range, subnet};

/// The name of a pool: 1 to 32 lower-case letters, digits and dashes, a letter first. It stands in keys and in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolName(String);

impl PoolName {
    /// A name that this program makes itself and knows to be right.
    pub(in crate::model) fn made(text: &str) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text}");
        Self(text.to_owned())
    }
}

impl FromStr for PoolName {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || text.len() > 32 || !text.bytes().all(is_good) {
            let why = "a pool's name is a letter, and up to 31 lower-case letters, digits and dashes".to_owned();
            return Err(InputError::Address { text: text.to_owned(), why });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `pool:NAME` or `pool:NAME#ADDRESS`: an address of a pool, any or that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolWord {
    /// Which pool.
    pub pool: PoolName,
    /// The address that is wished for.
    pub wish: Option<IpAddr>,
}

impl PoolWord {
    /// What begins such a word.
    pub const PREFIX: &'static str = "pool:";
}

impl FromStr for PoolWord {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::Address { text: text.to_owned(), why: why.to_owned() };
        let rest = text.strip_prefix(Self::PREFIX).ok_or_else(|| refuse("such a word is pool:NAME or pool:NAME#ADDRESS"))?;
        if rest.contains('@') {
            return Err(refuse("the pool says which gateway its guests have: leave out @ and what follows it"));
        }
        if rest.contains(',') {
            return Err(refuse("an interface has one address of one pool, which stands alone"));
        }
        let (name, wish) = match rest.split_once('#') {
            Some((name, wish)) => (name, Some(wish.parse().map_err(|_| refuse("behind # stands an address, without a prefix"))?)),
            None => (rest, None),
        };
        Ok(Self { pool: name.parse()?, wish })
    }
}

impl fmt::Display for PoolWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.pool)?;
        self.wish.iter().try_for_each(|wish| write!(f, "#{wish}"))
    }
}

serde_as_text!(PoolName, PoolWord);

/// Addresses that are given out, all of one subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// The subnet: the prefix of all addresses.
    pub subnet: IpNetwork,
    /// The first and the last address that is given out; all of the subnet when absent, but for its own and its broadcast
    /// address.
    pub range: Option<(IpAddr, IpAddr)>,
    /// The guests' gateway, which is not given out.
    pub gateway: Option<IpAddr>,
    /// Addresses that somebody else has: the hosts', for example.
    #[serde(default)]
    pub reserved: Vec<IpAddr>,
}

impl Pool {
    /// An address of it with its prefix; `None` when it is of the other family.
    pub fn with_prefix(&self, ip: IpAddr) -> Option<IfAddr> {
        (self.subnet.is_ipv4() == ip.is_ipv4()).then(|| IfAddr::new(ip, self.subnet.prefix())).flatten()
    }
}

/// Who has an address, for good: a container's name, or `SERVICE/SLOT` of a Swarm task. Printable, up to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(String);

impl FromStr for Owner {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let is_good = |c: char| c.is_ascii_alphanumeric() || "_.-/@+:".contains(c);
        let bad = |part: &str| part.is_empty() || matches!(part, "." | "..");
        if text.len() > 255 || !text.chars().all(is_good) || text.split('/').any(bad) || text.split('/').count() > 2 {
            let why = "an owner is a container's name, or SERVICE/SLOT".to_owned();
            return Err(InputError::Guest { text: text.to_owned(), why });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Owner);

/// What a task's identifier is as long as (swarmkit's `identity.NewID`).
const TASK_ID: usize = 25;

impl Owner {
    /// The owner that a container of that name is. Swarm calls the container of a task `SERVICE.SLOT.TASK`, where the task is
    /// another one each time, and the slot is not; of a global service it is the node that stands in the slot's place.
    ///
    /// # Errors
    /// When the name is none.
    pub fn of_container(name: &str) -> Result<Self, InputError> {
        let is_task = |task: &str| task.len() == TASK_ID && task.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let slot = name.rsplit_once('.').filter(|(_, task)| is_task(task)).and_then(|(rest, _)| rest.rsplit_once('.'));
        match slot.filter(|(service, slot)| !service.is_empty() && !slot.is_empty()) {
            Some((service, slot)) => format!("{service}/{slot}").parse(),
            None => name.parse(),
        }
    }
}

/// What is written down of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Whose the address is.
    pub owner: Owner,
    /// Since when (RFC 3339).
    pub since: String,
    /// When it was last asked for, to within an hour (RFC 3339).
    pub seen: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pool_s_word_is_printed_as_it_was_read() {
        for text in ["pool:lan", "pool:lan#192.168.116.120", "pool:lan-6#fd00::5"] {
            assert_eq!(text.parse::<PoolWord>().unwrap().to_string(), text);
        }
        for text in ["lan", "pool:", "pool:Lan", "pool:lan#", "pool:lan#1.2.3.4/24", "pool:-a", "pool:a/b", "pool:lan#x"] {
            assert!(text.parse::<PoolWord>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_owner_is_a_name_or_a_slot() {
        for text in ["web", "web/1", "shop_web.1"] {
            assert_eq!(text.parse::<Owner>().unwrap().to_string(), text);
        }
        for text in ["", "/", "a/b/c", "../x", "a b", "x/"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_task_s_container_belongs_to_its_slot_and_any_other_to_itself() {
        for (name, owner) in [
            ("web.1.0123456789abcdefghijklmno", "web/1"),
            ("shop_web.12.0123456789abcdefghijklmno", "shop_web/12"),
            ("a.b.1.0123456789abcdefghijklmno", "a.b/1"),
            ("log.abcdefghijklmnopqrstuvwxy.0123456789abcdefghijklmno", "log/abcdefghijklmnopqrstuvwxy"),
            ("web", "web"),
            ("web.1", "web.1"),
            ("web.1.short", "web.1.short"),
            ("web.0123456789abcdefghijklmno", "web.0123456789abcdefghijklmno"),
        ] {
            assert_eq!(Owner::of_container(name).unwrap().to_string(), owner);
        }
        assert!(Owner::of_container("").is_err());
    }
}
