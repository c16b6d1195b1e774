//! pools.toml: the pools of a single host. Read with all its mistakes, each with its line.
//!
//! ```toml
//! [[pools]]
//! name = "lan"
//! subnet = "192.168.116.0/24"
//! range = "192.168.116.100-192.168.116.199"    # all of the subnet when absent
//! gateway = "192.168.116.1"
//! reserved = ["192.168.116.110", "192.168.116.120-192.168.116.129"]
//! ```

use std::net::IpAddr;
use std::ops::Range;

use ipnetwork::IpNetwork;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Pool, PoolName};
use crate::model::topology::Located;

const TOP: [&str; 1] = ["pools"];
const KEYS: [&str; 5] = ["name", "subnet", "range", "gateway", "reserved"];
/// So many single addresses can be reserved; whoever wants more gives a range.
pub(in crate::model) const MOST_RESERVED: usize = 4096;

/// Reads the pools of a file.
///
/// # Errors
/// All that is wrong with it.
pub fn read(text: &str) -> Result<Vec<Pool>, Vec<Located>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, wrong: Vec::new() };
    for error in &errors {
        let said: Vec<&str> = error.message().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        reader.wrong_at(error.span().unwrap_or_default(), said.join(", "));
    }
    let pools = if errors.is_empty() { reader.pools(document.get_ref()) } else { Vec::new() };
    reader.wrong.sort_by_key(|wrong| wrong.line);
    if reader.wrong.is_empty() { Ok(pools) } else { Err(reader.wrong) }
}

struct Reader<'a> {
    text: &'a str,
    wrong: Vec<Located>,
}

impl Reader<'_> {
    fn wrong_at(&mut self, span: Range<usize>, text: impl Into<String>) {
        let line = self.text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1;
        self.wrong.push(Located { line: Some(line), text: text.into() });
    }

    fn known(&mut self, table: &DeTable<'_>, keys: &[&str]) {
        for key in table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            self.wrong_at(key.span(), format!("{} is no key here: there are {}", key.get_ref(), keys.join(", ")));
        }
    }

    fn pools(&mut self, document: &DeTable<'_>) -> Vec<Pool> {
        self.known(document, &TOP);
        let Some(list) = document.get("pools") else { return Vec::new() };
        let Some(items) = list.get_ref().as_array() else {
            self.wrong_at(list.span(), "pools: each begins with [[pools]]");
            return Vec::new();
        };
        let mut pools: Vec<Pool> = Vec::new();
        for item in items.iter() {
            let Some(pool) = self.pool(item) else { continue };
            let clash = pools.iter().find(|other| other.name == pool.name || overlap(other, &pool));
            match clash.map(|other| (other.name == pool.name, other.name.clone())) {
                Some((true, name)) => self.wrong_at(item.span(), format!("there is a pool {name} already")),
                Some((false, name)) => {
                    self.wrong_at(item.span(), format!("pool {} gives addresses that pool {name} gives, too: change a range", pool.name));
                }
                None => pools.push(pool),
            }
        }
        pools
    }

    fn pool(&mut self, item: &Spanned<DeValue<'_>>) -> Option<Pool> {
        let Some(table) = item.get_ref().as_table() else {
            self.wrong_at(item.span(), "pools: each begins with [[pools]]");
            return None;
        };
        let before = self.wrong.len();
        self.known(table, &KEYS);
        let name = self.text_of(table, "name").map(|(text, span)| (text.parse::<PoolName>(), span));
        let subnet = self.text_of(table, "subnet").map(|(text, span)| (subnet(&text), span));
        for (key, missing) in [("name", !table.contains_key("name")), ("subnet", !table.contains_key("subnet"))] {
            if missing {
                self.wrong_at(item.span(), format!("{key} is missing"));
            }
        }
        let name = name.and_then(|(name, span)| name.map_err(|error| self.wrong_at(span, error.to_string())).ok());
        let subnet = subnet.and_then(|(subnet, span)| subnet.map_err(|why| self.wrong_at(span, why)).ok())?;
        let mut taken = |key: &str| {
            let (text, span) = self.text_of(table, key)?;
            self.take(span, range(&text, subnet).map_err(|why| format!("{key}: {why}")))
        };
        let range = taken("range");
        let gateway = taken("gateway");
        let reserved = self.reserved(table, subnet);
        if gateway.is_some_and(|(first, last)| first != last) {
            let span = table.get("gateway").map(Spanned::span).unwrap_or_default();
            self.wrong_at(span, "gateway: give one address");
        }
        let pool = Pool { name: name?, subnet, range, gateway: gateway.map(|(first, _)| first), reserved };
        if self.wrong.len() == before && pool.size() == pool.kept_back() {
            self.wrong_at(item.span(), format!("pool {} gives no address: all are reserved", pool.name));
        }
        (self.wrong.len() == before).then_some(pool)
    }

    fn reserved(&mut self, table: &DeTable<'_>, subnet: IpNetwork) -> Vec<IpAddr> {
        let Some(value) = table.get("reserved") else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_at(value.span(), "reserved: give a list, like [\"192.168.116.5\", \"192.168.116.10-192.168.116.19\"]");
            return Vec::new();
        };
        let mut all = Vec::new();
        for item in items.iter() {
            let read = item.get_ref().as_str().ok_or_else(|| "give an address in quotes".to_owned()).and_then(|text| range(text, subnet));
            let Some(range) = self.take(item.span(), read.map_err(|why| format!("reserved: {why}"))) else { continue };
            all.extend(each(range).take(MOST_RESERVED + 1));
            if all.len() > MOST_RESERVED {
                self.wrong_at(value.span(), format!("reserved: these are more than {MOST_RESERVED} addresses: give a range instead"));
                break;
            }
        }
        all
    }

    fn text_of(&mut self, table: &DeTable<'_>, key: &str) -> Option<(String, Range<usize>)> {
        let value = table.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some((text.to_owned(), value.span())),
            None => {
                self.wrong_at(value.span(), format!("{key}: give it in quotes"));
                None
            }
        }
    }

    fn take<T>(&mut self, span: Range<usize>, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.wrong_at(span, why)).ok()
    }
}

/// A subnet that guests' addresses can be of.
pub(in crate::model) fn subnet(text: &str) -> Result<IpNetwork, String> {
    let refuse = |why: String| format!("subnet: {text:?}: {why}");
    let read = text.parse().ok().filter(|_| text.contains('/'));
    let subnet: IpNetwork = read.ok_or_else(|| refuse("give a subnet with its prefix, like 192.168.116.0/24".into()))?;
    if subnet.ip() != subnet.network() {
        return Err(refuse(format!("it has bits beyond its prefix. Maybe you meant {}/{}", subnet.network(), subnet.prefix())));
    }
    let network = subnet.network();
    if subnet.prefix() == 0 || network.is_multicast() || network.is_loopback() {
        return Err(refuse("its addresses are no guests'".into()));
    }
    Ok(subnet)
}

/// `FIRST-LAST`, or one address.
pub(in crate::model) fn range(text: &str, subnet: IpNetwork) -> Result<(IpAddr, IpAddr), String> {
    let one = |word: &str| -> Result<IpAddr, String> {
        let ip: IpAddr = word.trim().parse().map_err(|_| format!("{word:?} is no address"))?;
        if subnet.contains(ip) { Ok(ip) } else { Err(format!("{ip} is not in {subnet}")) }
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (one(first)?, one(last)?);
    if first > last { Err(format!("{first} comes after {last}")) } else { Ok((first, last)) }
}

/// All of a range, one after another.
pub(in crate::model) fn each((first, last): (IpAddr, IpAddr)) -> Box<dyn Iterator<Item = IpAddr>> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Box::new((first.to_bits()..=last.to_bits()).map(|n| IpAddr::V4(n.into()))),
        (IpAddr::V6(first), IpAddr::V6(last)) => Box::new((first.to_bits()..=last.to_bits()).map(|n| IpAddr::V6(n.into()))),
        _ => Box::new(std::iter::empty()),
    }
}

/// An address that two pools give would be given twice.
pub(in crate::model) fn overlap(one: &Pool, other: &Pool) -> bool {
    let (first, last) = one.bounds();
    let (from, to) = other.bounds();
    first.is_ipv4() == from.is_ipv4() && first <= to && from <= last
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wrong(text: &str) -> String {
        read(text).unwrap_err().iter().map(|wrong| wrong.to_string().trim().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn pools_are_read_with_their_ranges() {
        let text = r#"
[[pools]]
name = "lan"
subnet = "192.168.116.0/24"
range = "192.168.116.100-192.168.116.199"
gateway = "192.168.116.1"
reserved = ["192.168.116.110", "192.168.116.120-192.168.116.122"]

[[pools]]
name = "six"
subnet = "fd00::/64"
"#;
        let pools = read(text).unwrap();
        assert_eq!(pools[0].reserved.len(), 4);
        assert_eq!((pools[0].size(), pools[0].kept_back()), (100, 4), "the gateway is out of the range");
        assert_eq!(pools[1].size(), u128::from(u64::MAX));
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn each_mistake_is_told_with_its_line() {
        let text = r#"[[pools]]
name = "LAN"
subnet = "192.168.116.5/24"
colour = "red"
[[pools]]
subnet = "10.0.0.0/8"
gateway = "192.168.1.1"
range = "10.0.0.9-10.0.0.1"
reserved = ["10.0.0.0-10.0.255.255", 7]
"#;
        let told = wrong(text);
        for (line, words) in [
            (2, "a pool's name is"),
            (3, "Maybe you meant 192.168.116.0/24"),
            (4, "colour is no key here"),
            (5, "name is missing"),
            (7, "192.168.1.1 is not in 10.0.0.0/8"),
            (8, "10.0.0.9 comes after 10.0.0.1"),
            (9, "more than 4096"),
        ] {
            assert!(told.lines().any(|told| told.starts_with(&format!("{line}: ")) && told.contains(words)), "{line} {words}\n{told}");
        }
        let two = |more: &str| format!("[[pools]]\nname = \"a\"\nsubnet = \"10.0.0.0/24\"\n{more}");
        assert!(wrong(&two("[[pools]]\nname = \"a\"\nsubnet = \"10.1.0.0/24\"\n")).contains("4: there is a pool a already"));
        assert!(wrong(&two("[[pools]]\nname = \"b\"\nsubnet = \"10.0.0.0/16\"\n")).contains("that pool a gives, too"));
        assert!(wrong(&two("reserved = [\"10.0.0.1-10.0.0.254\"]\n")).contains("gives no address"));
        assert!(wrong("pools = 7").contains("[[pools]]") && wrong("x").contains("1:"));
        for bad in ["0.0.0.0/0", "224.0.0.0/8", "127.0.0.0/8", "10.0.0.1", "x/24", "10.0.0.0/33"] {
            assert!(read(&format!("[[pools]]\nname = \"a\"\nsubnet = \"{bad}\"")).is_err(), "{bad}");
        }
    }
}
