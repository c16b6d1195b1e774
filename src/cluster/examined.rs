//! `pipework doctor --all`: the agent of each host examines its bridges when it is asked to by a key in Consul, and writes down
//! what it found. A question says nothing but that there is one: what is done is always the same, and mends nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::external::consul::{Condition, Consul, ConsulError, Freshness, Pair};
use crate::lifecycle::doctor::{DoctorOptions, examine_host};
use crate::model::cluster::{Cluster, Host};
use crate::model::doctor::HostReport;
use crate::state;

/// A larger answer is none: a host has a handful of bridges.
const LARGEST: usize = 256 * 1024;

/// An answer as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    /// The question's index.
    to: u64,
    report: HostReport,
}

/// Where the question is, and what watchers look for.
pub(super) fn question(prefix: &str) -> String {
    format!("{prefix}/doctor/question")
}

fn answers(prefix: &str) -> String {
    format!("{prefix}/doctor/answer/")
}

/// Writes down what a host found.
///
/// # Errors
/// When Consul refuses.
pub(super) fn answer(consul: &Consul, prefix: &str, to: u64, report: HostReport) -> Result<(), ConsulError> {
    let key = format!("{}{}", answers(prefix), report.host);
    let text = serde_json::to_vec(&Answer { to, report }).unwrap_or_default();
    consul.write(&key, &text, 0, Condition::Always).map(drop)
}

/// Asks all hosts, examines this one, and waits for the others' answers; in the order of the cluster's file.
///
/// # Errors
/// When Consul refuses.
pub fn examine_all(
    cluster: &Cluster,
    consul: &Consul,
    own: &Host,
    options: &DoctorOptions,
    patience: Duration,
) -> Result<Vec<HostReport>, ConsulError> {
    let prefix = cluster.prefix();
    let key = question(&prefix);
    // Never what stands there: Consul takes a write of the same value for none.
    let text = serde_json::json!({"by": own.name, "since": state::now(), "process": std::process::id()}).to_string();
    consul.write(&key, text.as_bytes(), 0, Condition::Always)?;
    let asked = consul.key(&key, Freshness::Consistent)?.map_or(0, |pair| pair.modify_index);
    let deadline = Instant::now() + patience;
    let mut found = BTreeMap::from([(own.name.clone(), examine_host(&own.name, options))]);
    let (folder, mut index) = (answers(&prefix), 0);
    while found.len() < cluster.hosts.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let (pairs, next) = consul.watch_under(&folder, index, left.min(Duration::from_secs(10)))?;
        found.extend(pairs.iter().filter_map(|pair| read(pair, &folder, asked)).filter(|(host, _)| *host != own.name));
        found.retain(|host, _| cluster.host(host).is_some());
        index = if next < index { 0 } else { next };
    }
    let silent = |host: &Host| HostReport {
        host: host.name.clone(),
        bridges: Vec::new(),
        problem: Some("no answer: does `pipework cluster agent` run there?".into()),
    };
    Ok(cluster.hosts.iter().map(|host| found.remove(&host.name).unwrap_or_else(|| silent(host))).collect())
}

/// What a host wrote, if that is an answer to this question.
fn read(pair: &Pair, folder: &str, asked: u64) -> Option<(String, HostReport)> {
    let host = pair.key.strip_prefix(folder)?;
    let answer: Answer = serde_json::from_slice(&pair.value).ok().filter(|_| pair.value.len() <= LARGEST)?;
    (answer.to >= asked && answer.report.host == host).then(|| (host.to_owned(), answer.report))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pair(key: &str, value: String) -> Pair {
        Pair { key: key.into(), value: value.into_bytes(), flags: 0, session: None, lock_index: 0, modify_index: 0 }
    }

    #[test]
    fn an_answer_counts_that_is_to_this_question_or_a_later_one_and_by_the_host_that_it_names() {
        let answer = |to: u64, host: &str| format!(r#"{{"to":{to},"report":{{"host":"{host}","bridges":[],"problem":null}}}}"#);
        for (key, value, counts) in [
            ("p/a", answer(7, "a"), true),
            ("p/a", answer(8, "a"), true),
            ("p/a", answer(6, "a"), false),
            ("p/b", answer(7, "a"), false),
            ("q/a", answer(7, "a"), false),
            ("p/a", "{}".into(), false),
            ("p/a", format!("{}{}", answer(7, "a"), " ".repeat(LARGEST)), false),
        ] {
            assert_eq!(read(&pair(key, value.clone()), "p/", 7).is_some(), counts, "{key}");
        }
    }
}
