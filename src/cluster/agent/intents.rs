//! What `pipework cluster attach` said: words for a name, on whichever host it runs. They are as strange as a label's: the same
//! grammar reads them, and the same policy has the last word.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Core;
use crate::external::consul::{ConsulError, Freshness, Pair};
use crate::frontend::daemon::beside::Intents;
use crate::model::cluster::rights::{self, Right};

/// So long a change is waited for.
const WATCH: Duration = Duration::from_secs(60);
/// After an answer that did not come.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest words that are read, in bytes; so many of one attach, and so many intents.
const LONGEST: usize = 4096;
const MOST_WORDS: usize = 64;
const MOST: usize = 4096;

/// An intent as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// The words of `attach` without the guest.
    pub words: Vec<String>,
    /// On which host it was said.
    pub by: String,
    /// When (RFC 3339).
    pub since: String,
}

/// Where all are.
fn folder(prefix: &str) -> String {
    format!("{prefix}/intents/")
}

/// Where that of a name is. `None`: nothing can be called so.
pub fn intent_key(prefix: &str, name: &str) -> Option<String> {
    is_name(name).then(|| format!("{}{name}", folder(prefix)))
}

/// As Docker lets containers and services be called.
fn is_name(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Follows them for as long as the agent runs.
pub(super) fn follow(core: &Core) {
    let (mut index, mut known, mut complaint, folder) = (0, None, None, folder(&core.prefix));
    while !core.has_ended() {
        match look(core, &folder, index, known) {
            Ok((pairs, next)) => {
                known = Some(pairs.len());
                if next != index || index == 0 {
                    let (intents, wrong) = read(&pairs, &folder);
                    wrong.into_iter().for_each(|why| core.warn(why));
                    if core.bell.get().is_some_and(|bell| !bell.intents(intents)) {
                        return;
                    }
                }
                // An index that went back begins anew.
                index = if next < index { 0 } else { next };
                complaint = None;
            }
            Err(error) => {
                let text = error.to_string();
                if error.is_denied() && complaint.as_ref() != Some(&text) {
                    let rule = rights::missing(Right::Keys, &core.prefix, &core.host);
                    core.warn(format!("what is said to the whole cluster is not known: {text}; {rule}"));
                    complaint = Some(text);
                }
                // What was left out has to be read once it may be, though it has not changed.
                index = 0;
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// All of them. Under access control Consul leaves out of a list what the token may not read, and answers well: so a list that is
/// shorter than before counts only when a single key of the folder may be asked for. That is refused, where it may not.
fn look(core: &Core, folder: &str, index: u64, known: Option<usize>) -> Result<(Vec<Pair>, u64), ConsulError> {
    let (pairs, next) = core.consul.watch_under(folder, index, WATCH)?;
    if pairs.is_empty() || known.is_some_and(|known| pairs.len() < known) {
        // Nothing is called so (`is_name`).
        core.consul.key(&format!("{folder}_"), Freshness::Usual)?;
    }
    Ok((pairs, next))
}

fn read(pairs: &[Pair], folder: &str) -> (Intents, Vec<String>) {
    let (mut intents, mut wrong) = (Intents::new(), Vec::new());
    for pair in pairs.iter().take(MOST) {
        let Some(name) = pair.key.strip_prefix(folder).filter(|name| is_name(name)) else { continue };
        match words(&pair.value) {
            Ok(words) => drop(intents.insert(name.to_owned(), words)),
            Err(why) => wrong.push(format!("cluster attach {name}: {why}: say it again")),
        }
    }
    if pairs.len() > MOST {
        wrong.push(format!("more than {MOST} names have words for the cluster: the others are not read"));
    }
    (intents, wrong)
}

fn words(value: &[u8]) -> Result<Vec<String>, String> {
    if value.len() > 2 * LONGEST {
        return Err("it is too long".into());
    }
    let stored: Stored = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let length: usize = stored.words.iter().map(String::len).sum();
    if stored.words.len() > MOST_WORDS || length > LONGEST {
        return Err(format!("more than {MOST_WORDS} words, or {LONGEST} bytes"));
    }
    Ok(stored.words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pair(key: &str, value: &str) -> Pair {
        Pair { key: key.into(), value: value.into(), flags: 0, session: None, lock_index: 0, modify_index: 0 }
    }

    #[test]
    fn intents_are_read_by_name_and_what_is_no_intent_is_told() {
        let good = r#"{"words":["br0","pool:lan"],"by":"a","since":"2026-01-01T00:00:00Z"}"#;
        let long = format!(r#"{{"words":["{}"],"by":"a","since":""}}"#, "x".repeat(4097));
        let pairs = [
            pair("p/intents/web", good),
            pair("p/intents/", "x"),
            pair("p/intents/a/b", good),
            pair("p/intents/bad", "{}"),
            pair("p/intents/long", &long),
        ];
        let (intents, wrong) = read(&pairs, "p/intents/");
        assert_eq!(intents.into_iter().collect::<Vec<_>>(), [("web".to_owned(), vec!["br0".to_owned(), "pool:lan".to_owned()])]);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn a_name_is_one_that_docker_gives() {
        for (name, wanted) in
            [("web", true), ("shop_web.1", true), ("", false), ("../x", false), (".x", false), ("a/b", false), ("a b", false)]
        {
            assert_eq!(intent_key("p", name).is_some(), wanted, "{name}");
        }
        assert_eq!(intent_key("p", "web").unwrap(), "p/intents/web");
    }
}
