//! The host's packet filter, which its own programs tell of: those that are installed are run, with nothing of our environment and for a
//! few seconds at most.

use std::time::Duration;

use crate::external::program::{self, Printed};
use crate::model::doctor::Rules;
use crate::model::types::Family;

const LIMIT: Duration = Duration::from_secs(5);

/// What the programs say, and what could not be found out. `filtered`: the families whose bridged packets the filter sees at all.
pub(super) fn read(filtered: &[Family]) -> (Vec<Rules>, Vec<String>) {
    let (mut rules, mut unknown) = (Vec::new(), Vec::new());
    for family in filtered {
        let programs = match family {
            Family::Inet => ["iptables", "iptables-legacy"],
            Family::Inet6 => ["ip6tables", "ip6tables-legacy"],
        };
        let found: Vec<&str> = programs.into_iter().filter(|program| program::find(&save(program)).is_some()).collect();
        if found.is_empty() {
            unknown.push(format!(
                "br_netfilter leads bridged {family} packets to the packet filter, and {} is not installed: what that does with them cannot be known",
                save(programs[0])
            ));
        }
        for name in found {
            match say(&save(name), &[]) {
                Ok(text) => rules.push(Rules::Iptables { family: *family, program: name.to_owned(), text }),
                // There may be none of its kind of table in this kernel.
                Err(_) if name.ends_with("legacy") => {}
                Err(why) => {
                    unknown.push(format!("{}: {why}: what the packet filter does with bridged packets cannot be known", save(name)))
                }
            }
        }
    }
    if program::find("nft").is_some() {
        let words = ["-j", "list", "ruleset"].map(str::to_owned);
        match say("nft", &words) {
            Ok(text) => rules.push(Rules::Nft { text }),
            Err(why) => unknown.push(format!("nft: {why}: what nftables does with bridged packets cannot be known")),
        }
    }
    (rules, unknown)
}

fn save(program: &str) -> String {
    format!("{program}-save")
}

/// Runs one of its programs for what it does.
pub(super) fn run(name: &str, words: &[String]) -> Result<(), String> {
    say(name, words).map(drop)
}

fn say(name: &str, words: &[String]) -> Result<String, String> {
    let path = program::find(name).ok_or_else(|| format!("{name} is not installed"))?;
    match program::read(&path, words, LIMIT) {
        Ok(Printed { well: true, out, .. }) => Ok(out),
        Ok(Printed { err, .. }) => {
            let line = err.lines().next().unwrap_or_default().trim().to_owned();
            Err(if line.is_empty() { format!("it did not end well within {} s", LIMIT.as_secs()) } else { line })
        }
        Err(error) => Err(error.to_string()),
    }
}
