//! What the database has of the names that a request leads to.

use serde_json::{Value, json};

use super::Switch;
use super::rows::{Row, restorable, uuid};
use super::transaction::{Transaction, only};
use crate::model::ovs::{OWN_NAME, OvsBridge, OvsError, OvsFacts, OvsPort};

impl Switch {
    /// Asks what the database has of a bridge and a port.
    ///
    /// # Errors
    /// See [`OvsError`].
    pub fn look(&mut self, bridge: &str, port: &str) -> Result<OvsFacts, OvsError> {
        let mut ask = Transaction::default();
        let named = |name: &str| only("name", "==", &json!(name));
        let root = ask.select("Open_vSwitch", &json!([]), &["next_cfg", "cur_cfg"]);
        let bridges = ask.select("Bridge", &named(bridge), &["_uuid", "ports"]);
        let fakes = ask.select("Port", &named(bridge), &["_uuid", "fake_bridge", "tag"]);
        let ports = ask.select("Port", &named(port), &[]);
        let interfaces = ask.select("Interface", &named(port), &[]);
        let answers = self.ask(&ask)?;
        if answers.rows(root).len() != 1 {
            return Err(self.wrong_schema("its table Open_vSwitch has no row; `ovs-vsctl init` makes it".into()));
        }
        let fake = answers.rows(fakes).first().map(Row).filter(|row| row.flag("fake_bridge"));
        let found = match (answers.rows(bridges).first(), fake) {
            (Some(_), _) => Some(OvsBridge::Real),
            (None, Some(row)) => self.fake_bridge(row)?,
            (None, None) => None,
        };
        let (row, interface) = (answers.rows(ports).first(), answers.rows(interfaces).first());
        Ok(OvsFacts { bridge: found, port: self.port(port, row, interface)? })
    }

    /// The names of the interfaces that pipework, this one or the original, made.
    ///
    /// # Errors
    /// See [`OvsError`].
    pub fn own_port_names(&mut self) -> Result<Vec<String>, OvsError> {
        let mut ask = Transaction::default();
        let interfaces = ask.select("Interface", &json!([]), &["name", "external_ids"]);
        let answers = self.ask(&ask)?;
        let own = answers.rows(interfaces).iter().map(Row).filter_map(|row| {
            let name = row.text("name")?;
            (row.map("external_ids").get(OWN_NAME).map(String::as_str) == Some(name)).then(|| name.to_owned())
        });
        Ok(own.collect())
    }

    fn fake_bridge(&mut self, row: Row<'_>) -> Result<Option<OvsBridge>, OvsError> {
        let vlan = row.vlans().tag.and_then(|tag| tag.to_string().parse().ok());
        let parent = row.uuid().map(|id| self.name_of_holder("Bridge", "ports", id)).transpose()?.flatten();
        Ok(parent.zip(vlan).map(|(parent, vlan)| OvsBridge::Fake { parent, vlan }))
    }

    /// A port, or an interface that is part of another port (a bond's): both take the name.
    fn port(&mut self, name: &str, row: Option<&Value>, interface: Option<&Value>) -> Result<Option<OvsPort>, OvsError> {
        let ids = interface.map(|row| Row(row).map("external_ids")).unwrap_or_default();
        let own = interface.and_then(|row| Row(row).uuid());
        let Some(row) = row else {
            let Some(own) = own else { return Ok(None) };
            let holder = self.name_of_holder("Port", "interfaces", own)?;
            let bridge = holder.map(|port| format!("port {port}"));
            return Ok(Some(OvsPort {
                name: name.into(),
                bridge,
                vlans: Row(&Value::Null).vlans(),
                ids,
                uuid: own.into(),
                raw: "".into(),
            }));
        };
        let port = Row(row);
        let id = port.uuid().unwrap_or_default();
        let alone = own.is_some_and(|own| port.uuids("interfaces") == [own]);
        let raw = if alone { json!({"port": restorable(row), "interface": interface.map(restorable)}).to_string() } else { String::new() };
        let bridge = self.name_of_holder("Bridge", "ports", id)?;
        Ok(Some(OvsPort { name: name.into(), bridge, vlans: port.vlans(), ids, uuid: id.into(), raw }))
    }

    /// The name of the row that refers to another.
    fn name_of_holder(&mut self, table: &str, column: &str, id: &str) -> Result<Option<String>, OvsError> {
        let mut ask = Transaction::default();
        let holders = ask.select(table, &only(column, "includes", &uuid(id)), &["name"]);
        let answers = self.ask(&ask)?;
        Ok(answers.rows(holders).first().and_then(|row| Row(row).text("name")).map(str::to_owned))
    }
}
