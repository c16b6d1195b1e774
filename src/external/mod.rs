//! Other programs' protocols and other programs themselves: OVSDB, DHCP, clients and tools that are installed.

pub mod ovsdb;
pub mod program;
