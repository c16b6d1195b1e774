//! What the daemon's own environment says, in the variables of the dreamcat4 image.

use super::Source;

/// The daemon's own variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonEnvironment {
    /// `pipework_run_mode`; none when nothing is said.
    pub run_modes: Option<RunModes>,
    /// `pipework_host_routes`: this host is to reach every guest.
    pub host_routes: bool,
    /// `pipework_host_route_arping`. Our host access looks for no free address, so that there is nothing to ask.
    pub host_route_arping: bool,
    /// `pipework_host_route_protocols`, as they are written. Our host access is of the first address's family.
    pub host_route_protocols: Vec<String>,
    /// `pipework_up_time`: the daemon ends after so many milliseconds.
    pub up_time: Option<u64>,
    /// `pipework_key`: what a container has to have as its own `pipework_key`.
    pub key: Option<String>,
    /// `*pipework_cmd*`, in alphabetical order of name: what is attached in run mode `manual`.
    pub commands: Vec<ManualCommand>,
    /// `pipework_event_filters`, as pairs of name and value for the engine's own filter of events.
    pub event_filters: Vec<(String, String)>,
    /// `pipework_cleanup_wait`: so many milliseconds from a guest's end until it is cleared up.
    pub cleanup_wait: u64,
    /// `pipework_retry_delay`: so many milliseconds until what failed is tried again.
    pub retry_delay: Option<u64>,
    /// `pipework_inter_delay`: so many milliseconds from one attachment to the next.
    pub inter_delay: u64,
    /// `pipework_route_add_delay`, in milliseconds. Our host access has nothing to wait for.
    pub route_add_delay: u64,
    /// `pipework_debug`: more is told.
    pub debug: bool,
}

/// What the daemon does of itself, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunModes {
    /// Its own `*pipework_cmd*`.
    pub manual: bool,
    /// The containers that run.
    pub batch: bool,
    /// Those that start later.
    pub daemon: bool,
}

/// A whole line of the original's, from the daemon's own environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualCommand {
    /// The variable.
    pub source: Source,
    /// Its guest, as it is written.
    pub guest: String,
    /// The words of `attach` without the guest.
    pub words: Vec<String>,
    /// Whether host and guest are to reach each other.
    pub host_access: bool,
}
