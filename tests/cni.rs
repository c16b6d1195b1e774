//! The program as a CNI plugin, as runtimes call it: by its environment and a configuration on standard input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

#[path = "cni/consul.rs"]
mod consul;
#[path = "cni/crowd.rs"]
mod crowd;
#[path = "cni/delegated.rs"]
mod delegated;
#[path = "cni/engines.rs"]
mod engines;
#[path = "cni/hostile.rs"]
mod hostile;
#[path = "cni/install.rs"]
mod install;
#[path = "cni/kinds.rs"]
mod kinds;
#[path = "cni/protocol.rs"]
mod protocol;
#[path = "cni/runtime.rs"]
mod runtime;
