//! Which form a command line has: the original's own has no subcommand, and gets the one it means.

use std::ffi::OsString;

/// Puts the subcommand first, whatever options stand before it: the word itself when it is one, `wait` for `--wait`,
/// else `attach`. A subcommand wins over an interface of its name, which `attach` then reaches.
pub(super) fn with_subcommand(mut args: Vec<OsString>, command: &clap::Command) -> Vec<OsString> {
    if args.is_empty() {
        return args;
    }
    if let Some(at) = position_before_dashes(&args, |arg| arg == "--wait") {
        args.remove(at);
        args.insert(1, "wait".into());
        return args;
    }
    let Some(at) = first_word(&args, command) else { return args };
    let is_subcommand = args.get(at).and_then(|w| w.to_str()).is_some_and(|word| word == "help" || command.find_subcommand(word).is_some());
    if is_subcommand {
        let word = args.remove(at);
        args.insert(1, word);
    } else {
        args.insert(1, "attach".into());
    }
    args
}

fn position_before_dashes(args: &[OsString], wanted: impl Fn(&str) -> bool) -> Option<usize> {
    let end = args.iter().position(|a| a == "--").unwrap_or(args.len());
    args.iter().take(end).position(|a| a.to_str().is_some_and(&wanted))
}

/// The position of the first argument that is neither an option nor an option's value.
fn first_word(args: &[OsString], command: &clap::Command) -> Option<usize> {
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        let text = arg.to_str().unwrap_or_default();
        if text == "--" {
            return Some(at + 1).filter(|at| *at < args.len());
        }
        match option_value(text, command) {
            None => return Some(at),
            Some(next) => at += 1 + usize::from(next),
        }
    }
    None
}

/// `None` when the argument is no option, else whether its value is the next argument.
fn option_value(text: &str, command: &clap::Command) -> Option<bool> {
    let takes_value = |wanted: &dyn Fn(&clap::Arg) -> bool| {
        let mut all = command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments));
        // A value that needs a `=` is never the next argument.
        all.any(|arg| wanted(arg) && arg.get_action().takes_values() && !arg.is_require_equals_set())
    };
    if let Some(long) = text.strip_prefix("--") {
        return Some(!long.contains('=') && takes_value(&|arg| arg.get_long() == Some(long)));
    }
    let cluster = text.strip_prefix('-').filter(|c| !c.is_empty())?;
    // The first letter that takes a value takes the rest of the cluster, or the next argument when there is no rest.
    let valued = cluster.char_indices().find(|(_, letter)| takes_value(&|arg| arg.get_short() == Some(*letter)));
    Some(valued.is_some_and(|(at, letter)| at + letter.len_utf8() == cluster.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn rewritten(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let args = with_subcommand(args, &super::super::Cli::command());
        args.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_bare_form_is_an_attach_wherever_its_options_stand() {
        for (line, wanted) in [
            ("pipework br0 web 1.2.3.4/24", "pipework attach br0 web 1.2.3.4/24"),
            ("pipework -i eth2 br0 web 0/0", "pipework attach -i eth2 br0 web 0/0"),
            ("pipework -vi wait br0 web 0/0", "pipework attach -vi wait br0 web 0/0"),
            ("pipework br0 attach 0/0", "pipework attach br0 attach 0/0"),
            ("pipework --direct-phys eth1 web 0/0", "pipework attach --direct-phys eth1 web 0/0"),
            ("pipework --macvtap attach eth1 web 0/0", "pipework attach --macvtap eth1 web 0/0"),
            ("pipework --macvlan wait eth1 web 0/0", "pipework attach --macvlan wait eth1 web 0/0"),
            ("pipework -v attach wait web 0/0", "pipework attach -v wait web 0/0"),
            ("pipework route web add default via 10.1.1.1", "pipework route web add default via 10.1.1.1"),
            ("pipework -v tc web -s qdisc show", "pipework tc -v web -s qdisc show"),
            ("pipework tc0 web 0/0", "pipework attach tc0 web 0/0"),
            ("pipework --wait -i ib0", "pipework wait -i ib0"),
            ("pipework -i ib0 --wait", "pipework wait -i ib0"),
            ("pipework --help", "pipework --help"),
            ("pipework help", "pipework help"),
            ("pipework -- br0 web 0/0", "pipework attach -- br0 web 0/0"),
        ] {
            assert_eq!(rewritten(line), wanted, "{line}");
        }
    }

    #[test]
    fn no_subcommand_hides_a_first_word_of_the_original() {
        let command = super::super::Cli::command();
        for name in command.get_subcommands().map(clap::Command::get_name).filter(|n| !["route", "rule", "tc"].contains(n)) {
            for prefix in ["br", "ovs", "route", "rule", "tc", "dummy"] {
                assert!(!name.starts_with(prefix), "{name}");
            }
        }
    }

    #[test]
    fn the_command_line_is_well_defined() {
        super::super::Cli::command().debug_assert();
    }
}
