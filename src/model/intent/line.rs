//! A whole line of the original's, in which the guest has its place.

use super::words;

/// A line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The word for the guest.
    pub(super) guest: String,
    /// The words of `attach` without it.
    pub(super) words: Vec<String>,
}

const FORM: &str = "HOSTIF [-i GUESTIF] [-l LOCALIF] GUEST ADDR [[MAC][@VLAN]], like eth0 @CONTAINER_NAME@ 192.168.1.10/24";

/// `[pipework] [--direct-phys] HOSTIF [-i GUESTIF] [-l LOCALIF] [-a FAMILY] GUEST ...`, as the original reads it. Options of ours
/// stand behind the guest, so that nobody has to know which of them have a value to find the guest.
pub(super) fn without_guest(words: Vec<String>) -> Result<Line, String> {
    let mut rest = words.into_iter().peekable();
    rest.next_if(|word| word == "pipework");
    let mut kept = Vec::new();
    while let Some(word) = rest.next_if(|word| word.starts_with("--")) {
        match word.as_str() {
            "--direct-phys" | "--host-access" => kept.push(word),
            "--wait" => return Err("--wait is for use inside a container, not here".into()),
            _ => return Err(format!("{word:?}: options go behind the guest: {FORM}")),
        }
    }
    let host_if = rest.next().ok_or_else(|| format!("HOSTIF is missing: {FORM}"))?;
    if matches!(host_if.as_str(), "route" | "rule" | "tc") {
        return Err(format!("{host_if} is not for a variable: a policy may allow the options --route, --rule and --rate of an attach"));
    }
    kept.push(plain(host_if)?);
    while let Some(option) = rest.next_if(|word| matches!(word.as_str(), "-i" | "-l" | "-a")) {
        let value = rest.next().ok_or_else(|| format!("{option} needs a word: {FORM}"))?;
        kept.extend([option, value]);
    }
    let guest = plain(rest.next().ok_or_else(|| format!("GUEST is missing: {FORM}"))?)?;
    kept.extend(rest);
    Ok(Line { guest, words: kept })
}

fn plain(word: String) -> Result<String, String> {
    if word.starts_with('-') { Err(format!("{word:?} is in the place of HOSTIF or GUEST: {FORM}")) } else { Ok(word) }
}

/// A line from its text.
pub(super) fn read(text: &str, language: super::template::Language, values: &super::template::Values<'_>) -> Result<Line, String> {
    without_guest(words::words(text, language, values)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(text: &str) -> Result<(String, String), String> {
        without_guest(text.split(' ').map(str::to_owned).collect()).map(|line| (line.guest, line.words.join(" ")))
    }

    #[test]
    fn the_guest_is_where_the_original_has_it() {
        for (text, words) in [
            ("eth0 web dhcp", "eth0 dhcp"),
            ("pipework br1 -i eth2 web 10.0.0.2/24@10.0.0.1 02:00:00:00:00:01@10", "br1 -i eth2 10.0.0.2/24@10.0.0.1 02:00:00:00:00:01@10"),
            ("br1 -i eth2 -l host1 -a 4 web 10.0.0.2/24 --mtu 1400", "br1 -i eth2 -l host1 -a 4 10.0.0.2/24 --mtu 1400"),
            ("--direct-phys eth1 web 0/0", "--direct-phys eth1 0/0"),
            ("pipework pipework web 0/0", "pipework 0/0"),
        ] {
            assert_eq!(line(text), Ok(("web".into(), words.into())), "{text}");
        }
        for text in [
            "eth0",
            "eth0 -i",
            "eth0 -i eth1",
            "--wait",
            "--mtu 9 eth0 web 0/0",
            "-i eth1 eth0 web 0/0",
            "eth0 --mtu 9 web 0/0",
            "route web add default",
            "tc web qdisc",
            "pipework",
        ] {
            assert!(line(text).is_err(), "{text}");
        }
    }
}
