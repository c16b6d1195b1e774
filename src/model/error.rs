//! What can be wrong with what is asked, and with what the kernel answers.

use nix::errno::Errno;
use thiserror::Error;

use super::conflict::Conflict;
use super::types::Family;

/// A word of the request that cannot be taken; nothing has been looked at or changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InputError {
    /// Not an interface name.
    #[error("interface name {name:?}: {why}")]
    IfName {
        /// What was given.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a MAC address.
    #[error("MAC address {text:?}: {why}")]
    Mac {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a VLAN.
    #[error(
        "VLAN {text:?}: on Ethernet a number from 1 to 4094 like @10, on a bridge also tagged ones like @10,20-30 or @,20-30, on a NIC also @ad:100; on InfiniBand a partition key in hexadecimal like @8001"
    )]
    Vlan {
        /// What was given.
        text: String,
    },
    /// Not a partition key.
    #[error("partition key {text:?}: four hexadecimal digits like @8001, neither 0 nor 8000")]
    Pkey {
        /// What was given.
        text: String,
    },
    /// Not a macvlan mode.
    #[error("macvlan mode {text:?}: give bridge, vepa, private, passthru, or source:MAC,MAC... with the addresses that may be heard")]
    MacvlanMode {
        /// What was given.
        text: String,
    },
    /// Not an ipvlan mode.
    #[error("ipvlan mode {text:?}: give l2, l3 or l3s, with :private or :vepa behind it where siblings are to be kept apart")]
    IpvlanMode {
        /// What was given.
        text: String,
    },
    /// Not a mode of duplicate address detection.
    #[error("--dad {text:?}: give off, warn or fail")]
    DadMode {
        /// What was given.
        text: String,
    },
    /// A time to wait, but nobody is asked.
    #[error("--dad-wait waits for answers, but nobody is asked: give --dad warn or --dad fail with it")]
    DadWait,
    /// Not an address family.
    #[error("address family {text:?}: give 4, 6, inet or inet6")]
    Family {
        /// What was given.
        text: String,
    },
    /// `-a` and the address disagree.
    #[error("-a asks for {asked}, but the address is {is}")]
    FamilyMismatch {
        /// What `-a` said.
        asked: Family,
        /// What the address is.
        is: Family,
    },
    /// An address without its prefix length: the original's own words.
    #[error("The IP address should include a netmask. Maybe you meant {text}/{guess} ?")]
    NoPrefix {
        /// What was given.
        text: String,
        /// A usual prefix length for the family.
        guess: u8,
    },
    /// Not an address.
    #[error("address {text:?}: {why}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a gateway.
    #[error("gateway {text:?}: {why}")]
    Gateway {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a value of an option.
    #[error("{option} {text:?}: {why}")]
    Setting {
        /// The option.
        option: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it, or what it is to be.
        why: String,
    },
    /// Not a guest.
    #[error("guest {text:?}: {why}")]
    Guest {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Why a step, or a question to the kernel, failed. The number stays data.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KernelError {
    /// The kernel's answer, with its own explanation where it has one (extended ACK, linux/netlink.h).
    #[error("{}", refused_text(*.errno, .text.as_deref()))]
    Refused {
        /// The error number.
        errno: Errno,
        /// The text of the extended ACK.
        text: Option<String>,
    },
    /// No answer came in time: whether it was done is not known.
    #[error("the kernel did not answer within {0} ms")]
    Unanswered(u64),
    /// A link is not there.
    #[error("there is no interface {0}")]
    NoLink(String),
    /// A link has the name of one that we made, and not our mark.
    #[error("{0} does not bear our mark: somebody else made it, or took the mark away; delete it yourself if it is to go")]
    NotOurs(String),
    /// The answer made no sense.
    #[error("the kernel's answer cannot be read: {0}")]
    Garbled(String),
    /// A file that was to be a network namespace is none.
    #[error("{0} is not a network namespace")]
    NoNamespace(String),
    /// The first half of a step was done, and the second failed.
    #[error(transparent)]
    HalfDone(Box<Self>),
    /// Somebody else has an address that was to be given.
    #[error(transparent)]
    Taken(Box<Conflict>),
    /// Whether somebody has an address could not be asked.
    #[error("nobody could be asked for the address: {0}")]
    Unasked(String),
    /// The guest is no more.
    #[error("the guest has ended")]
    GuestEnded,
    /// A signal asked to stop.
    #[error("interrupted by {0}")]
    Interrupted(&'static str),
    /// Open vSwitch, or its database.
    #[error(transparent)]
    Ovs(super::ovs::OvsError),
    /// A file of the system.
    #[error("{path}: {}", .errno.desc())]
    File {
        /// Which.
        path: String,
        /// The error number.
        errno: Errno,
    },
}

fn refused_text(errno: Errno, text: Option<&str>) -> String {
    match text {
        Some(text) => format!("{}: {text}", errno.desc()),
        None => errno.desc().to_owned(),
    }
}

impl KernelError {
    /// The error number, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } | Self::File { errno, .. } => Some(*errno),
            Self::NoLink(_) => Some(Errno::ENODEV),
            Self::HalfDone(cause) => cause.errno(),
            Self::Ovs(error) => error.errno(),
            _ => None,
        }
    }

    /// The same of a guest with a name, where there are two.
    #[must_use]
    pub fn of_guest(self, name: &str) -> Self {
        match self {
            Self::NoLink(link) => Self::NoLink(link.replace("the guest", name)),
            Self::NotOurs(link) => Self::NotOurs(link.replace("the guest", name)),
            Self::HalfDone(cause) => Self::HalfDone(Box::new(cause.of_guest(name))),
            other => other,
        }
    }

    /// Whether the step may have taken effect although it failed.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Ovs(error) if error.outcome_unknown())
            || matches!(self, Self::Unanswered(_) | Self::Garbled(_) | Self::HalfDone(_))
            || matches!(self, Self::Refused { errno: Errno::ENOBUFS, .. })
    }
}
