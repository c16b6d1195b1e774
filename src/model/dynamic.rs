//! Addresses that somebody else gives: the DHCP words, DHCPv6 and SLAAC.

use std::fmt;
use std::str::FromStr;

use super::client::{asks_for_ipv6, forbidden_option};
use super::dhcp::ClientWords;
use super::error::InputError;
use super::types::{Family, serde_as_text};

/// How the guest's interface comes to its address, when it is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dynamic {
    /// `dhcp[:options]`: the DHCPv4 client that is built in. The options are udhcpc's usual ones.
    Dhcp {
        /// The words behind the colon.
        options: String,
    },
    /// `dhcp6`: the DHCPv6 client that is built in.
    Dhcp6,
    /// `slaac`: an address from a router advertisement (RFC 4862), made by the kernel.
    Slaac,
    /// `dhcp-container[:options]`: the original's way, a container that shares the guest's network.
    Container {
        /// The words behind the colon, for its udhcpc.
        options: String,
    },
    /// `udhcpc[-f]`, `dhclient[-f]`, `dhcpcd[-f]`: a client that is installed on the host.
    Client {
        /// Which.
        program: ClientProgram,
        /// `-f`: it stays and renews.
        stay: bool,
        /// The words behind the colon.
        options: String,
    },
}

/// The option of `dhcp-container` by which its client, and so the container, stays.
pub const CONTAINER_STAYS: &str = "-f";

/// A DHCP client of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProgram {
    /// Busybox's.
    Udhcpc,
    /// The ISC's.
    Dhclient,
    /// Roy Marples's.
    Dhcpcd,
}

impl ClientProgram {
    /// The name of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udhcpc => "udhcpc",
            Self::Dhclient => "dhclient",
            Self::Dhcpcd => "dhcpcd",
        }
    }
}

impl Dynamic {
    /// The family of the address that comes.
    pub fn family(&self) -> Family {
        match self {
            Self::Dhcp6 | Self::Slaac => Family::Inet6,
            Self::Client { options, .. } if asks_for_ipv6(options) => Family::Inet6,
            Self::Dhcp { .. } | Self::Container { .. } | Self::Client { .. } => Family::Inet,
        }
    }

    /// Whether the built-in client stays and renews.
    pub fn stays(&self) -> bool {
        matches!(self, Self::Dhcp { options } if options.parse::<ClientWords>().is_ok_and(|words| words.stays()))
    }

    /// What the word asks for; `None` when it is no such word.
    ///
    /// # Errors
    /// When it is one, and its options make no sense.
    pub fn parse(word: &str) -> Option<Result<Self, InputError>> {
        let (name, options) = word.split_once(':').unwrap_or((word, ""));
        let options = options.to_owned();
        if matches!(name, "dhcp6" | "slaac") && word.contains(':') {
            return Some(Err(InputError::Address { text: word.to_owned(), why: format!("{name} has no options: leave out what follows") }));
        }
        let client = |program, stay| Self::Client { program, stay, options: options.clone() };
        let parsed = match name {
            "dhcp" => match options.parse::<ClientWords>() {
                Ok(_) => Self::Dhcp { options },
                Err(error) => return Some(Err(error)),
            },
            "dhcp-container" => Self::Container { options },
            "dhcp6" => Self::Dhcp6,
            "slaac" => Self::Slaac,
            "udhcpc" => client(ClientProgram::Udhcpc, false),
            "udhcpc-f" => client(ClientProgram::Udhcpc, true),
            "dhclient" => client(ClientProgram::Dhclient, false),
            "dhclient-f" => client(ClientProgram::Dhclient, true),
            "dhcpcd" => client(ClientProgram::Dhcpcd, false),
            "dhcpcd-f" => client(ClientProgram::Dhcpcd, true),
            _ => return None,
        };
        Some(parsed.checked())
    }
}

impl Dynamic {
    fn checked(self) -> Result<Self, InputError> {
        let (option, instead) = match &self {
            Self::Client { program, options, .. } => {
                let name = program.name();
                (forbidden_option(*program, options), format!("{name} ends with the first lease and {name}-f stays"))
            }
            Self::Container { options } => {
                let others = options.split_whitespace().filter(|word| *word != CONTAINER_STAYS);
                let option = others.into_iter().find(|word| forbidden_option(ClientProgram::Udhcpc, word).is_some());
                (option, format!("it ends with the first lease, and stays with {CONTAINER_STAYS}"))
            }
            Self::Dhcp { .. } | Self::Dhcp6 | Self::Slaac => return Ok(self),
        };
        let Some(option) = option else { return Ok(self) };
        let why = format!("{option} is not for the options: interface and pid file are given, {instead}");
        Err(InputError::Address { text: self.to_string(), why })
    }
}

impl FromStr for Dynamic {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = || InputError::Address { text: text.to_owned(), why: "no word for a dynamic address".into() };
        Self::parse(text).unwrap_or_else(|| Err(refuse()))
    }
}

impl fmt::Display for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, stay, options) = match self {
            Self::Dhcp { options } => ("dhcp", false, options.as_str()),
            Self::Dhcp6 => ("dhcp6", false, ""),
            Self::Slaac => ("slaac", false, ""),
            Self::Container { options } => ("dhcp-container", false, options.as_str()),
            Self::Client { program, stay, options } => (program.name(), *stay, options.as_str()),
        };
        f.write_str(name)?;
        f.write_str(if stay { "-f" } else { "" })?;
        if options.is_empty() { Ok(()) } else { write!(f, ":{options}") }
    }
}

serde_as_text!(Dynamic);
