//! What a guest is to have: by files, records, its labels, its environment, in this order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::{Origin, Rules, Want};
use crate::frontend::Grammar;
use crate::lifecycle::Options;
use crate::model::dynamic::Dynamic;
use crate::model::facts::guest_if;
use crate::model::intent::{Container, Intent, intents};
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::types::IfName;

/// Something that is asked for and not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it is asked for.
    pub source: String,
    /// The rule, or the mistake.
    pub why: String,
}

/// What a guest is to have, and what it is not to have though it asks for it.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// Those that wait for nobody come first.
    pub all: Vec<Arc<Want>>,
    /// The others.
    pub refused: Vec<Refused>,
    /// Whether what was said to the whole cluster is among them, if anything was.
    pub knows_said: bool,
}

impl Wants {
    /// Whether one of them waits for others' answers.
    pub fn wait(&self) -> bool {
        self.all.iter().any(|want| want.waits())
    }
}

/// Reads the words of labels and environment, by the strict grammar, and asks the policy.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// What the administrator has written down.
    pub rules: &'a Rules,
    /// The command line's grammar.
    pub grammar: Grammar,
    /// What the words do not say.
    pub options: &'a Options,
}

impl Reader<'_> {
    /// Those of a container that is called by that word.
    pub fn of_container(&self, container: &Container, word: &GuestRef) -> Wants {
        let mut chosen = Chosen::default();
        for want in self.rules.of_container(container) {
            chosen.written(want);
        }
        for intent in intents(container, &self.rules.host) {
            match intent {
                Ok(intent) => self.ask(container, word, &intent, Origin::Container, &mut chosen),
                Err(error) => chosen.refused.push(Refused { source: error.source_.to_string(), why: error.why }),
            }
        }
        for intent in self.rules.said_of(container) {
            self.ask(container, word, &intent, Origin::Cluster, &mut chosen);
        }
        Wants { knows_said: self.rules.intents_known, ..chosen.into_wants() }
    }

    fn ask(&self, container: &Container, word: &GuestRef, intent: &Intent, origin: Origin, chosen: &mut Chosen) {
        match self.want(container, word, intent, origin) {
            Ok(want) => chosen.asked(want),
            Err(why) => chosen.refused.push(Refused { source: intent.source.to_string(), why }),
        }
    }

    /// Those of another guest: only what is written down.
    pub fn of_word(&self, word: &GuestRef) -> Wants {
        let mut chosen = Chosen::default();
        self.rules.of_word(word).for_each(|want| chosen.written(want));
        chosen.into_wants()
    }

    fn want(&self, container: &Container, word: &GuestRef, intent: &Intent, origin: Origin) -> Result<Want, String> {
        let (request, typed) = (self.grammar)(word.clone(), &intent.words)?;
        let request = intent.complete(request).map_err(|error| error.why)?;
        self.rules.policy.check(container, &request, &typed.how()).map_err(|refusal| refusal.to_string())?;
        let Options { run_dir, state_dir, pid_dir, hooks, claims, .. } = self.options.clone();
        let options = Options { run_dir, state_dir, pid_dir, hooks, claims, persist: false, resident: true, ..typed };
        Ok(Want { request, options, source: intent.source.to_string(), origin })
    }
}

/// Why the daemon cannot make it, whoever wants it: a client of the host's has a process beside its command, which a process with
/// threads cannot have.
fn beyond(request: &AttachRequest) -> Option<String> {
    match &request.dynamic {
        Some(Dynamic::Client { program, .. }) => {
            Some(format!("{} is for the command line: say dhcp, whose lease the daemon keeps itself", program.name()))
        }
        _ => None,
    }
}

#[derive(Default)]
struct Chosen {
    by_interface: BTreeMap<IfName, Arc<Want>>,
    refused: Vec<Refused>,
}

impl Chosen {
    /// The administrator's: of two the first counts.
    fn written(&mut self, want: &Arc<Want>) {
        if let Some(why) = beyond(&want.request) {
            self.refused.push(Refused { source: want.source.clone(), why });
            return;
        }
        self.by_interface.entry(guest_if(&want.request)).or_insert_with(|| want.clone());
    }

    /// The container's own. Two for one interface contradict each other; what the administrator says counts.
    fn asked(&mut self, want: Want) {
        if let Some(why) = beyond(&want.request) {
            self.refused.push(Refused { source: want.source, why });
            return;
        }
        let interface = guest_if(&want.request);
        match self.by_interface.get(&interface) {
            None => drop(self.by_interface.insert(interface, Arc::new(want))),
            Some(other) if !matches!(other.origin, Origin::Container | Origin::Cluster) => {}
            Some(other) => {
                let why = format!("{} asks for {interface} already: name another with -i, like -i eth2", other.source);
                self.refused.push(Refused { source: want.source, why });
            }
        }
    }

    fn into_wants(self) -> Wants {
        let mut all: Vec<Arc<Want>> = self.by_interface.into_values().collect();
        all.sort_by_key(|want| want.waits());
        Wants { all, refused: self.refused, knows_said: false }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wants(labels: &[(&str, &str)], rules: &Rules) -> Wants {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let container = Container { engine: "docker".into(), id: "1".repeat(64), name: "web".into(), labels, ..Container::default() };
        let options = Options::default();
        let reader = Reader { rules, grammar, options: &options };
        reader.of_container(&container, &GuestRef::Docker("web".into()))
    }

    /// As much of the grammar as is needed here: `HOSTIF GUESTIF ADDR`.
    fn grammar(guest: GuestRef, words: &[String]) -> Result<(AttachRequest, Options), String> {
        let [host_if, guest_if, addr] = words else { return Err("three words".into()) };
        let request = AttachRequest::new(host_if.parse().unwrap(), guest, addr.parse().unwrap());
        let request = AttachRequest { guest_if: Some(guest_if.parse().unwrap()), ..request };
        Ok((request, Options::default()))
    }

    #[test]
    fn the_first_that_names_an_interface_counts_and_of_two_labels_the_second_is_told() {
        let file = Want {
            request: grammar(GuestRef::Any("web".into()), &["br9".into(), "eth1".into(), "10.9.9.9/24".into()]).unwrap().0,
            options: Options::default(),
            source: "/etc/pipework/a.toml".into(),
            origin: Origin::File,
        };
        let rules = Rules { wants: vec![Arc::new(file)], ..Rules::default() };
        let wants = wants(
            &[("pipework.a", "br0 eth1 10.0.0.1/24"), ("pipework.b", "br0 eth2 10.0.0.2/24"), ("pipework.c", "br0 eth2 10.0.0.3/24")],
            &rules,
        );
        let all: Vec<String> = wants.all.iter().map(|want| format!("{} {}", want.source, want.request.addr)).collect();
        assert_eq!(all, ["/etc/pipework/a.toml 10.9.9.9/24", "label pipework.b 10.0.0.2/24"]);
        assert_eq!(wants.refused.len(), 1);
        assert!(wants.refused[0].why.contains("label pipework.b asks for eth2 already"), "{:?}", wants.refused);
    }

    #[test]
    fn those_that_wait_for_a_server_come_last_and_mistakes_are_told() {
        let wants =
            wants(&[("pipework.a", "br0 eth1 dhcp"), ("pipework.b", "br0 eth2 10.0.0.2/24"), ("pipework.c", "br0")], &Rules::default());
        let all: Vec<&str> = wants.all.iter().map(|want| want.source.as_str()).collect();
        assert_eq!(all, ["label pipework.b", "label pipework.a"]);
        assert_eq!(wants.refused, [Refused { source: "label pipework.c".into(), why: "three words".into() }]);
    }
}
