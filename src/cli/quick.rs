//! The usual command lines, an attach or a detach with its first word in front: only their own grammar is made for them. That
//! of all subcommands takes as long as half of an attach.

use std::ffi::OsString;

use clap::{Args, FromArgMatches};

use super::attach::AttachArgs;
use super::detach::DetachArgs;

/// All subcommands, which are no interface's names. A test holds them to the grammar.
const VERBS: &[&str] = &[
    "apply",
    "attach",
    "batch",
    "cluster",
    "completions",
    "daemon",
    "detach",
    "diff",
    "docker-plugin",
    "doctor",
    "events",
    "export",
    "gc",
    "graph",
    "help",
    "host",
    "host-access",
    "install",
    "link",
    "man",
    "oci-hook",
    "pool",
    "release",
    "repair",
    "route",
    "rule",
    "runtime",
    "status",
    "tc",
    "wait",
];

/// A command line that can be told at once.
pub(super) enum Quick {
    Attach(Box<AttachArgs>),
    Detach(DetachArgs),
}

impl Quick {
    /// `None`: the whole grammar has to say what it is, or what is wrong with it.
    pub(super) fn read(args: &[OsString]) -> Option<Self> {
        let first = args.get(1)?.to_str()?;
        let is_wait = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--wait");
        if is_wait || first.is_empty() || first.starts_with('-') {
            return None;
        }
        match first {
            "attach" => Some(Self::Attach(Box::new(parsed(args.get(1..)?)?))),
            "detach" => parsed(args.get(1..)?).map(Self::Detach),
            verb if VERBS.contains(&verb) => None,
            _ => Some(Self::Attach(Box::new(parsed(args)?))),
        }
    }
}

/// The first of the words is the program's or the subcommand's own.
fn parsed<A: Args + FromArgMatches>(words: &[OsString]) -> Option<A> {
    let grammar = A::augment_args(clap::Command::new("pipework"));
    A::from_arg_matches(&grammar.try_get_matches_from(words).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::{CommandFactory, Parser};

    use crate::cli::{Cli, Command, words};

    #[test]
    fn its_verbs_are_those_of_the_grammar() {
        let grammar = Cli::command();
        let mut verbs: Vec<&str> = grammar.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
        verbs.sort_unstable();
        assert_eq!(verbs, VERBS);
    }

    #[test]
    fn a_line_that_it_reads_means_what_the_whole_grammar_says() {
        for (line, is_quick) in [
            ("pipework br0 web 10.0.0.2/24", true),
            ("pipework attach br0 web 10.0.0.2/24@10.0.0.1 @10 --mtu 1400 -v", true),
            ("pipework br0 -i eth2 -l host1 web 0/0 --route 10.0.0.0/8 --dad warn --json", true),
            ("pipework br0 attach 0/0", true),
            ("pipework web --add 10.0.0.3/24", true),
            ("pipework br0 web -- 0/0", true),
            ("pipework detach web --all", true),
            ("pipework detach web -i eth2 --force --json", true),
            ("pipework detach --all", false),
            ("pipework -i eth2 br0 web 0/0", false),
            ("pipework br0 web 0/0 --wait", false),
            ("pipework br0 web 0/0 --mtuu 9", false),
            ("pipework br0 web 0/0 --help", false),
            ("pipework br0 web 0/0 --version", false),
            ("pipework status", false),
            ("pipework help attach", false),
            ("pipework", false),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let quick = Quick::read(&args);
            assert_eq!(quick.is_some(), is_quick, "{line}");
            let Some(quick) = quick else { continue };
            let whole = Cli::try_parse_from(words::with_subcommand(args, &Cli::command())).unwrap().command.unwrap();
            match (quick, whole) {
                (Quick::Attach(quick), Command::Attach(whole)) => assert_eq!(format!("{quick:?}"), format!("{whole:?}"), "{line}"),
                (Quick::Detach(quick), Command::Detach(whole)) => assert_eq!(format!("{quick:?}"), format!("{whole:?}"), "{line}"),
                (_, whole) => panic!("{line}: {whole:?}"),
            }
        }
    }
}
