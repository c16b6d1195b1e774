//! Values of columns (RFC 7047, section 5.1): a set of one is written as that one.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::ovs::OvsVlans;

/// A row, of a server that may say anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a>(pub(super) &'a Value);

impl<'a> Row<'a> {
    fn column(self, name: &str) -> &'a Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// The elements of a set.
    pub(super) fn set(self, name: &str) -> Vec<&'a Value> {
        match self.column(name) {
            Value::Null => Vec::new(),
            value => match tagged(value, "set") {
                Some(Value::Array(elements)) => elements.iter().collect(),
                _ => vec![value],
            },
        }
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.set(name).first()?.as_str()
    }

    pub(super) fn number(self, name: &str) -> Option<i64> {
        self.set(name).first()?.as_i64()
    }

    pub(super) fn flag(self, name: &str) -> bool {
        self.column(name).as_bool().unwrap_or(false)
    }

    /// The row's own, or one that it refers to.
    pub(super) fn uuids(self, name: &str) -> Vec<&'a str> {
        self.set(name).into_iter().filter_map(|value| tagged(value, "uuid")?.as_str()).collect()
    }

    pub(super) fn uuid(self) -> Option<&'a str> {
        self.uuids("_uuid").first().copied()
    }

    pub(super) fn map(self, name: &str) -> BTreeMap<String, String> {
        let pairs = tagged(self.column(name), "map").and_then(Value::as_array);
        let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()));
        pairs.into_iter().flatten().filter_map(pair).collect()
    }

    /// The VLANs of a row of the table Port.
    pub(super) fn vlans(self) -> OvsVlans {
        let number = |value: &&Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
        let mut trunks: Vec<u16> = self.set("trunks").iter().filter_map(number).collect();
        trunks.sort_unstable();
        OvsVlans { mode: self.text("vlan_mode").map(str::to_owned), tag: self.set("tag").iter().find_map(number), trunks }
    }
}

/// What stands behind `["set", ...]`, `["map", ...]` or `["uuid", ...]`.
fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(is), value]) if is == tag => Some(value),
        _ => None,
    }
}

/// A reference to a row.
pub(super) fn uuid(uuid: &str) -> Value {
    json!(["uuid", uuid])
}

/// A map of strings.
pub(super) fn map(pairs: &BTreeMap<String, String>) -> Value {
    json!(["map", pairs.iter().map(|(key, value)| json!([key, value])).collect::<Vec<_>>()])
}

/// The columns of VLANs; those that have no value are left out.
pub(super) fn vlan_columns(vlans: &OvsVlans) -> Map<String, Value> {
    let mut columns = Map::new();
    columns.extend(vlans.tag.map(|tag| ("tag".to_owned(), json!(tag))));
    columns.extend(vlans.mode.as_ref().map(|mode| ("vlan_mode".to_owned(), json!(mode))));
    if !vlans.trunks.is_empty() {
        columns.insert("trunks".to_owned(), json!(["set", vlans.trunks]));
    }
    columns
}

/// The columns of VLANs, also those that have no value.
pub(super) fn all_vlan_columns(vlans: &OvsVlans) -> Map<String, Value> {
    let none = || json!(["set", []]);
    let mut columns: Map<String, Value> = ["tag", "vlan_mode", "trunks"].into_iter().map(|name| (name.to_owned(), none())).collect();
    columns.extend(vlan_columns(vlans));
    columns
}

/// Columns that ovs-vswitchd writes and nobody else (ovs-vswitchd.conf.db(5)), and those of the row itself.
const STATUS: [&str; 26] = [
    "_uuid",
    "_version",
    "admin_state",
    "bfd_status",
    "bond_active_slave",
    "cfm_fault",
    "cfm_fault_status",
    "cfm_flap_count",
    "cfm_health",
    "cfm_remote_mpids",
    "cfm_remote_opstate",
    "duplex",
    "error",
    "ifindex",
    "interfaces",
    "lacp_current",
    "link_resets",
    "link_speed",
    "link_state",
    "mac_in_use",
    "mtu",
    "ofport",
    "rstp_statistics",
    "rstp_status",
    "statistics",
    "status",
];

/// What of an observed row makes it again.
pub(super) fn restorable(row: &Value) -> Map<String, Value> {
    let columns = row.as_object().into_iter().flatten();
    columns.filter(|(name, _)| !STATUS.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_one_is_written_as_that_one() {
        let row = json!({"a": "x", "b": ["set", []], "c": ["set", ["x", "y"]], "d": ["uuid", "u"], "e": ["set", [["uuid", "u"]]], "f": 7});
        let row = Row(&row);
        assert_eq!((row.text("a"), row.text("b"), row.text("none")), (Some("x"), None, None));
        assert_eq!(row.set("c").len(), 2);
        assert_eq!((row.uuids("d"), row.uuids("e"), row.number("f")), (vec!["u"], vec!["u"], Some(7)));
    }

    #[test]
    fn columns_of_vlans_are_read_as_they_are_written() {
        for text in ["10", "10,20-30", ",20-30,40", ",5"] {
            let vlans: OvsVlans = (&text.parse::<crate::model::vlan::PortVlans>().unwrap()).into();
            let row = Value::Object(vlan_columns(&vlans));
            assert_eq!(Row(&row).vlans(), vlans, "{text}");
        }
    }
}
