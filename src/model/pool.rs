//! Addresses to be given out: a pool, the word that asks for one of its addresses, and who is to have it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::error::InputError;
use super::types::serde_as_text;

/// The name of a pool: 1 to 32 lower-case letters, digits and dashes, a letter first. It stands in keys and in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolName(String);

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
}
