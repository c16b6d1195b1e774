//! `pipework docker-plugin`: networks of Docker's own commands, with real engines, servers and swarms.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

// The longest first: tests are begun in the order of their names.
#[path = "docker_plugin/among_nodes.rs"]
mod among_nodes;
#[path = "docker_plugin/beginnings.rs"]
mod beginnings;
#[path = "docker_plugin/by_hand.rs"]
mod by_hand;
#[path = "docker_plugin/crowd.rs"]
mod crowd;
#[path = "docker_plugin/dhcp.rs"]
mod dhcp;
#[path = "docker_plugin/hostile.rs"]
mod hostile;
#[path = "docker_plugin/networks.rs"]
mod networks;
#[path = "docker_plugin/plugin.rs"]
mod plugin;
#[path = "docker_plugin/pools.rs"]
mod pools;
#[path = "docker_plugin/units.rs"]
mod units;
