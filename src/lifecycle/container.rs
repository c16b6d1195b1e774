//! An address by a client in a container that shares the guest's network.

use std::time::{Duration, Instant};

use super::client::{interrupted, wait_for_addr};
use super::dynamic::{Asking, Configured, DynamicError};
use crate::guest::sidecar::{Beside, CAPABILITIES, Ended, LABEL_FOR, LABEL_IF, Sidecar};
use crate::kernel::System;
use crate::kernel::signal::Signals;
use crate::model::client::{Purpose, container_command};
use crate::model::command::quoted;
use crate::model::dynamic::{CONTAINER_STAYS, ClientProgram};
use crate::model::types::IfAddr;

const IMAGE: &str = "busybox";
/// Between two questions to the engine, in which the guest's interface is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// The client applies its lease before it ends.
const LATEST: Duration = Duration::from_secs(2);

fn image<'a>(asking: &Asking<'a>) -> &'a str {
    asking.options.dhcp_image.as_deref().filter(|image| !image.is_empty()).unwrap_or(IMAGE)
}

fn stays(options: &str) -> bool {
    options.split_whitespace().any(|word| word == CONTAINER_STAYS)
}

fn command(options: &str, asking: &Asking<'_>) -> Vec<String> {
    container_command(&Purpose {
        program: ClientProgram::Udhcpc,
        stay: stays(options),
        options,
        interface: asking.guest_if,
        file_name: asking.request.guest.file_name(),
        host_name: asking.host_name(),
        deadline_s: asking.options.dhcp_timeout().as_secs(),
    })
}

/// The same for a shell.
pub(super) fn print(options: &str, asking: &Asking<'_>) -> String {
    let id = asking.held.id.container.as_deref().unwrap_or_default();
    let stays = if stays(options) { "-d" } else { "--rm" };
    let capabilities: String = CAPABILITIES.iter().map(|name| format!(" --cap-add {name}")).collect();
    let labels = format!("--label {LABEL_FOR}={id} --label {LABEL_IF}={}", quoted(asking.guest_if.as_str()));
    let words: Vec<String> = command(options, asking).iter().map(|word| quoted(word)).collect();
    format!("docker run {stays} --net container:{id}{capabilities} {labels} {} {}", quoted(image(asking)), words.join(" "))
}

/// Runs the container until there is an address, or removes it.
pub(super) fn configure(
    options: &str,
    asking: &Asking<'_>,
    system: &mut System<'_>,
    signals: &mut Signals,
) -> Result<Configured, DynamicError> {
    let command = command(options, asking);
    let beside = Beside { guest: &asking.held.id, interface: asking.guest_if.as_str(), image: image(asking), command: &command };
    let sidecar = Sidecar::start(&beside)?;
    let stays = stays(options);
    let addr = await_addr(&sidecar, stays, asking, system, signals)?;
    let watched = !stays || sidecar.stay(asking.held.process.as_ref());
    let warning = (!watched).then(|| "nothing removes the DHCP client's container when the guest ends".to_owned());
    Ok(Configured { addr: Some(addr), warnings: warning.into_iter().collect(), ..Configured::default() })
}

/// One that stays does not say when it has a lease: the interface does. One that does not stay has ended by then.
fn await_addr(
    sidecar: &Sidecar,
    stays: bool,
    asking: &Asking<'_>,
    system: &mut System<'_>,
    signals: &mut Signals,
) -> Result<IfAddr, DynamicError> {
    let (start, patience) = (Instant::now(), asking.options.dhcp_timeout());
    let fail = |why: String| Err(DynamicError::Container(why));
    loop {
        interrupted(signals)?;
        match sidecar.ended()? {
            Some(Ended { status: 0, .. }) if !stays => {
                let addr = wait_for_addr(asking, LATEST, system, signals)?;
                let none = || format!("ended well, but {} has no address: does its image have udhcpc's script?", asking.guest_if);
                return addr.map_or_else(|| fail(none()), Ok);
            }
            Some(Ended { status, words }) => return fail(format!("ended with exit status {status}; it said: {words}")),
            None if stays => {
                if let Some(addr) = wait_for_addr(asking, PAUSE, system, signals)? {
                    return Ok(addr);
                }
            }
            None => std::thread::sleep(PAUSE),
        }
        if start.elapsed() >= patience {
            return fail(format!("has no lease after {} s; it said: {}", patience.as_secs(), sidecar.words()));
        }
    }
}
