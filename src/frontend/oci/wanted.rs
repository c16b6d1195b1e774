//! What is wanted of a container that is just starting: by the administrator's file, and by its own words.

use std::path::Path;

use super::{OciError, Settings};
use crate::external::hooks::HookSettings;
use crate::frontend::{Grammar, node};
use crate::guest::Starting;
use crate::lifecycle::Options;
use crate::model::dynamic::Dynamic;
use crate::model::facts::guest_if;
use crate::model::intent::{Container, Host, Intent, IntentError, Policy, intents};
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::topology::{self, Format, How, Located};
use crate::state;

/// One attachment that is to be made.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// Where it is written.
    pub(super) source: String,
    pub(super) request: AttachRequest,
    pub(super) options: Options,
}

/// Where the container is in its life: what can be done depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its namespaces are there; its files may still be the host's.
    Creating,
    /// It has its own files.
    Created,
}

/// All that is wanted, and what of it cannot be had.
pub(super) fn wishes(
    container: &Container,
    starting: &Starting,
    settings: &Settings,
    stage: Stage,
    grammar: Grammar,
) -> (Vec<Wish>, Vec<String>) {
    let word = starting.word();
    let mut wrong = Vec::new();
    let described = settings.config.as_deref().map_or_else(|| Ok(Vec::new()), |file| by_file(file, &word, container, grammar));
    let mut wishes = described.unwrap_or_else(|error| {
        wrong.push(error.to_string());
        Vec::new()
    });
    for asked in by_its_own_words(container, &word, &settings.policy, grammar) {
        match asked {
            // The administrator has the first word.
            Ok(wish) if wishes.iter().any(|other| guest_if(&other.request) == guest_if(&wish.request)) => {
                wrong.push(format!("{}: {} is asked for already", wish.source, guest_if(&wish.request)));
            }
            Ok(wish) => wishes.push(wish),
            Err(why) => wrong.push(why),
        }
    }
    wishes.retain(|wish| match unfit(wish, stage) {
        Some(why) => {
            wrong.push(format!("{}: {why}", wish.source));
            false
        }
        None => true,
    });
    (wishes, wrong)
}

/// Labels, annotations and variables, as far as they are allowed.
fn by_its_own_words(container: &Container, word: &GuestRef, policy: &Path, grammar: Grammar) -> Vec<Result<Wish, String>> {
    let intents = intents(container, &host());
    if intents.is_empty() {
        return Vec::new();
    }
    let policy = match read_policy(policy) {
        Ok(policy) => policy,
        // What may be had is not known, so nothing is.
        Err(error) => return vec![Err(error.to_string())],
    };
    let wish = |intent: Result<Intent, IntentError>| {
        let intent = intent.map_err(|error| error.to_string())?;
        let source = intent.source.to_string();
        let (request, options) = grammar(word.clone(), &intent.words).map_err(|why| format!("{source}: {why}"))?;
        let request = intent.complete(request).map_err(|error| error.to_string())?;
        policy.check(container, &request, &options.how()).map_err(|refusal| format!("{source}: {refusal}"))?;
        Ok(Wish { source, request, options })
    };
    intents.into_iter().map(wish).collect()
}

/// This host, as far as it has a say in its containers' words. What the daemon's own environment says is the daemon's.
fn host() -> Host {
    Host { node: node(), ..Host::default() }
}

/// The administrator's policy; the usual one where there is no file.
fn read_policy(file: &Path) -> Result<Policy, OciError> {
    let wrong = |why: String| OciError::File { path: file.display().to_string(), why };
    match std::fs::read_to_string(file) {
        Ok(text) => Policy::read(&text).map_err(|all| wrong(all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Policy::default()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The attachments of a topology that are this container's.
fn by_file(file: &Path, word: &GuestRef, container: &Container, grammar: Grammar) -> Result<Vec<Wish>, OciError> {
    let path = file.display().to_string();
    let wrong = |why: String| OciError::File { path: path.clone(), why };
    let format = Format::of(&path).ok_or_else(|| wrong("a topology's name ends in .toml, .yaml, .yml or .json".into()))?;
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let (topology, lines) = topology::read(&text, format).map_err(|located| wrong(located.to_string()))?;
    let wanted = topology.check().map_err(|all| {
        let tell = |one: &topology::Wrong| Located { line: lines.of(&one.place), text: format!("{}: {}", one.place, one.text) }.to_string();
        wrong(all.iter().map(tell).collect::<Vec<_>>().join("; "))
    })?;
    // Where pools are is for the command line to say.
    let claims = grammar(word.clone(), &["dummy", "0/0"].map(str::to_owned)).ok().and_then(|(_, options)| options.claims);
    let meant = wanted.attachments.into_iter().filter(|attachment| container.is_called(&attachment.request.guest));
    Ok(meant
        .map(|attachment| Wish {
            source: path.clone(),
            options: Options { claims: claims.clone(), ..options(&attachment.how) },
            request: AttachRequest { guest: word.clone(), ..attachment.request },
        })
        .collect())
}

fn options(how: &How) -> Options {
    let usual = Options {
        run_dir: state::run_dir(),
        state_dir: state::state_dir(),
        pid_dir: state::pid_dir(),
        hooks: HookSettings::from_environment(),
        ..Options::default()
    };
    usual.with(how)
}

/// What cannot be done while the container waits.
fn unfit(wish: &Wish, stage: Stage) -> Option<&'static str> {
    match &wish.request.dynamic {
        Some(dynamic) if dynamic.stays() => return Some("who keeps a lease has to stay: leave out -f, or leave it to `pipework daemon`"),
        Some(Dynamic::Client { stay: true, .. }) => return Some("who keeps a lease has to stay: leave out -f"),
        Some(Dynamic::Container { .. }) => return Some("no container can be put beside one that does not run yet: dhcp needs none"),
        _ => {}
    }
    // Until the root is changed, /etc/resolv.conf as the container's process sees it is the host's.
    (wish.options.dhcp_dns && stage == Stage::Creating)
        .then_some("--dhcp-dns cannot be had from here: the container has no files of its own yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn container(labels: &[(&str, &str)]) -> (Container, Starting) {
        let id = "0123456789abcdef".to_owned();
        let labels: BTreeMap<String, String> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let container = Container { engine: "docker".into(), id: id.clone(), name: "web".into(), labels, ..Container::default() };
        (container, Starting { engine: Some("docker"), id, name: Some("web".into()), pid: 7 })
    }

    fn read(labels: &[(&str, &str)], config: Option<&Path>, stage: Stage) -> (Vec<String>, Vec<String>) {
        let (container, starting) = container(labels);
        let policy = config.and_then(Path::parent).unwrap_or(Path::new("/nowhere")).join("policy.toml");
        let settings = Settings { config: config.map(Path::to_owned), policy, ..Settings::default() };
        let (wishes, wrong) = wishes(&container, &starting, &settings, stage, short_grammar);
        let told = |wish: Wish| format!("{} {} {}", wish.request.host_if, wish.request.guest, guest_if(&wish.request));
        (wishes.into_iter().map(told).collect(), wrong)
    }

    /// HOSTIF, ADDR and nothing else: the whole grammar is the command line's.
    fn short_grammar(guest: GuestRef, words: &[String]) -> Result<(AttachRequest, Options), String> {
        let [host_if, addr, rest @ ..] = words else { return Err("two words".into()) };
        let host_if = host_if.parse().map_err(|error: crate::model::error::InputError| error.to_string())?;
        let addr: crate::model::request::AddrWord = addr.parse().map_err(|error: crate::model::error::InputError| error.to_string())?;
        let direct_phys = rest.iter().any(|word| word == "--direct-phys");
        let dhcp_dns = rest.iter().any(|word| word == "--dhcp-dns");
        Ok((AttachRequest { direct_phys, ..AttachRequest::new(host_if, guest, addr) }, Options { dhcp_dns, ..Options::default() }))
    }

    #[test]
    fn the_containers_own_words_are_read_and_what_is_not_allowed_or_cannot_wait_is_told() {
        let labels = [("pipework.lan", "br0 10.0.0.2/24"), ("other", "br1 0/0")];
        assert_eq!(read(&labels, None, Stage::Creating), (vec!["br0 docker:web eth1".to_owned()], vec![]));
        for (words, why) in [
            ("br0", "two words"),
            ("br0 10.0.0.2/24 --direct-phys", "the usual policy"),
            ("br0 dhcp:-f", "has to stay"),
            ("br0 dhclient-f", "the usual policy"),
            ("br0 dhcp --dhcp-dns", "the usual policy"),
            ("br0 'dhcp", "quotation"),
        ] {
            let (wishes, wrong) = read(&[("pipework.lan", words)], None, Stage::Creating);
            assert!(wishes.is_empty() && wrong.len() == 1 && wrong[0].contains(why), "{words}: {wishes:?} {wrong:?}");
            assert!(wrong[0].starts_with("label pipework.lan"), "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_while_a_container_waits_is_told_of_the_administrators_file_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        for (words, stage, why) in [
            ("dynamic = \"dhcp:-f\"", Stage::Created, Some("has to stay")),
            ("dynamic = \"udhcpc-f\"", Stage::Created, Some("has to stay")),
            ("dynamic = \"dhcp-container\"", Stage::Created, Some("does not run yet")),
            ("dynamic = \"dhcp\"\ndhcp_dns = true", Stage::Creating, Some("no files of its own yet")),
            ("dynamic = \"dhcp\"\ndhcp_dns = true", Stage::Created, None),
        ] {
            std::fs::write(&file, format!("[[attachments]]\nhost_if = \"br7\"\nguest = \"web\"\n{words}\n")).unwrap();
            let (wishes, wrong) = read(&[], Some(&file), stage);
            assert_eq!((wishes.len(), wrong.len()), (usize::from(why.is_none()), usize::from(why.is_some())), "{words}: {wrong:?}");
            assert!(why.is_none_or(|why| wrong[0].contains(why)), "{words}: {wrong:?}");
        }
    }

    #[test]
    fn a_file_has_the_first_word_and_only_of_this_container() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let text = "[[attachments]]\nhost_if = \"br7\"\nguest = \"web\"\naddresses = [\"10.7.0.1/24\"]\n\
            [[attachments]]\nhost_if = \"br8\"\nguest = \"db\"\n[[attachments]]\nhost_if = \"br9\"\nguest = \"0123456789ab\"\nguest_if = \"eth9\"\n";
        std::fs::write(&file, text).unwrap();
        let (wishes, wrong) = read(&[("pipework.lan", "br0 10.0.0.2/24")], Some(&file), Stage::Creating);
        assert_eq!(wishes, ["br7 docker:web eth1", "br9 docker:web eth9"]);
        assert_eq!(wrong, ["label pipework.lan: eth1 is asked for already"]);
        // With a policy that cannot be read a container's own words are worth nothing, and the file as much as before.
        std::fs::write(dir.path().join("policy.toml"), "nonsense = 1\n").unwrap();
        let (wishes, wrong) = read(&[("pipework.lan", "br0 -i eth5 10.0.0.2/24")], Some(&file), Stage::Creating);
        assert_eq!(wishes, ["br7 docker:web eth1", "br9 docker:web eth9"]);
        assert!(wrong.len() == 1 && wrong[0].contains("policy.toml: 1: "), "{wrong:?}");
        std::fs::write(&file, "[[attachments]]\nhost_if = \"br7\"\nguest = \"web\"\naddresses = [\"10.7.0.1\"]\n").unwrap();
        let (wishes, wrong) = read(&[], Some(&file), Stage::Creating);
        assert!(wishes.is_empty() && wrong[0].contains("a.toml: 4: attachments[1].addresses: "), "{wrong:?}");
    }
}
