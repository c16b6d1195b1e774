//! Who is attached on this host, noted in Consul for all others: what `pipework cluster verify` reaches for.

use std::time::Duration;

use super::Core;
use super::clock::Moment;
use super::seen::hosts;
use crate::cluster::verify::{Attached, write};
use crate::external::consul::{Consul, ConsulError};
use crate::lifecycle::tend;
use crate::model::cluster::rights::{self, Right};

/// How often it is looked: what is attached by hand is no agent's news.
const PACE: Duration = Duration::from_secs(1);

/// Keeps the note for as long as the agent runs. It stays when that ends, as the attachments do.
pub(super) fn keep(core: &Core) {
    let (mut news, mut complaint) = (0, false);
    let mut noted: Option<(Vec<Attached>, Moment)> = None;
    while !core.has_ended() {
        core.await_change(&mut news, PACE);
        let pulse = core.session().terms().pulse();
        let Some(now) = own(core).filter(|_| core.live().is_some()) else { continue };
        if noted.as_ref().is_some_and(|(before, at)| *before == now && Moment::now().since(*at) < pulse) {
            continue;
        }
        match write(core.way().1, &core.prefix, &core.host, &now) {
            Ok(()) => (noted, complaint) = (Some((now, Moment::now())), false),
            Err(error) => {
                noted = None;
                if error.is_denied() && !std::mem::replace(&mut complaint, true) {
                    core.warn(format!(
                        "who is attached here is not noted: {error}: {}",
                        rights::missing(Right::Keys, &core.prefix, &core.host)
                    ));
                }
                // Whatever it was: not again at once.
                std::thread::sleep(PACE);
            }
        }
    }
}

fn own(core: &Core) -> Option<Vec<Attached>> {
    let records = tend::recorded(&core.lifecycle).ok()?;
    let mut all: Vec<Attached> = records
        .iter()
        .map(|record| Attached { host: core.host.clone(), guest: record.guest.word.to_string(), addresses: record.addrs().collect() })
        .collect();
    all.sort_by(|a, b| (&a.guest, &a.addresses).cmp(&(&b.guest, &b.addresses)));
    Some(all)
}

/// Whether the agent of a host says that it is well: it keeps that host's note then.
///
/// # Errors
/// When Consul does not answer.
pub fn is_kept(consul: &Consul, host: &str) -> Result<bool, ConsulError> {
    Ok(hosts(consul)?.contains(host))
}
