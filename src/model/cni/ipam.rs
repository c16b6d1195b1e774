//! Who gives the addresses: nobody, our own pools, or another plugin.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OWN;
use super::config::NetworkName;
use super::error::{CniError, Code};
use super::result::Route;
use crate::model::pool::{self, Pool, PoolName};

/// Who gives the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ipam {
    /// Those of the configuration, if any.
    #[default]
    None,
    /// Our pools.
    BuiltIn(BuiltIn),
    /// The plugin of that name.
    Delegated(String),
}

/// Our own address management.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// One address comes of each.
    pub sources: Vec<Source>,
    /// The routes; the default routes by the pools' gateways when absent.
    pub routes: Option<Vec<Route>>,
}

/// What one address comes of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pool that this host, or its cluster, has.
    Named(PoolName),
    /// Pools of the network's own: the first that has a free address gives it.
    Own(Vec<Pool>),
}

/// `ipam`, where its `type` is `pipework`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ipam")]
pub(super) struct Words {
    /// pipework; any other is a plugin's name, which has keys of its own.
    #[serde(rename = "type")]
    kind: String,
    /// A pool of /etc/pipework/pools.toml, or of the cluster: one address comes of it.
    #[serde(default)]
    pool: Option<String>,
    /// Several such pools, for example one for IPv4 and one for IPv6: one address comes of each.
    #[serde(default)]
    pools: Vec<String>,
    /// The network's own addresses, like 10.1.0.0/16.
    #[serde(default)]
    subnet: Option<String>,
    /// The first that is given out.
    #[serde(default, rename = "rangeStart")]
    range_start: Option<String>,
    /// The last that is given out.
    #[serde(default, rename = "rangeEnd")]
    range_end: Option<String>,
    /// The gateway, which is not given out.
    #[serde(default)]
    gateway: Option<String>,
    /// Addresses, or ranges like 10.1.0.5-10.1.0.9, that are somebody's already.
    #[serde(default)]
    reserved: Vec<String>,
    /// Several subnets: one address comes of each list, of the first subnet in it that has one.
    #[serde(default)]
    ranges: Vec<Vec<Range>>,
    /// Routes. When absent the gateways are the default routes.
    #[serde(default)]
    routes: Option<Vec<Route>>,
}

/// A subnet of `ranges`, and of `runtimeConfig.ipRanges`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// Its addresses, like 10.1.0.0/16.
    subnet: String,
    /// The first that is given out.
    #[serde(default, rename = "rangeStart", skip_serializing_if = "Option::is_none")]
    range_start: Option<String>,
    /// The last that is given out.
    #[serde(default, rename = "rangeEnd", skip_serializing_if = "Option::is_none")]
    range_end: Option<String>,
    /// The gateway, which is not given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    /// Addresses, or ranges, that are somebody's already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reserved: Vec<String>,
}

/// More pools than this are no network's.
pub const MOST_POOLS: usize = 64;

/// Reads `ipam`, with what the runtime adds to it.
pub(super) fn read(value: Option<&Value>, more: &[Vec<Range>], network: &NetworkName) -> Result<Ipam, CniError> {
    let wrong = |why: String| CniError::configuration("ipam", why);
    let object = match value {
        None | Some(Value::Null) => return Ok(Ipam::None),
        Some(Value::Object(object)) if object.is_empty() => return Ok(Ipam::None),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(wrong("it is no object".into())),
    };
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind != OWN {
        return plugin_name(kind).map(Ipam::Delegated);
    }
    let words: Words = serde_json::from_value(Value::Object(object.clone())).map_err(|error| {
        let text = error.to_string();
        match text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((key, _)) => {
                let value = object.get(key).map(ToString::to_string).unwrap_or_default();
                CniError::new(Code::UnsupportedField, format!("ipam: unsupported field {key}: {value}")).with(text)
            }
            None => wrong(text),
        }
    })?;
    built_in(words, more, network).map(Ipam::BuiltIn)
}

/// Of an `ipam` that is wrong by now: the pools whose names can be read.
pub(super) fn what_goes(value: Option<&Value>) -> Ipam {
    let Some(object) = value.and_then(Value::as_object).filter(|object| object.get("type").is_some_and(|kind| kind == OWN)) else {
        return Ipam::None;
    };
    let several = object.get("pools").and_then(Value::as_array).into_iter().flatten();
    let names = object.get("pool").into_iter().chain(several).filter_map(|name| name.as_str()?.parse().ok());
    Ipam::BuiltIn(BuiltIn { sources: names.take(MOST_POOLS).map(Source::Named).collect(), routes: None })
}

/// A file's name, and none that leads elsewhere.
fn plugin_name(kind: &str) -> Result<String, CniError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
    if kind.is_empty() || kind.starts_with(['.', '-']) || kind.len() > 255 || !kind.chars().all(good) {
        return Err(CniError::configuration("ipam.type", format!("{kind:?} is no plugin's name; ours is {OWN:?}")));
    }
    Ok(kind.to_owned())
}

fn built_in(words: Words, more: &[Vec<Range>], network: &NetworkName) -> Result<BuiltIn, CniError> {
    if let Some((key, value)) = words.routes.iter().flatten().find_map(Route::unknown) {
        return Err(CniError::new(Code::UnsupportedField, format!("ipam.routes: unsupported field {key}: {value}")));
    }
    let Words { pool, pools, subnet, range_start, range_end, gateway, reserved, ranges, routes, .. } = words;
    let mut sources = Vec::new();
    for name in pool.iter().chain(&pools) {
        let name = name.parse().map_err(|why| CniError::configuration("ipam.pool", why))?;
        sources.push(Source::Named(name));
    }
    let mut sets: Vec<Vec<Range>> = Vec::new();
    match subnet {
        Some(subnet) => sets.push(vec![Range { subnet, range_start, range_end, gateway, reserved }]),
        None if range_start.is_some() || range_end.is_some() || gateway.is_some() || !reserved.is_empty() => {
            return Err(CniError::configuration("ipam", "rangeStart, rangeEnd, gateway and reserved are about a subnet, which is missing"));
        }
        None => {}
    }
    sets.extend(ranges.into_iter().chain(more.iter().cloned()));
    if sets.iter().map(Vec::len).sum::<usize>() + sources.len() > MOST_POOLS || sets.iter().any(Vec::is_empty) {
        return Err(CniError::configuration("ipam.ranges", format!("a list is empty, or there are more than {MOST_POOLS} subnets")));
    }
    let mut all: Vec<Pool> = Vec::new();
    for set in sets {
        let mut own = Vec::new();
        for range in set {
            let pool = pool_of(&range, all.len(), network)?;
            if let Some(other) = all.iter().find(|other| pool::overlap(other, &pool)) {
                return Err(CniError::configuration("ipam", format!("{} and {} have addresses in common", other.subnet, pool.subnet)));
            }
            all.push(pool.clone());
            own.push(pool);
        }
        sources.push(Source::Own(own));
    }
    if sources.is_empty() {
        let why = "give a pool, like \"pool\": \"lan\", or a subnet, like \"subnet\": \"192.168.1.0/24\"";
        return Err(CniError::configuration("ipam", why));
    }
    Ok(BuiltIn { sources, routes })
}

/// Between the gateway's name and what is read of a pool's file there is no difference: a subnet is checked as one there is.
fn pool_of(range: &Range, number: usize, network: &NetworkName) -> Result<Pool, CniError> {
    let wrong = |key: &str, why: String| CniError::configuration(&format!("ipam.{key}"), why);
    let subnet: IpNetwork = pool::subnet(&range.subnet).map_err(|why| CniError::configuration("ipam", why))?;
    let within = |key: &'static str, text: &str| pool::range(text, subnet).map_err(|why| wrong(key, why));
    let one = |key: &'static str, text: &Option<String>| -> Result<Option<IpAddr>, CniError> {
        match text.as_deref().map(|text| within(key, text)).transpose()? {
            Some((first, last)) if first != last => Err(wrong(key, "give one address".into())),
            found => Ok(found.map(|(first, _)| first)),
        }
    };
    let (start, end) = (one("rangeStart", &range.range_start)?, one("rangeEnd", &range.range_end)?);
    let gateway = one("gateway", &range.gateway)?;
    let mut reserved = Vec::new();
    for text in &range.reserved {
        let span = within("reserved", text)?;
        reserved.extend(pool::each(span).take(pool::MOST_RESERVED + 1));
        if reserved.len() > pool::MOST_RESERVED {
            return Err(wrong("reserved", format!("these are more than {} addresses: give rangeStart and rangeEnd", pool::MOST_RESERVED)));
        }
    }
    let whole = Pool { name: network.pool(number), subnet, range: None, gateway, reserved };
    let (first, last) = whole.bounds();
    let bounds = (start.unwrap_or(first), end.unwrap_or(last));
    if bounds.0 > bounds.1 {
        return Err(wrong("rangeStart", format!("{} comes after {}", bounds.0, bounds.1)));
    }
    let pool = Pool { range: (start.is_some() || end.is_some()).then_some(bounds), ..whole };
    if pool.size() <= pool.kept_back() {
        return Err(wrong("subnet", format!("{} gives no address", pool.subnet)));
    }
    Ok(pool)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Result<Ipam, CniError> {
        read(Some(&value), &[], &"lan".parse().unwrap())
    }

    fn pools(value: Value) -> Vec<Source> {
        match of(value).unwrap() {
            Ipam::BuiltIn(own) => own.sources,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_come_of_pools_of_subnets_of_a_plugin_or_of_nobody() {
        for none in [json!(null), json!({})] {
            assert_eq!(of(none).unwrap(), Ipam::None);
        }
        assert_eq!(of(json!({"type": "host-local", "subnet": 7})).unwrap(), Ipam::Delegated("host-local".into()));
        assert_eq!(pools(json!({"type": "pipework", "pool": "lan"})), [Source::Named("lan".parse().unwrap())]);
        assert_eq!(pools(json!({"type": "pipework", "pools": ["lan", "lan6"]})).len(), 2);
        let own = pools(json!({"type": "pipework", "subnet": "10.1.0.0/16", "rangeStart": "10.1.0.10", "gateway": "10.1.0.1",
            "ranges": [[{"subnet": "fd00::/64"}]]}));
        let [Source::Own(four), Source::Own(six)] = &own[..] else { panic!("{own:?}") };
        assert_eq!(four[0].bounds().0.to_string(), "10.1.0.10");
        assert_eq!(four[0].bounds().1.to_string(), "10.1.255.254");
        assert_eq!((four[0].name.to_string(), six[0].name.to_string()), ("cni-lan".into(), "cni-lan-1".into()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        for (value, code, words) in [
            (json!(7), 7, "no object"),
            (json!({"type": "../bridge"}), 7, "no plugin's name"),
            (json!({"subnet": "10.0.0.0/8"}), 7, "no plugin's name"),
            (json!({"type": "pipework"}), 7, "give a pool"),
            (json!({"type": "pipework", "pool": "LAN"}), 7, "ipam.pool"),
            (json!({"type": "pipework", "pool": 7}), 7, "string"),
            (json!({"type": "pipework", "subnet": "10.1.0.5/16"}), 7, "Maybe you meant 10.1.0.0/16"),
            (json!({"type": "pipework", "subnet": "10.1.0.0/16", "gateway": "10.2.0.1"}), 7, "not in 10.1.0.0/16"),
            (json!({"type": "pipework", "gateway": "10.2.0.1"}), 7, "a subnet, which is missing"),
            (json!({"type": "pipework", "subnet": "10.1.0.0/16", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.1"}), 7, "comes after"),
            (json!({"type": "pipework", "subnet": "10.1.0.0/32", "gateway": "10.1.0.0"}), 7, "no address"),
            (json!({"type": "pipework", "ranges": [[]]}), 7, "empty"),
            (json!({"type": "pipework", "ranges": [[{"subnet": "10.0.0.0/8"}], [{"subnet": "10.1.0.0/16"}]]}), 7, "in common"),
            (json!({"type": "pipework", "subnet": "10.1.0.0/16", "reserved": ["10.1.0.0-10.1.255.0"]}), 7, "more than"),
            (json!({"type": "pipework", "pool": "lan", "routes": [{"dst": "10.0.0.0/8", "via": "x"}]}), 2, "via: \"x\""),
            (json!({"type": "pipework", "colour": "red"}), 2, "colour: \"red\""),
        ] {
            let error = of(value.clone()).unwrap_err();
            assert_eq!(error.code(), code, "{value} {error}");
            assert!(error.to_string().contains(words), "{value} {error}");
        }
    }
}
