//! Names for numbers: tables, protocols, scopes ... as the files under /etc/iproute2 have them, and links.

use std::collections::BTreeMap;

use super::WordsError;

/// More lines of one file are not read: it may be a guest's.
const MOST_LINES: usize = 4096;
/// Longer names are no names.
const LONGEST: usize = 64;

/// Numbers and their names. Of two names of one number the later wins, and of two numbers of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    entries: Vec<(u32, String)>,
}

impl NameTable {
    /// A table with what is known without a file.
    pub fn new(known: &[(u32, &str)]) -> Self {
        Self { entries: known.iter().map(|(id, name)| (*id, (*name).to_owned())).collect() }
    }

    /// Adds what a file says: a number (0x... or decimal) and a name on each line, `#` begins a comment. Lines that are
    /// something else are left out.
    pub fn add(&mut self, text: &str) {
        for line in text.lines().take(MOST_LINES) {
            let mut words = line.split_ascii_whitespace();
            if let (Some(id), Some(name)) = (words.next().and_then(file_number), words.next().filter(|n| is_name(n))) {
                self.entries.push((id, name.to_owned()));
            }
        }
    }

    /// Adds what a file like /etc/protocols says (protocols(5)): a name, a number, more names.
    pub fn add_protocols(&mut self, text: &str) {
        for line in text.lines().take(MOST_LINES) {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(name), Some(id)) = (words.next().filter(|n| is_name(n)), words.next().and_then(|n| n.parse().ok())) else { continue };
            let aliases = words.filter(|n| is_name(n)).map(|alias| (id, alias.to_owned()));
            let all: Vec<_> = aliases.chain([(id, name.to_owned())]).collect();
            // The first name of a number is the one that is shown.
            let at = if self.name(id).is_none() { self.entries.len() } else { 0 };
            self.entries.splice(at..at, all);
        }
    }

    /// The name of a number.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.entries.iter().rev().find(|(entry, _)| *entry == id).map(|(_, name)| name.as_str())
    }

    /// The number of a name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.entries.iter().rev().find(|(_, entry)| entry == name).map(|(id, _)| *id)
    }
}

fn file_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What is printed on somebody's terminal has nothing in it but what can be seen.
fn is_name(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic()) && !text.starts_with('#')
}

/// All tables of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// rt_tables
    pub tables: NameTable,
    /// rt_protos
    pub protocols: NameTable,
    /// rt_scopes
    pub scopes: NameTable,
    /// rt_realms
    pub realms: NameTable,
    /// rt_dsfield
    pub dsfields: NameTable,
    /// group
    pub groups: NameTable,
    /// /etc/protocols
    pub ip_protocols: NameTable,
}

impl Default for Names {
    /// What iproute2 knows without its files (linux/rtnetlink.h: RT_TABLE_*, RTPROT_*, RT_SCOPE_*).
    fn default() -> Self {
        Self {
            tables: NameTable::new(&[(253, "default"), (254, "main"), (255, "local")]),
            protocols: NameTable::new(&[
                (0, "unspec"),
                (1, "redirect"),
                (2, "kernel"),
                (3, "boot"),
                (4, "static"),
                (8, "gated"),
                (9, "ra"),
                (10, "mrt"),
                (11, "zebra"),
                (12, "bird"),
                (13, "dnrouted"),
                (14, "xorp"),
                (15, "ntk"),
                (16, "dhcp"),
                (18, "keepalived"),
                (42, "babel"),
                (186, "bgp"),
                (187, "isis"),
                (188, "ospf"),
                (189, "rip"),
                (192, "eigrp"),
            ]),
            scopes: NameTable::new(&[(0, "global"), (200, "site"), (253, "link"), (254, "host"), (255, "nowhere")]),
            realms: NameTable::new(&[(0, "unknown")]),
            dsfields: NameTable::new(&[(0, "0")]),
            groups: NameTable::new(&[(0, "default")]),
            ip_protocols: NameTable::default(),
        }
    }
}

/// The links of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// By index; the name, and then other names of the same link.
    pub by_index: BTreeMap<u32, Vec<String>>,
}

impl Links {
    /// The index of a name; `ifN` stands for N where no link has that name.
    pub fn index(&self, name: &str) -> Option<u32> {
        let named = self.by_index.iter().find(|(_, names)| names.iter().any(|n| n == name)).map(|(index, _)| *index);
        named.or_else(|| name.strip_prefix("if").filter(|n| !n.starts_with('+')).and_then(|n| n.parse().ok()).filter(|n| *n > 0))
    }

    /// The name of an index; `ifN` for a link that is not there, `*` for none.
    pub fn name(&self, index: u32) -> String {
        match self.by_index.get(&index).and_then(|names| names.first()) {
            Some(name) => name.clone(),
            None if index == 0 => "*".into(),
            None => format!("if{index}"),
        }
    }
}

/// What words and numbers are looked up in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookUps {
    /// Names of numbers.
    pub names: Names,
    /// Links.
    pub links: Links,
}

impl LookUps {
    /// The index of a link.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn link(&self, name: &str) -> Result<u32, WordsError> {
        let names = || self.links.by_index.values().filter_map(|names| names.first()).take(20).cloned().collect::<Vec<_>>().join(", ");
        self.links.index(name).ok_or_else(|| WordsError::Bad(format!("there is no interface {name:?}; there are {}", names())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_its_comments_and_what_makes_no_sense_is_left_out() {
        let mut table = Names::default().tables;
        table.add("# comment\n100 inr.ruhep # x\n0x1f4\thex\n\n254 first\nnonsense\n7\n-1 minus\n8 bad\u{1b}name\n9 #none\n100 later");
        assert_eq!((table.name(100), table.id("inr.ruhep"), table.id("hex")), (Some("later"), Some(100), Some(500)));
        assert_eq!((table.name(254), table.id("main")), (Some("first"), Some(254)));
        assert_eq!((table.name(8), table.name(9), table.id("minus")), (None, None, None));
    }

    #[test]
    fn of_two_numbers_with_one_name_the_later_wins() {
        let mut table = NameTable::default();
        table.add("100 web");
        table.add("200 web");
        assert_eq!((table.id("web"), table.name(100)), (Some(200), Some("web")));
    }

    #[test]
    fn protocols_have_their_first_name_shown_and_all_names_read() {
        let mut table = NameTable::default();
        table.add_protocols("ip 0 IP # pseudo\nhopopt 0 HOPOPT\ntcp\t6\tTCP # x\n# no\nbad\n");
        assert_eq!((table.name(0), table.name(6)), (Some("ip"), Some("tcp")));
        assert_eq!((table.id("TCP"), table.id("hopopt"), table.id("HOPOPT"), table.id("x")), (Some(6), Some(0), Some(0), None));
    }

    #[test]
    fn a_link_that_is_not_there_has_a_name_made_of_its_index() {
        let links = Links { by_index: BTreeMap::from([(2, vec!["eth0".into(), "uplink".into()])]) };
        assert_eq!((links.index("uplink"), links.index("if7"), links.index("eth1"), links.index("if0")), (Some(2), Some(7), None, None));
        assert_eq!((links.name(2), links.name(7), links.name(0)), ("eth0".into(), "if7".into(), "*".into()));
    }
}
