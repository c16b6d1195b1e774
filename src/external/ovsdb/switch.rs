//! The switch through its database: bridges and ports made, waited for, and removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::{Map, Value, json};

use super::Client;
use super::address::Address;
use super::rows::{Row, all_vlan_columns, map, uuid, vlan_columns};
use super::transaction::{Answers, Transaction, only};
use crate::model::ovs::{BRIDGE_MARK, NewOvsPort, OvsError, OvsPort, OvsVlans};

const DATABASE: &str = "Open_vSwitch";
/// How long ovs-vswitchd may take. A busy one with thousands of ports takes a second or two.
const TAKEN_PATIENCE: Duration = Duration::from_secs(10);
/// How long it is waited, when something is taken back, for a server that ended to be there again (its monitor starts it
/// anew, ovsdb-server(1), --monitor), and for ovs-vswitchd to follow.
const UNDO_PATIENCE: Duration = Duration::from_secs(5);
const UNDO_PAUSE: Duration = Duration::from_millis(100);

/// Says whether a signal asks to stop.
pub type Stop<'a> = &'a mut dyn FnMut() -> Option<&'static str>;

/// A switch, by the address of its database.
#[derive(Debug)]
pub struct Switch {
    address: Address,
    client: Option<Client>,
    /// UUIDs of the rows that we made, by name: a bridge's and its port's, or a port's alone.
    made: BTreeMap<String, Vec<String>>,
    /// ovs-vswitchd did not follow once: it is not waited for again.
    asleep: bool,
    /// The server did not come back once: nor is that.
    away: bool,
}

impl Switch {
    /// The switch of a database. Nothing is asked yet.
    pub fn new(address: Address) -> Self {
        Self { address, client: None, made: BTreeMap::new(), asleep: false, away: false }
    }

    /// Makes a bridge, and waits until ovs-vswitchd has it.
    ///
    /// # Errors
    /// See [`OvsError`]; [`OvsError::Changed`] with `EEXIST` when it is there by now.
    pub fn add_bridge(&mut self, name: &str, stop: Stop<'_>) -> Result<(), OvsError> {
        let (bridge, port, interface) = (self.fresh_uuid()?, self.fresh_uuid()?, self.fresh_uuid()?);
        let there = OvsError::Changed { what: format!("somebody else made bridge {name} meanwhile"), errno: Errno::EEXIST };
        let mut change = Transaction::default();
        change.comment(&format!("add-br {name}"));
        change.expect("Bridge", &only("name", "==", &json!(name)), &["name"], &json!([]), there);
        change.insert("Interface", &interface, columns([("name", json!(name)), ("type", json!("internal"))]));
        change.insert("Port", &port, columns([("name", json!(name)), ("interfaces", uuid(&interface))]));
        let mark = BTreeMap::from([(BRIDGE_MARK.to_owned(), name.to_owned())]);
        change.insert("Bridge", &bridge, columns([("name", json!(name)), ("ports", uuid(&port)), ("external_ids", map(&mark))]));
        change.mutate("Open_vSwitch", &json!([]), "bridges", "insert", &bridge);
        self.carry_out(name, change, vec![bridge, port], stop)
    }

    /// Makes a port, and waits until ovs-vswitchd has it.
    ///
    /// # Errors
    /// See [`OvsError`]; [`OvsError::Changed`] with `ENODEV` when the bridge is gone.
    pub fn add_port(&mut self, port: &NewOvsPort, stop: Stop<'_>) -> Result<(), OvsError> {
        let (id, interface) = (self.fresh_uuid()?, self.fresh_uuid()?);
        let (name, bridge) = (port.name.as_str(), port.bridge.as_str());
        let changed = |what: String, errno| OvsError::Changed { what, errno };
        let on_bridge = only("name", "==", &json!(bridge));
        let mut change = Transaction::default();
        change.comment(&format!("add-port {bridge} {name}"));
        let gone = changed(format!("somebody removed bridge {bridge} meanwhile"), Errno::ENODEV);
        change.expect("Bridge", &on_bridge, &["name"], &json!([{"name": bridge}]), gone);
        let rows = port.replaces.iter().map(|old| json!({"_uuid": uuid(&old.uuid)})).collect::<Value>();
        let other = changed(format!("somebody else made or removed port {name} meanwhile"), Errno::EEXIST);
        change.expect("Port", &only("name", "==", &json!(name)), &["_uuid"], &rows, other);
        if let Some(old) = &port.replaces {
            remove_port(&mut change, &old.uuid);
        }
        change.insert("Interface", &interface, columns([("name", json!(name)), ("external_ids", map(&port.ids))]));
        let mut row = vlan_columns(&port.vlans);
        row.extend(columns([("name", json!(name)), ("interfaces", uuid(&interface))]));
        change.insert("Port", &id, row);
        change.mutate("Bridge", &on_bridge, "ports", "insert", &id);
        self.carry_out(name, change, vec![id], stop)
    }

    /// Makes a port carry other VLANs, and waits until ovs-vswitchd has taken it.
    ///
    /// # Errors
    /// See [`OvsError`]; [`OvsError::Changed`] with `ENODEV` when there is no such port, or it carries something else by now.
    pub fn set_vlans(&mut self, name: &str, vlans: &OvsVlans, before: &OvsVlans, stop: Stop<'_>) -> Result<(), OvsError> {
        let named = only("name", "==", &json!(name));
        let other = OvsError::Changed { what: format!("somebody changed or removed port {name} meanwhile"), errno: Errno::ENODEV };
        let mut change = Transaction::default();
        change.comment(&format!("set Port {name}"));
        let is = all_vlan_columns(before);
        change.expect("Port", &named, &["vlan_mode", "tag", "trunks"], &json!([is]), other);
        change.update("Port", &named, all_vlan_columns(vlans));
        let number = change.announce();
        let answers = self.transact(&change)?;
        let number = answers.rows(number).first().and_then(|row| Row(row).number("next_cfg"));
        self.wait_for(name, number.ok_or_else(|| self.garbled("there is no next_cfg in it"))?, stop)
    }

    /// Sends a change that makes `rows`, and waits until ovs-vswitchd has made what is called `name` of them.
    fn carry_out(&mut self, name: &str, mut change: Transaction, rows: Vec<String>, stop: Stop<'_>) -> Result<(), OvsError> {
        let number = change.announce();
        self.made.insert(name.to_owned(), rows.clone());
        let answers = match self.transact(&change) {
            Err(error) if !error.outcome_unknown() => {
                self.made.remove(name);
                return Err(error);
            }
            answered => answered?,
        };
        let given = |id: &String| change.position_of(id).and_then(|at| answers.inserted(at)).map(str::to_owned);
        self.made.insert(name.to_owned(), rows.iter().filter_map(given).collect());
        let number = answers.rows(number).first().and_then(|row| Row(row).number("next_cfg"));
        self.wait_for(name, number.ok_or_else(|| self.garbled("there is no next_cfg in it"))?, stop)
    }

    /// Waits until ovs-vswitchd has taken a change, and asks what came of it.
    fn wait_for(&mut self, name: &str, number: i64, stop: Stop<'_>) -> Result<(), OvsError> {
        if !self.wait_until_taken(number, TAKEN_PATIENCE, stop)? {
            self.asleep = true;
            return Err(OvsError::NotTaken { ms: millis(TAKEN_PATIENCE) });
        }
        let mut ask = Transaction::default();
        let interfaces = ask.select("Interface", &only("name", "==", &json!(name)), &["error", "ofport"]);
        let answers = self.transact(&ask).map_err(after_commit)?;
        let row = answers.rows(interfaces).first().map(Row);
        let why = match (row, row.and_then(|row| row.text("error"))) {
            (None, _) => "its row is gone".to_owned(),
            (Some(_), Some(error)) => error.to_owned(),
            // As for a datapath that the kernel does not have: ovs-vswitchd says why in its log only.
            (Some(row), None) if row.number("ofport").is_none_or(|number| number < 0) => "it gave it no port number".to_owned(),
            _ => return Ok(()),
        };
        Err(OvsError::Switch { name: name.to_owned(), why })
    }

    fn wait_until_taken(&mut self, number: i64, patience: Duration, stop: Stop<'_>) -> Result<bool, OvsError> {
        let mut ask = Transaction::default();
        let root = ask.select("Open_vSwitch", &json!([]), &["cur_cfg"]);
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(500);
        loop {
            let answers = self.transact(&ask).map_err(after_commit)?;
            // Both numbers wrap around after 2^63 changes: never.
            if answers.rows(root).first().and_then(|row| Row(row).number("cur_cfg")).is_some_and(|now| now >= number) {
                return Ok(true);
            }
            if let Some(signal) = stop() {
                return Err(OvsError::Interrupted(signal));
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Removes a port that we made, and puts back what it replaced. One that is not there is no failure. A server that
    /// ended is waited for.
    ///
    /// # Errors
    /// See [`OvsError`].
    pub fn del_port(&mut self, port: &NewOvsPort) -> Result<(), OvsError> {
        self.again_and_again(|switch| switch.try_del_port(port))
    }

    fn try_del_port(&mut self, port: &NewOvsPort) -> Result<(), OvsError> {
        let known = self.made.get(port.name.as_str()).and_then(|rows| rows.first()).cloned();
        let Some(id) = known.map_or_else(|| self.find_made(port), |id| Ok(Some(id)))? else { return Ok(()) };
        let mut change = Transaction::default();
        change.comment(&format!("del-port {} {}", port.bridge, port.name));
        let absent = OvsError::Changed { what: format!("port {} is not there", port.name), errno: Errno::ENODEV };
        if port.replaces.is_some() {
            // Only then is there room for what it replaced.
            change.expect("Port", &only("_uuid", "==", &uuid(&id)), &["_uuid"], &json!([{"_uuid": uuid(&id)}]), absent);
        }
        remove_port(&mut change, &id);
        if let Some(old) = &port.replaces {
            self.restore(&mut change, old)?;
        }
        self.carry_out_undo(change)
    }

    /// The UUID of a port that we made, when the answer that had it was lost: its interface has all our identifiers.
    fn find_made(&mut self, port: &NewOvsPort) -> Result<Option<String>, OvsError> {
        let mut ask = Transaction::default();
        let named = only("name", "==", &json!(port.name.as_str()));
        let ports = ask.select("Port", &named, &["_uuid"]);
        let interfaces = ask.select("Interface", &named, &["external_ids"]);
        let answers = self.transact(&ask)?;
        let is_ours = answers.rows(interfaces).first().is_some_and(|row| Row(row).map("external_ids") == port.ids);
        let row = answers.rows(ports).first().filter(|_| is_ours);
        let id = row.and_then(|row| Row(row).uuid()).filter(|id| port.replaces.as_ref().is_none_or(|old| old.uuid != *id));
        Ok(id.map(str::to_owned))
    }

    /// The rows that made room, as they were.
    fn restore(&mut self, change: &mut Transaction, old: &OvsPort) -> Result<(), OvsError> {
        let rows: Value = serde_json::from_str(&old.raw).map_err(|error| self.garbled(&error.to_string()))?;
        let row = |name: &str| rows.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let interface = self.fresh_uuid()?;
        change.insert("Interface", &interface, row("interface"));
        let mut port = row("port");
        port.insert("interfaces".into(), uuid(&interface));
        change.insert("Port", &old.uuid, port);
        if let Some(bridge) = &old.bridge {
            change.mutate("Bridge", &only("name", "==", &json!(bridge)), "ports", "insert", &old.uuid);
        }
        Ok(())
    }

    /// Removes a bridge that we made, when it has no port but its own.
    ///
    /// # Errors
    /// See [`OvsError`]. Leaving it is no failure.
    pub fn del_unused_bridge(&mut self, name: &str) -> Result<(), OvsError> {
        self.again_and_again(|switch| switch.try_del_unused_bridge(name))
    }

    fn try_del_unused_bridge(&mut self, name: &str) -> Result<(), OvsError> {
        let known = self.made.get(name).filter(|rows| rows.len() == 2).cloned();
        let rows = known.map_or_else(|| self.find_unused_bridge(name), |rows| Ok(Some(rows)))?;
        let Some([bridge, port]) = rows.as_deref() else { return Ok(()) };
        let used = OvsError::Changed { what: format!("bridge {name} is used"), errno: Errno::ENODEV };
        let mut change = Transaction::default();
        change.comment(&format!("del-br {name}"));
        let row = json!([{"_uuid": uuid(bridge), "ports": uuid(port)}]);
        change.expect("Bridge", &only("name", "==", &json!(name)), &["_uuid", "ports"], &row, used);
        change.mutate("Open_vSwitch", &json!([]), "bridges", "delete", bridge);
        self.carry_out_undo(change)
    }

    fn find_unused_bridge(&mut self, name: &str) -> Result<Option<Vec<String>>, OvsError> {
        let mut ask = Transaction::default();
        let bridges = ask.select("Bridge", &only("name", "==", &json!(name)), &["_uuid", "ports", "external_ids"]);
        let answers = self.transact(&ask)?;
        let Some(row) = answers.rows(bridges).first().map(Row) else { return Ok(None) };
        Ok(match (row.uuid(), row.uuids("ports").as_slice()) {
            (Some(bridge), [port]) if row.map("external_ids").contains_key(BRIDGE_MARK) => {
                Some(vec![bridge.to_owned(), (*port).to_owned()])
            }
            _ => None,
        })
    }

    /// Sends a change that takes something back, and gives ovs-vswitchd time to follow. When a condition does not hold,
    /// there is nothing to take back.
    fn carry_out_undo(&mut self, mut change: Transaction) -> Result<(), OvsError> {
        let number = change.announce();
        let answers = match self.transact(&change) {
            Err(OvsError::Changed { .. }) => return Ok(()),
            answered => answered?,
        };
        let number = answers.rows(number).first().and_then(|row| Row(row).number("next_cfg"));
        if let (Some(number), false) = (number, self.asleep) {
            // The rows are gone, which is what counts.
            self.asleep = !self.wait_until_taken(number, UNDO_PATIENCE, &mut || None).unwrap_or(false);
        }
        Ok(())
    }

    fn again_and_again(&mut self, mut work: impl FnMut(&mut Self) -> Result<(), OvsError>) -> Result<(), OvsError> {
        let deadline = Instant::now() + if self.away { Duration::ZERO } else { UNDO_PATIENCE };
        loop {
            match work(self) {
                Err(OvsError::Gone { .. } | OvsError::Lost { .. }) if Instant::now() < deadline => std::thread::sleep(UNDO_PAUSE),
                ended => {
                    self.away = matches!(ended, Err(OvsError::Gone { .. } | OvsError::Lost { .. }));
                    return ended;
                }
            }
        }
    }

    /// A question before anything is changed: a server that refuses it has another schema.
    pub(super) fn ask(&mut self, ask: &Transaction) -> Result<Answers, OvsError> {
        self.transact(ask).map_err(|error| match error {
            OvsError::Refused { error, details } => self.wrong_schema(format!("{error}: {details}")),
            error => error,
        })
    }

    fn transact(&mut self, change: &Transaction) -> Result<Answers, OvsError> {
        match self.send(change, &change.params(DATABASE)) {
            Err(OvsError::Refused { details, .. }) if change.inserts() && details.contains("Member 'uuid'") => {
                // From here on UUIDs are the server's to choose, and not known beforehand.
                self.made.retain(|_, rows| rows.iter().all(|id| change.position_of(id).is_none()));
                self.send(change, &change.params_by_name(DATABASE))
            }
            sent => sent,
        }
    }

    fn send(&mut self, change: &Transaction, params: &Value) -> Result<Answers, OvsError> {
        let result = match self.call(params) {
            Err(OvsError::Refused { error, .. }) if error == "unknown database" => return Err(self.no_database()),
            answered => answered?,
        };
        change.outcome(result, |why| self.garbled(why))
    }

    /// On the connection that is there, or a new one when the server has closed it meanwhile.
    fn call(&mut self, params: &Value) -> Result<Value, OvsError> {
        if let Some(mut client) = self.client.take() {
            match client.call("transact", params) {
                Err(OvsError::Gone { .. }) => {}
                ended => return self.keep(client, ended),
            }
        }
        let mut client = Client::connect(&self.address)?;
        let ended = client.call("transact", params);
        self.keep(client, ended)
    }

    /// A connection is used again unless something is wrong with it.
    fn keep(&mut self, client: Client, ended: Result<Value, OvsError>) -> Result<Value, OvsError> {
        if matches!(ended, Ok(_) | Err(OvsError::Refused { .. })) {
            self.client = Some(client);
        }
        ended
    }

    /// The server is none of Open vSwitch's; what it serves helps to see which.
    fn no_database(&mut self) -> OvsError {
        let mut client = self.client.take();
        let answer = client.as_mut().and_then(|client| client.call("list_dbs", &json!([])).ok()).unwrap_or_default();
        let names: Vec<&str> = answer.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.wrong_schema(format!("it has {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") }))
    }

    pub(super) fn wrong_schema(&self, why: String) -> OvsError {
        OvsError::WrongSchema { address: self.address.to_string(), why }
    }

    fn garbled(&self, why: &str) -> OvsError {
        OvsError::Garbled { address: self.address.to_string(), why: why.to_owned() }
    }

    /// A random UUID (RFC 9562, version 4).
    fn fresh_uuid(&self) -> Result<String, OvsError> {
        let mut bytes = [0u8; 16];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| OvsError::Refused { error: "no random bytes".into(), details: errno.to_string() })?;
        let bits = u128::from_be_bytes(bytes) & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
        let hex = format!("{bits:032x}");
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
        Ok(parts.join("-"))
    }
}

/// Rows of the tables Port and Interface go when nothing refers to them any more.
fn remove_port(change: &mut Transaction, id: &str) {
    change.mutate("Bridge", &only("ports", "includes", &uuid(id)), "ports", "delete", id);
}

fn columns<const N: usize>(columns: [(&str, Value); N]) -> Map<String, Value> {
    columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The change is in the database, whatever becomes of the questions that follow it: their errors must not say otherwise.
fn after_commit(error: OvsError) -> OvsError {
    match error {
        OvsError::Gone { address, why } => OvsError::Lost { address, why },
        OvsError::Permission { address } => OvsError::Lost { address, why: "permission denied".into() },
        OvsError::WrongSchema { address, why } => OvsError::Garbled { address, why },
        error if error.outcome_unknown() => error,
        error => OvsError::Garbled { address: "the database server".into(), why: error.to_string() },
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
