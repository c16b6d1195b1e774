//! Examines this host's bridges when somebody asks all hosts: `pipework doctor --all`.

use std::time::Duration;

use super::Core;
use crate::cluster::examined;
use crate::lifecycle::doctor::{DoctorOptions, examine_host};
use crate::lifecycle::host_bridge::HostOptions;

/// So long a question is waited for.
const WATCH: Duration = Duration::from_secs(60);
/// After an answer that did not come, and between two examinations: whoever asks all the time gets no more than that.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers for as long as the agent runs. What was asked before it began is nobody's question any more.
pub(super) fn answer(core: &Core) {
    let (key, mut index, mut seen) = (examined::question(&core.prefix), 0, None);
    while !core.has_ended() {
        match core.consul.watch_under(&key, index, WATCH) {
            Ok((pairs, next)) => {
                index = if next < index { 0 } else { next };
                let asked = pairs.iter().find(|pair| pair.key == key).map_or(0, |pair| pair.modify_index);
                if seen.replace(asked).is_none_or(|before| before == asked) || asked == 0 {
                    continue;
                }
                let options = DoctorOptions { fix: false, gateways: Vec::new(), host: HostOptions::from_environment() };
                let told = examined::answer(&core.consul, &core.prefix, asked, examine_host(&core.host, &options));
                if let Err(error) = told.as_ref().map_err(ToString::to_string) {
                    core.warn(format!("what doctor found here could not be told: {error}"));
                }
                std::thread::sleep(PAUSE);
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
