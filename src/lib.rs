//! Fixed, LAN-reachable addresses for plain containers, in pure netlink.
//!
//! Data flows one way:
//!
//! ```text
//! argv -> Request                what is asked: valid, plain data, nothing of the system in it
//!      -> Facts                  what the two sides, and Open vSwitch's database, look like now: observed, plain data
//!      -> plan(&Request, &Facts) pure: an ordered list of Op, or why not
//!      -> execute(Plan)          one request to the kernel or the database after another; undo in reverse when one fails
//!      -> Lease                  where a server or a router gives the address: its steps are planned and executed likewise
//!      -> Report                 text or JSON, exit status
//! ```
//!
//! iproute2's words for a guest take a shorter way:
//!
//! ```text
//! argv -> Command                what the kernel is to be told or asked: pure; words not known go to the installed program
//!      -> netlink                a request, or a dump, in the guest
//!      -> text                   as iproute2 prints it: pure
//! ```
//!
//! Facts are an argument, not a look-up, because what to do depends on the host: is `br0` there, is it a bridge, what is
//! its MTU, has the guest an `eth1`? So every branch is tested as a table, without root, and `--dry-run` prints the plan.
//!
//! Who may use whom, each only what stands to its right (`tests/layering.rs` holds it):
//!
//! ```text
//! main -> cli -> cluster -> frontend -> lifecycle -> guest, state, external -> kernel -> plan, iproute -> model
//!
//! cli        the original's grammar and the subcommands     kernel   netlink, namespaces, sysctls
//! cluster    several hosts: Consul, Swarm, the claims of addresses
//! frontend   requests that nobody types: daemon, OCI hook, CNI
//! lifecycle  the use cases: attach, keep a lease, ...       plan     what to do, and in what order
//! guest      engines, names, a guest's own files            iproute  iproute2's words, and its way of printing
//! state      what is kept on disk between two runs          model    the language that all of them speak
//! external   OVSDB, DHCP, Consul, clients and tools installed
//! ```

pub mod cli;
pub mod cluster;
pub mod external;
pub mod frontend;
pub mod guest;
pub mod iproute;
pub mod kernel;
pub mod lifecycle;
pub mod model;
pub mod plan;
pub mod state;
