//! The words behind `-o` of `docker network create`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

use crate::model::pool::PoolName;
use crate::model::request::HostIf;
use crate::model::settings::{Mtu, ToolWords};
use crate::model::sharing::{IpvlanMode, MacvlanMode, Sharing};
use crate::model::types::Tag;

/// What is wrong with the options of a network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    /// No option of ours.
    #[error("-o {key}: there is no such option; there are {KNOWN}")]
    Unknown {
        /// What was given.
        key: String,
    },
    /// Its value means nothing.
    #[error("-o {key}={value}: {why}")]
    Value {
        /// Which option.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, or what to type.
        why: String,
    },
    /// Not said where the network is.
    #[error("say which network it is: -o parent=eth0 for a NIC of this host, or -o bridge=br0")]
    Nowhere,
    /// Two of them contradict each other.
    #[error("-o {one} and -o {other} cannot stand together: {why}")]
    Together {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// Why not.
        why: &'static str,
    },
}

const KNOWN: &str = "parent, bridge, vlan, mode, mtu, gateway, routes, pool, host_access";
/// Words of Docker's own drivers that mean one of ours: a network moves by changing nothing but its driver.
const ALSO: [(&str, &str); 3] = [("macvlan_mode", "mode"), ("ipvlan_mode", "mode"), ("com.docker.network.driver.mtu", "mtu")];
/// So many routes may be asked for.
const MOST_ROUTES: usize = 64;

/// Which gateway containers get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gateway {
    /// The one that the engine knows of the subnet.
    #[default]
    Subnets,
    /// None: another network is the way out.
    None,
    /// These, one of a family.
    These(Vec<IpAddr>),
}

/// What a network is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// `parent` or `bridge`.
    pub host_if: HostIf,
    /// `vlan`
    pub tag: Option<Tag>,
    /// `mode`
    pub sharing: Option<Sharing>,
    /// `mtu`
    pub mtu: Option<Mtu>,
    /// `gateway`
    pub gateway: Gateway,
    /// `routes`: as `ip route add` has them, with commas between.
    pub routes: Vec<ToolWords>,
    /// `pool`: addresses that the engine gives are claimed there as well.
    pub pool: Option<PoolName>,
    /// `host_access`
    pub host_access: bool,
}

impl NetworkOptions {
    /// Reads all of them.
    ///
    /// # Errors
    /// [`OptionError`]: the first that is wrong.
    pub fn read(words: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        let mut known: BTreeMap<&'static str, &str> = BTreeMap::new();
        for (key, value) in words {
            let ours = ALSO.iter().find(|(also, _)| also == key).map_or(key.as_str(), |(_, ours)| ours);
            let Some(name) = KNOWN.split(", ").find(|name| *name == ours) else {
                return Err(OptionError::Unknown { key: shown(key) });
            };
            if known.insert(name, value).is_some_and(|before| before != value) {
                return Err(wrong(name, value, format!("-o {name} is given twice, in Docker's words and in ours")));
            }
        }
        let get = |name: &str| known.get(name).copied();
        let host_if = match (get("parent"), get("bridge")) {
            (Some(_), Some(_)) => return Err(together("parent", "bridge", "a network is on one of them")),
            (Some(value), None) => parsed("parent", value)?,
            (None, Some(value)) => parsed("bridge", value)?,
            (None, None) => return Err(OptionError::Nowhere),
        };
        if let HostIf::Guest(_) = host_if {
            return Err(wrong("parent", get("parent").unwrap_or_default(), "it is an interface of this host".into()));
        }
        if get("bridge").is_some() && get("mode").is_some() {
            return Err(together("bridge", "mode", "a mode says how a NIC is shared"));
        }
        if get("bridge").is_some() && get("host_access").is_some_and(|value| value != "false") {
            return Err(together("bridge", "host_access", "the host reaches guests on a bridge by the bridge's own address"));
        }
        Ok(Self {
            host_if,
            tag: get("vlan").map(|value| parsed("vlan", value)).transpose()?,
            sharing: get("mode").map(mode).transpose()?,
            mtu: get("mtu").map(|value| parsed("mtu", value)).transpose()?,
            gateway: get("gateway").map(gateway).transpose()?.unwrap_or_default(),
            routes: get("routes").map(routes).transpose()?.unwrap_or_default(),
            pool: get("pool").map(|value| parsed("pool", value)).transpose()?,
            host_access: match get("host_access") {
                None | Some("false") => false,
                Some("true") => true,
                Some(value) => return Err(wrong("host_access", value, "give true or false".into())),
            },
        })
    }
}

/// A stranger's word, short enough for a message and without anything that a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    let plain: String = text.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().count() > 64 { plain + "..." } else { plain }
}

fn wrong(key: &'static str, value: &str, why: String) -> OptionError {
    OptionError::Value { key, value: shown(value), why }
}

fn together(one: &'static str, other: &'static str, why: &'static str) -> OptionError {
    OptionError::Together { one, other, why }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(key: &'static str, value: &str) -> Result<T, OptionError> {
    value.parse().map_err(|error: T::Err| wrong(key, value, shown_whole(&error.to_string())))
}

/// An error's words repeat what was given.
fn shown_whole(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

fn mode(value: &str) -> Result<Sharing, OptionError> {
    match value {
        "macvlan" => return Ok(Sharing::default()),
        "ipvlan" => return parsed::<IpvlanMode>("mode", "l2").map(Sharing::Ipvlan),
        _ => {}
    }
    if value.starts_with('l') {
        return parsed("mode", value).map(Sharing::Ipvlan);
    }
    value.parse::<MacvlanMode>().map(Sharing::Macvlan).map_err(|_| {
        let why =
            "give bridge, private, vepa or source:MAC,... for a macvlan; l2, l3 or l3s, with :private or :vepa behind it, for an ipvlan";
        wrong("mode", value, why.into())
    })
}

fn gateway(value: &str) -> Result<Gateway, OptionError> {
    if value == "none" {
        return Ok(Gateway::None);
    }
    let all = value.split(',').map(str::parse).collect::<Result<Vec<IpAddr>, _>>();
    let all = all.map_err(|_| wrong("gateway", value, "give an address, one of each family with a comma between, or none".into()))?;
    if all.len() > 2 || (all.len() == 2 && all[0].is_ipv4() == all[1].is_ipv4()) {
        return Err(wrong("gateway", value, "one of each family at most".into()));
    }
    Ok(Gateway::These(all))
}

fn routes(value: &str) -> Result<Vec<ToolWords>, OptionError> {
    if value.split(',').count() > MOST_ROUTES {
        return Err(wrong("routes", value, format!("{MOST_ROUTES} at most")));
    }
    let one = |text: &str| {
        let words: ToolWords = parsed("routes", text)?;
        super::answer::Route::of(&words).map(|_| words).map_err(|why| wrong("routes", text, why))
    };
    value.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// In values, an underscore stands for a blank.
    fn read(text: &str) -> Result<NetworkOptions, OptionError> {
        let words = text.split_whitespace().map(|word| word.split_once('=').unwrap());
        NetworkOptions::read(&words.map(|(key, value)| (key.to_owned(), value.replace('_', " "))).collect())
    }

    #[test]
    fn options_say_where_and_how() {
        let lan = read("parent=eth0 vlan=10 mode=private mtu=1400 gateway=10.0.0.1,fd00::1 routes=10.9.0.0/16_via_10.0.0.9").unwrap();
        assert_eq!((lan.host_if.to_string(), lan.tag.unwrap().to_string()), ("eth0".into(), "10".into()));
        assert_eq!(lan.sharing, Some(Sharing::Macvlan(MacvlanMode::Private)));
        assert_eq!(lan.gateway, Gateway::These(vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]));
        assert_eq!(lan.routes.len(), 1);
        assert_eq!(read("bridge=br0 gateway=none").unwrap().gateway, Gateway::None);
        assert!(read("parent=eth0 mode=l3s:vepa").unwrap().sharing.unwrap().is_ipvlan());
        assert!(read("parent=eth0 macvlan_mode=vepa").unwrap().sharing.is_some());
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_type() {
        for (text, wanted) in [
            ("parent=eth0 bridg=br0", "there are parent, bridge, vlan"),
            ("vlan=10", "-o parent=eth0"),
            ("parent=eth0 bridge=br0", "cannot stand together"),
            ("bridge=br0 mode=private", "how a NIC is shared"),
            ("parent=eth0 mode=l4", "ipvlan mode"),
            ("parent=eth0 mode=fast", "give bridge, private"),
            ("parent=eth0 vlan=ten", "1 to 4094"),
            ("parent=eth0 mtu=9", "68"),
            ("parent=eth0 gateway=10.0.0.1,10.0.0.2", "one of each family"),
            ("parent=eth0 gateway=here", "or none"),
            ("parent=eth0 routes=10.0.0.0/8_dev_eth1", "via"),
            ("parent=eth0 host_access=yes", "true or false"),
            ("parent=link:a:eth0", "interface of this host"),
            ("parent=../../x", "interface name"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
