//! The language that the rest speaks: plain data, pure functions, nothing of the system.

pub mod access;
pub mod addr_spec;
pub mod bridge;
pub mod client;
pub mod command;
pub mod conflict;
pub mod dhcp;
pub mod difference;
pub mod dynamic;
pub mod error;
pub mod facts;
pub mod guest_name;
pub mod lease;
pub mod mark;
pub mod op;
pub mod ovs;
pub mod phy;
pub mod record;
pub mod report;
pub mod request;
pub mod settings;
pub mod sharing;
pub mod status;
pub mod types;
pub mod units;
pub mod vlan;
