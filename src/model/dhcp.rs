//! The words behind `dhcp:`, which are udhcpc's: what the built-in client is told.

use std::net::Ipv4Addr;
use std::str::FromStr;

use super::error::InputError;
use super::types::check_unicast;

/// What is asked of the DHCPv4 client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientWords {
    /// `-f`: stay, renew, release at the end.
    pub foreground: bool,
    /// `-q`: end once the address is there, whatever else is said.
    pub quit: bool,
    /// `-n`: give up after all tries, without a pause and without waiting for the deadline.
    pub now: bool,
    /// `-x hostname:NAME`: another name to send than the guest's.
    pub host_name: Option<String>,
    /// `-r IP`: the address to ask for.
    pub request: Option<Ipv4Addr>,
    /// `-V CLASS`: the vendor class (option 60).
    pub vendor_class: Option<String>,
    /// `-F NAME`: the name that the server is to put into the DNS (option 81).
    pub fqdn: Option<String>,
    /// `-O OPTION`: further options to ask for.
    pub ask: Vec<u8>,
    /// `-o`: ask for those of `-O` only.
    pub only_asked: bool,
    /// `-x CODE:HEX`: further options to send.
    pub send: Vec<(u8, Vec<u8>)>,
    /// `-t N`: so many tries before a pause.
    pub tries: Option<u32>,
    /// `-T SECONDS`: between tries.
    pub pause: Option<u32>,
    /// `-A SECONDS`: the pause after all tries.
    pub again: Option<u32>,
    /// `-B`: ask for answers by broadcast.
    pub broadcast: bool,
    /// `-C`: send no client identifier.
    pub no_client_id: bool,
}

/// Short, long, whether it has a value.
const FLAGS: [(char, &str, bool); 18] = [
    ('f', "foreground", false),
    ('q', "quit", false),
    ('n', "now", false),
    ('R', "release", false),
    ('S', "syslog", false),
    ('v', "verbose", false),
    ('B', "broadcast", false),
    ('C', "clientid-none", false),
    ('o', "no-default-options", false),
    ('x', "option", true),
    ('H', "hostname", true),
    ('r', "request", true),
    ('V', "vendorclass", true),
    ('F', "fqdn", true),
    ('O', "request-option", true),
    ('t', "retries", true),
    ('T', "timeout", true),
    ('A', "tryagain", true),
];

/// What the unknown flags of udhcpc would be for, and why they are not here.
const REFUSED: [(char, &str); 6] = [
    ('i', "-i is not yours to say: the interface is the guest's own, named before the guest"),
    ('s', "-s is not there: addresses, routes, MTU and --dhcp-dns need no script"),
    ('b', "-b is not there: run the command with -f under a supervisor, or with & in a shell"),
    ('p', "-p is not there: with -f the command itself stays"),
    ('a', "-a is not there: that an address is free is the server's to know"),
    ('P', "-P is not there: DHCP servers answer to port 68"),
];

const KNOWN: &str =
    "-f -q -n -R -B -C -o -S -v, -x hostname:NAME, -x CODE:HEX, -H NAME, -r IP, -V CLASS, -F NAME, -O OPTION, -t N, -T SECONDS, -A SECONDS";

/// Names that udhcpc has for options, and their numbers (RFC 2132, RFC 3397, RFC 3442).
const OPTIONS: [(&str, u8); 26] = [
    ("subnet", 1),
    ("timezone", 2),
    ("router", 3),
    ("timesrv", 4),
    ("namesrv", 5),
    ("dns", 6),
    ("logsrv", 7),
    ("lprsrv", 9),
    ("hostname", 12),
    ("bootsize", 13),
    ("domain", 15),
    ("rootpath", 17),
    ("mtu", 26),
    ("broadcast", 28),
    ("routes", 33),
    ("nisdomain", 40),
    ("nissrv", 41),
    ("ntpsrv", 42),
    ("wins", 44),
    ("lease", 51),
    ("tftp", 66),
    ("bootfile", 67),
    ("search", 119),
    ("sipsrv", 120),
    ("staticroutes", 121),
    ("wpad", 252),
];

/// udhcpc's own number of tries, after which `-n` gives up.
const UDHCPC_TRIES: u32 = 3;
/// Options whose value is text, so that it needs no hexadecimal.
const TEXT: [u8; 9] = [12, 14, 15, 17, 40, 66, 67, 100, 101];
/// Options that the protocol itself fills in (RFC 2132, section 9), and those that are none.
const OWN: [u8; 11] = [0, 50, 51, 52, 53, 54, 55, 56, 57, 82, 255];

impl ClientWords {
    /// Whether the command stays until it is told to end.
    pub fn stays(&self) -> bool {
        self.foreground && !self.quit
    }

    fn set(&mut self, flag: char, value: &str) -> Result<(), String> {
        match flag {
            'f' => self.foreground = true,
            'q' => self.quit = true,
            'B' => self.broadcast = true,
            'C' => self.no_client_id = true,
            'o' => self.only_asked = true,
            'n' => self.now = true,
            // The address is given back at the end of -f anyway; what is said is said on standard error.
            'R' | 'S' | 'v' => {}
            'H' => self.host_name = Some(host_name(value)?),
            'x' => self.option(value)?,
            'r' => self.request = Some(requested(value)?),
            'V' => self.vendor_class = Some(text(value)?),
            'F' => self.fqdn = Some(fqdn(value)?),
            'O' => self.ask.push(code(value)?),
            't' => self.tries = Some(number(flag, value, 1000)?),
            'T' => self.pause = Some(number(flag, value, 3600)?),
            'A' => self.again = Some(number(flag, value, 86400)?),
            _ => return Err(unknown(&format!("-{flag}"))),
        }
        Ok(())
    }

    fn option(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word.split_once(':').ok_or_else(|| format!("-x {word}: it is -x hostname:NAME or -x CODE:HEX"))?;
        let code = code(name)?;
        match code {
            12 => self.host_name = Some(host_name(value)?),
            code if OWN.contains(&code) => return Err(format!("-x {word}: option {code} is the client's own to fill in")),
            code if TEXT.contains(&code) => self.send.push((code, text(value)?.into_bytes())),
            code => self.send.push((code, hex(value)?)),
        }
        Ok(())
    }
}

impl FromStr for ClientWords {
    type Err = InputError;

    fn from_str(words: &str) -> Result<Self, InputError> {
        let refuse = |why| InputError::Address { text: format!("dhcp:{words}"), why };
        let mut parsed = Self::default();
        let mut rest = words.split_whitespace();
        while let Some(word) = rest.next() {
            take(&mut parsed, word, &mut rest).map_err(refuse)?;
        }
        if parsed.now {
            parsed.tries.get_or_insert(UDHCPC_TRIES);
        }
        Ok(parsed)
    }
}

/// One word with its flags, as getopt(3) takes them: `-nq`, `-T3`, `-T 3`, `--timeout=3`.
fn take<'a>(parsed: &mut ClientWords, word: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut next = |flag: &str| rest.next().ok_or_else(|| format!("{flag} needs a value"));
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let (flag, _, has_value) = *FLAGS.iter().find(|(_, known, _)| *known == name).ok_or_else(|| unknown(word))?;
        return match (has_value, value) {
            (false, Some(_)) => Err(format!("--{name} has no value")),
            (false, None) => parsed.set(flag, ""),
            (true, Some(value)) => parsed.set(flag, value),
            (true, None) => parsed.set(flag, next(word)?),
        };
    }
    let cluster = word.strip_prefix('-').filter(|c| !c.is_empty()).ok_or_else(|| unknown(word))?;
    for (at, flag) in cluster.char_indices() {
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == flag) {
            return Err((*why).to_owned());
        }
        let (_, _, has_value) = FLAGS.iter().find(|(known, _, _)| *known == flag).ok_or_else(|| unknown(&format!("-{flag}")))?;
        if !has_value {
            parsed.set(flag, "")?;
            continue;
        }
        let glued = cluster.get(at + flag.len_utf8()..).filter(|value| !value.is_empty());
        let value = glued.map_or_else(|| next(&format!("-{flag}")), Ok)?;
        return parsed.set(flag, value);
    }
    Ok(())
}

fn unknown(word: &str) -> String {
    format!("{word} is no option of the built-in client, which has {KNOWN}")
}

fn number(flag: char, value: &str, most: u32) -> Result<u32, String> {
    let plain = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|n| plain && (1..=most).contains(n));
    number.ok_or_else(|| format!("-{flag} {value}: give a number from 1 to {most}"))
}

fn requested(value: &str) -> Result<Ipv4Addr, String> {
    let ip: Ipv4Addr = value.parse().map_err(|_| format!("-r {value}: give an IPv4 address, like -r 192.168.1.10"))?;
    check_unicast(ip.into()).map_err(|why| format!("-r {value}: {why}"))?;
    Ok(ip)
}

/// A host name as RFC 1123 (section 2.1) has it.
fn host_name(value: &str) -> Result<String, String> {
    if is_host_name(value) { Ok(value.to_owned()) } else { Err(format!("{value:?} is no host name: letters, digits, '-' and '.'")) }
}

fn fqdn(value: &str) -> Result<String, String> {
    host_name(value.strip_suffix('.').unwrap_or(value))
}

/// Whether a server can take the text as a host name.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn text(value: &str) -> Result<String, String> {
    let good = (1..=255).contains(&value.len()) && value.bytes().all(|b| (b' '..=b'~').contains(&b));
    if good { Ok(value.to_owned()) } else { Err(format!("{value:?}: give 1 to 255 printable characters")) }
}

/// An option by udhcpc's name for it or by number.
fn code(word: &str) -> Result<u8, String> {
    if let Some((_, code)) = OPTIONS.iter().find(|(name, _)| *name == word) {
        return Ok(*code);
    }
    let parsed = match word.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+')),
        None => word.parse().ok().filter(|_| !word.starts_with('+')),
    };
    parsed.filter(|code| (1..=254).contains(code)).ok_or_else(|| {
        let names: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
        format!("{word:?} is no DHCP option: give a number from 1 to 254, or one of {}", names.join(", "))
    })
}

fn hex(value: &str) -> Result<Vec<u8>, String> {
    let refuse = || format!("{value:?}: give bytes in hexadecimal, like 0a0b or 0a:0b");
    let digits: String = value.split(':').collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() > 510 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refuse());
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| refuse())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn udhcpcs_flags_are_taken_as_getopt_takes_them() {
        let words: ClientWords =
            "-fnq -x hostname:web1 -r10.0.0.9 -T 2 --retries=5 -V docker -O mtu -O 0x2b -x 0x3d:01:aa".parse().unwrap();
        assert!(words.foreground && words.quit && !words.stays());
        assert_eq!((words.host_name.as_deref(), words.request), (Some("web1"), Some(Ipv4Addr::new(10, 0, 0, 9))));
        assert_eq!((words.pause, words.tries, words.vendor_class.as_deref()), (Some(2), Some(5), Some("docker")));
        assert_eq!((words.ask, words.send), (vec![26, 43], vec![(61, vec![1, 0xaa])]));
        assert!("-f".parse::<ClientWords>().unwrap().stays());
        assert_eq!("".parse::<ClientWords>().unwrap(), ClientWords::default());
    }

    #[test]
    fn to_give_up_after_all_tries_there_is_a_number_of_tries() {
        let tries = |words: &str| words.parse::<ClientWords>().unwrap().tries;
        assert_eq!((tries("-n"), tries("-n -t 7"), tries("-T 2")), (Some(3), Some(7), None));
    }

    #[test]
    fn what_is_not_known_is_told_with_what_is() {
        for (words, wanted) in [
            ("-z", "-z is no option of the built-in client, which has -f"),
            ("--nonsense", "--nonsense is no option"),
            ("eth0", "eth0 is no option"),
            ("-", "- is no option"),
            ("-i eth0", "the interface is the guest's own"),
            ("-s /bin/true", "no script"),
            ("-r", "-r needs a value"),
            ("-r 10.0.0", "give an IPv4 address"),
            ("-r 224.0.0.1", "multicast"),
            ("-t 0", "from 1 to"),
            ("-T +3", "from 1 to"),
            ("-x hostname", "-x hostname:NAME"),
            ("-x hostname:-bad-", "no host name"),
            ("-x 53:01", "client's own"),
            ("-x 43:abc", "hexadecimal"),
            ("-O nonsense", "no DHCP option"),
            ("--quit=1", "has no value"),
            ("-fä", "-ä is no option"),
        ] {
            let error = words.parse::<ClientWords>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{words}: {error}");
        }
    }
}
