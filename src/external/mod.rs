//! Other programs' protocols and other programs themselves: OVSDB, DHCP, Consul, clients and tools that are installed.

pub mod client;
pub mod consul;
pub mod delegate;
pub mod dhcp;
pub mod hooks;
pub mod ovsdb;
pub mod program;
pub mod resident;
