//! The words that a container's label, or a file of the administrator's, has for an attach: the command line's grammar without
//! the guest, who is known.

use clap::{Args, FromArgMatches};

use super::attach::{AttachArgs, options};
use crate::lifecycle::Options;
use crate::model::request::{AttachRequest, GuestRef};

/// `HOSTIF [-i GUESTIF] [-l LOCALIF] ADDR [[MAC][@VLAN]]` and options.
///
/// # Errors
/// What is wrong with the words, on one line.
pub fn words_without_guest(guest: GuestRef, words: &[String]) -> Result<(AttachRequest, Options), String> {
    let failed = |error: clap::Error| super::batch::shortened(&error);
    let mut grammar = AttachArgs::augment_args(clap::Command::new("attach").disable_help_flag(true).no_binary_name(true));
    let matches = grammar.try_get_matches_from_mut(words).map_err(failed)?;
    let args = AttachArgs::from_arg_matches(&matches).map_err(failed)?.for_guest(&guest)?;
    let request = AttachRequest::try_from(&args).map_err(|error| error.to_string())?;
    Ok((AttachRequest { guest, ..request }, options(&args)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(line: &str) -> Result<(AttachRequest, Options), String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words_without_guest("docker:web".parse().unwrap(), &words)
    }

    #[test]
    fn the_words_are_those_of_an_attach_without_the_guest() {
        let (request, _) = read("br0 -i eth2 192.168.1.10/24@192.168.1.1 02:00:00:00:00:01@10 --mtu 1400").unwrap();
        let whole = crate::cli::AttachArgs::of("br0", "docker:web", "192.168.1.10/24@192.168.1.1", "02:00:00:00:00:01@10", Some("eth2"));
        let whole = AttachRequest::try_from(&whole).unwrap();
        assert_eq!(AttachRequest { settings: Default::default(), ..request }, whole);
    }

    #[test]
    fn what_is_not_of_one_attach_is_refused() {
        for line in ["br0", "br0 a b c d", "br0 0/0 --dry-run", "br0 0/0 --json", "br0 0/0 --persist", "br0 --add 10.0.0.2/24", "--help"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
