//! Several hosts as one: Consul and Swarm brought up, a bridge over each host's NIC, and addresses that are nobody else's.

pub mod access;
pub mod agent;
pub mod claims;
pub mod configured;
mod conflicts;
pub mod examined;
pub mod page;
pub mod status;
pub mod swarm;
pub mod up;
pub mod verify;
