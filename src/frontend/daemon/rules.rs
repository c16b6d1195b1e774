//! What the administrator has written down: attachments in files, the policy, and the wanted records of this program's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::frontend::Grammar;
use crate::lifecycle::{Options, tend};
use crate::model::intent::{Container, Host, Intent, ManualCommand, Policy, Source, read_wanted};
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::topology::Located;

/// The policy's file among the others.
const POLICY: &str = "policy.toml";
/// Files among them that are about something else.
const OTHERS: [&str; 2] = ["cluster.toml", "pools.toml"];

/// An attachment that is wanted, and by whom.
#[derive(Clone, Debug)]
pub struct Want {
    /// What is asked.
    pub request: AttachRequest,
    /// How to go about it.
    pub options: Options,
    /// Who wants it, for the log.
    pub source: String,
    /// What is to be believed of it.
    pub origin: Origin,
}

/// Where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file of the administrator's.
    File,
    /// In a record of this program's own: it counts for as long as that is there.
    Record,
    /// In the container's own words.
    Container,
    /// Said of its name to the whole cluster.
    Cluster,
}

impl Want {
    /// Whether it waits for others' answers.
    pub fn waits(&self) -> bool {
        use crate::model::conflict::DadMode;
        self.request.dynamic.is_some() || self.request.dad.mode != DadMode::Off
    }
}

/// All that is written down, as it was read last.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What containers' own words may ask for.
    pub policy: Policy,
    /// What this host has to say to them.
    pub host: Host,
    /// Attachments by files, and then by records: the first that names an interface counts.
    pub wants: Vec<Arc<Want>>,
    /// What of the files is not looked after.
    pub warnings: Vec<String>,
    /// What was said to the whole cluster.
    pub intents: Arc<Intents>,
    /// Whether that is known: nobody has told it yet, or nobody ever does.
    pub intents_known: bool,
}

/// The words of an attach without the guest, by the name of a container or a service, whichever host it runs on.
pub type Intents = BTreeMap<String, Vec<String>>;

impl Rules {
    /// Reads all of it.
    ///
    /// # Errors
    /// Every mistake, a line each.
    pub fn read(directory: &Path, host: &Host, grammar: Grammar, options: &Options) -> Result<Self, Vec<String>> {
        let mut rules = Self { host: host.clone(), ..Self::default() };
        let mut mistakes = Vec::new();
        for path in files(directory).unwrap_or_else(|why| {
            mistakes.push(why);
            Vec::new()
        }) {
            match std::fs::read_to_string(&path) {
                Err(error) => mistakes.push(format!("{}: {error}", path.display())),
                Ok(text) if path.file_name().is_some_and(|name| name == POLICY) => match Policy::read(&text) {
                    Ok(policy) => rules.policy = policy,
                    Err(wrong) => mistakes.extend(wrong.iter().map(|wrong| format!("{}:{wrong}", path.display()))),
                },
                Ok(text) => match rules.add(&path, &text, options) {
                    Ok(()) => {}
                    Err(wrong) => mistakes.extend(wrong.iter().map(|wrong| format!("{}:{wrong}", path.display()))),
                },
            }
        }
        if let Err(wrong) = rules.add_commands(grammar, options) {
            mistakes.extend(wrong);
        }
        if let Err(why) = rules.read_records(options) {
            mistakes.push(why);
        }
        if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
    }

    /// Takes the attachments of a file.
    fn add(&mut self, path: &Path, text: &str, options: &Options) -> Result<(), Vec<Located>> {
        let file = read_wanted(text)?;
        self.warnings.extend(file.left.iter().map(|left| format!("{}:{left}", path.display())));
        for (line, attachment) in file.attachments {
            let (options, source) = (options.clone().with(&attachment.how), format!("{}:{line}", path.display()));
            self.wants.push(Arc::new(Want { request: attachment.request, options, source, origin: Origin::File }));
        }
        Ok(())
    }

    /// Takes the daemon's own commands, which the image's users have in its environment.
    fn add_commands(&mut self, grammar: Grammar, options: &Options) -> Result<(), Vec<String>> {
        let environment = &self.host.environment;
        if environment.run_modes.is_some_and(|modes| !modes.manual) {
            return Ok(());
        }
        let mut wrong = Vec::new();
        for command in &environment.commands {
            match own(command, grammar, options) {
                Ok(want) => self.wants.push(Arc::new(want)),
                Err(why) => wrong.push(format!("{}: {why}", command.source)),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Reads the wanted records again. Whether anything is otherwise than before.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read_records(&mut self, options: &Options) -> Result<bool, String> {
        let now = tend::wanted(options).map_err(|error| error.chain().join(": "))?;
        let before: Vec<&AttachRequest> =
            self.wants.iter().filter(|want| want.origin == Origin::Record).map(|want| &want.request).collect();
        if before.iter().copied().eq(now.iter()) {
            return Ok(false);
        }
        self.wants.retain(|want| want.origin != Origin::Record);
        let want = |request| Want { request, options: options.clone(), source: "wanted record".to_owned(), origin: Origin::Record };
        self.wants.extend(now.into_iter().map(|request| Arc::new(want(request))));
        Ok(true)
    }

    /// Those of a container.
    pub fn of_container<'a>(&'a self, container: &'a Container) -> impl Iterator<Item = &'a Arc<Want>> {
        self.wants.iter().filter(|want| container.is_called(&want.request.guest))
    }

    /// What was said to the cluster of a container, or of the service that it is a task of.
    pub fn said_of(&self, container: &Container) -> impl Iterator<Item = Intent> {
        let service = container.task().map(|task| task.service);
        let names = [Some(container.name.clone()), service.filter(|service| *service != container.name)];
        names.into_iter().flatten().filter_map(|name| {
            let words = self.intents.get(&name)?.clone();
            Some(Intent { source: Source::cluster(&name), words, host_access: false })
        })
    }

    /// Those of a guest by its very word.
    pub fn of_word<'a>(&'a self, word: &'a GuestRef) -> impl Iterator<Item = &'a Arc<Want>> {
        self.wants.iter().filter(move |want| want.request.guest == *word)
    }

    /// The words of all guests that may be no engine's containers.
    pub fn words(&self) -> impl Iterator<Item = &GuestRef> {
        let guests = self.wants.iter().map(|want| &want.request.guest);
        guests.filter(|guest| !matches!(guest, GuestRef::Docker(_) | GuestRef::Podman(_)))
    }
}

/// The files of a directory, in the order of their names. There need be none, nor the directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", directory.display())),
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_for_us(path)).collect();
    files.sort();
    Ok(files)
}

/// What editors leave begins with a dot, or ends otherwise.
fn is_for_us(path: &Path) -> bool {
    let is_hidden = path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'));
    let is_other = path.file_name().is_some_and(|name| OTHERS.iter().any(|other| name == *other));
    !is_hidden && !is_other && path.extension().is_some_and(|extension| extension == "toml")
}

/// What a command of the daemon's own environment wants. Who writes there is the administrator.
fn own(command: &ManualCommand, grammar: Grammar, options: &Options) -> Result<Want, String> {
    let guest = command.guest.parse::<GuestRef>().map_err(|error| error.to_string())?;
    let (request, typed) = grammar(guest, &command.words)?;
    let intent = Intent { source: command.source.clone(), words: Vec::new(), host_access: command.host_access };
    let request = intent.complete(request).map_err(|error| error.why)?;
    let options = options.clone().with(&typed.how());
    Ok(Want { request, options, source: command.source.to_string(), origin: Origin::File })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Rules, Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let options = Options { run_dir: directory.path().into(), state_dir: directory.path().into(), ..Options::default() };
        Rules::read(directory.path(), &Host::default(), no_grammar, &options)
    }

    fn no_grammar(_: GuestRef, _: &[String]) -> Result<(AttachRequest, Options), String> {
        Err("none".into())
    }

    const WEB: &str = "[[attachments]]\nhost_if = \"br0\"\nguest = \"web\"\naddresses = [\"10.1.1.2/24\"]\n";

    #[test]
    fn attachments_are_read_from_all_files_in_the_order_of_their_names() {
        let later = WEB.replace("10.1.1.2", "10.1.1.3");
        let rules = read(&[
            ("b.toml", &later),
            ("a.toml", WEB),
            (".a.toml.swp", "?"),
            ("notes.txt", "?"),
            ("cluster.toml", "?"),
            ("pools.toml", "?"),
        ])
        .unwrap();
        let addresses: Vec<String> = rules.wants.iter().map(|want| want.request.addr.to_string()).collect();
        assert_eq!(addresses, ["10.1.1.2/24", "10.1.1.3/24"]);
        let web = Container { engine: "docker".into(), name: "web".into(), ..Container::default() };
        assert_eq!(rules.of_container(&web).count(), 2);
        assert_eq!(rules.words().count(), 2);
    }

    #[test]
    fn all_mistakes_of_all_files_are_told_with_their_lines() {
        let mistakes =
            read(&[("a.toml", "[[attachments]]\nhost_if = 1\n"), ("b.toml", &WEB.replace("10.1.1.2", "10.1.1.999"))]).unwrap_err();
        assert!(mistakes.iter().any(|line| line.contains("a.toml:2")), "{mistakes:?}");
        assert!(mistakes.iter().any(|line| line.contains("b.toml:4") && line.contains("10.1.1.999")), "{mistakes:?}");
    }

    #[test]
    fn no_directory_is_no_mistake_and_bridges_are_told_not_to_be_looked_after() {
        assert!(Rules::read(Path::new("/nowhere"), &Host::default(), no_grammar, &Options::default()).unwrap().wants.is_empty());
        let rules = read(&[("a.toml", "[[bridges]]\nname = \"br0\"\n")]).unwrap();
        assert!(rules.warnings[0].contains("a.toml:1: bridges are made by `pipework apply` alone"), "{:?}", rules.warnings);
    }
}
