//! An address by a DHCP client of the host.

use std::time::{Duration, Instant};

use super::dynamic::{Asking, Configured, DynamicError};
use super::keeper;
use crate::external::client::{Client, ClientError, Place};
use crate::kernel::System;
use crate::kernel::signal::Signals;
use crate::model::client::{ClientCommand, Purpose, pid_file};
use crate::model::dynamic::ClientProgram;
use crate::model::types::IfAddr;

/// Between two looks at signals and the clock.
const PAUSE: Duration = Duration::from_millis(20);
/// A client applies its lease before it says so, but its scripts may do so in their own time.
const LATEST: Duration = Duration::from_secs(2);

/// The command line of a client for a request.
pub(super) fn command(program: ClientProgram, stay: bool, options: &str, asking: &Asking<'_>) -> ClientCommand {
    let guest = &asking.request.guest;
    ClientCommand::new(&Purpose {
        program,
        stay,
        options,
        interface: asking.guest_if,
        file_name: guest.file_name(),
        host_name: asking.host_name(),
        deadline_s: asking.options.dhcp_timeout().as_secs(),
    })
}

/// Runs a client until there is an address, or ends it and all that it started.
pub(super) fn configure(
    program: ClientProgram,
    stay: bool,
    options: &str,
    asking: &Asking<'_>,
    system: &mut System<'_>,
    signals: &mut Signals,
) -> Result<Configured, DynamicError> {
    let patience = asking.options.dhcp_timeout();
    let start = Instant::now();
    let guest = asking.request.guest.file_name();
    let place = Place {
        namespace: &asking.held.namespace,
        process: asking.held.process.as_ref(),
        pid_dir: asking.options.pid_dir(),
        pid_names: [pid_file(program, &guest), pid_file(program, &format!("{guest}.{}", asking.guest_if))],
    };
    let mut client = Client::start(&command(program, stay, options, asking), stay, place)?;
    while !client.has_lease(PAUSE)? {
        interrupted(signals)?;
        if start.elapsed() >= patience {
            return Err(client.time_out(patience).into());
        }
    }
    let addr = wait_for_addr(asking, LATEST, system, signals)?;
    let addr = addr.ok_or_else(|| ClientError::NotApplied { program: program.name(), interface: asking.guest_if.to_string() })?;
    let keeper = if stay { client.stay().and_then(keeper::of) } else { None };
    Ok(Configured { addr: Some(addr), keeper, ..Configured::default() })
}

/// Waits until the guest's interface has an address of the family that is asked for, for so long.
pub(super) fn wait_for_addr(
    asking: &Asking<'_>,
    patience: Duration,
    system: &mut System<'_>,
    signals: &mut Signals,
) -> Result<Option<IfAddr>, DynamicError> {
    let start = Instant::now();
    loop {
        if let Some(addr) = system.given_addr(asking.guest_if, asking.dynamic.family())? {
            return Ok(Some(addr));
        }
        interrupted(signals)?;
        if start.elapsed() >= patience {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

pub(super) fn interrupted(signals: &mut Signals) -> Result<(), DynamicError> {
    signals.pending().map_or(Ok(()), |signal| Err(DynamicError::Interrupted(signal)))
}
