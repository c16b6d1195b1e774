//! Transactions (RFC 7047, sections 4.1.3 and 5.2): what is to be done, and under which conditions.

use serde_json::{Map, Value, json};

use super::client::refused;
use super::rows::uuid;
use crate::model::ovs::OvsError;

/// Operations that are carried out together or not at all.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    ops: Vec<Value>,
    /// Conditions by the position of their operation, and what it means when they do not hold.
    expected: Vec<(usize, OvsError)>,
    /// Rows to be made by their position, under UUIDs that we chose.
    inserted: Vec<(usize, String)>,
}

/// What the operations answered.
#[derive(Debug)]
pub(super) struct Answers(Vec<Value>);

impl Answers {
    /// The rows of a select by its position.
    pub(super) fn rows(&self, position: usize) -> &[Value] {
        let rows = self.0.get(position).and_then(|answer| answer.get("rows")).and_then(Value::as_array);
        rows.map(Vec::as_slice).unwrap_or_default()
    }

    /// The UUID that an inserted row has.
    pub(super) fn inserted(&self, position: usize) -> Option<&str> {
        self.0.get(position)?.get("uuid")?.get(1)?.as_str()
    }
}

/// `[COLUMN, FUNCTION, VALUE]`, as the only condition.
pub(super) fn only(column: &str, function: &str, value: &Value) -> Value {
    json!([[column, function, value]])
}

impl Transaction {
    fn push(&mut self, op: Value) -> usize {
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// What the server is to write into its log.
    pub(super) fn comment(&mut self, text: &str) {
        self.push(json!({"op": "comment", "comment": format!("pipework: {text}")}));
    }

    /// Asks for rows; for all their columns when none is named.
    pub(super) fn select(&mut self, table: &str, conditions: &Value, columns: &[&str]) -> usize {
        let mut op = json!({"op": "select", "table": table, "where": conditions});
        if let (false, Some(members)) = (columns.is_empty(), op.as_object_mut()) {
            members.insert("columns".into(), json!(columns));
        }
        self.push(op)
    }

    /// Nothing is done unless the rows are just these.
    pub(super) fn expect(&mut self, table: &str, conditions: &Value, columns: &[&str], rows: &Value, otherwise: OvsError) {
        let op = json!({
            "op": "wait", "timeout": 0, "table": table, "where": conditions, "columns": columns, "until": "==", "rows": rows,
        });
        let position = self.push(op);
        self.expected.push((position, otherwise));
    }

    /// Makes a row under a UUID of our own choice, so that it can be taken back even when the answer is lost.
    pub(super) fn insert(&mut self, table: &str, id: &str, row: Map<String, Value>) {
        let position = self.push(json!({"op": "insert", "table": table, "uuid": id, "row": row}));
        self.inserted.push((position, id.to_owned()));
    }

    /// Gives rows other values.
    pub(super) fn update(&mut self, table: &str, conditions: &Value, row: Map<String, Value>) {
        self.push(json!({"op": "update", "table": table, "where": conditions, "row": row}));
    }

    /// Adds to or takes from a set of references.
    pub(super) fn mutate(&mut self, table: &str, conditions: &Value, column: &str, mutator: &str, id: &str) {
        self.push(json!({"op": "mutate", "table": table, "where": conditions, "mutations": [[column, mutator, uuid(id)]]}));
    }

    /// Asks ovs-vswitchd to take all this, and for the number by which it says that it has.
    pub(super) fn announce(&mut self) -> usize {
        self.push(json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}));
        self.select("Open_vSwitch", &json!([]), &["next_cfg"])
    }

    /// As parameters of `transact`.
    pub(super) fn params(&self, database: &str) -> Value {
        with_database(database, self.ops.clone())
    }

    /// The same for servers that choose UUIDs themselves (before Open vSwitch 2.13): references by name instead.
    pub(super) fn params_by_name(&self, database: &str) -> Value {
        let mut ops = self.ops.clone();
        for (position, id) in &self.inserted {
            let name = format!("row_{}", id.replace('-', "_"));
            ops.iter_mut().for_each(|op| rename(op, id, &name));
            if let Some(members) = ops.get_mut(*position).and_then(Value::as_object_mut) {
                members.remove("uuid");
                members.insert("uuid-name".into(), json!(name));
            }
        }
        with_database(database, ops)
    }

    /// Whether rows are to be made.
    pub(super) fn inserts(&self) -> bool {
        !self.inserted.is_empty()
    }

    /// The position of the operation that makes a row.
    pub(super) fn position_of(&self, id: &str) -> Option<usize> {
        self.inserted.iter().find(|(_, inserted)| inserted == id).map(|(position, _)| *position)
    }

    /// What the answer comes to: an error when any operation, or the whole, failed. `garbled` makes the error for an answer
    /// that is none.
    pub(super) fn outcome(&self, result: Value, garbled: impl FnOnce(&str) -> OvsError) -> Result<Answers, OvsError> {
        let Value::Array(answers) = result else { return Err(garbled("the result of a transaction is a list")) };
        for (position, answer) in answers.iter().enumerate() {
            let Some(error) = answer.get("error").filter(|error| !error.is_null()) else { continue };
            let condition = self.expected.iter().find(|(expected, _)| *expected == position);
            return Err(match condition {
                Some((_, meaning)) if error == "timed out" => meaning.clone(),
                _ => refused(answer),
            });
        }
        if answers.len() < self.ops.len() || answers.iter().take(self.ops.len()).any(|answer| !answer.is_object()) {
            return Err(garbled("it does not answer every operation"));
        }
        Ok(Answers(answers))
    }
}

fn with_database(database: &str, ops: Vec<Value>) -> Value {
    std::iter::once(json!(database)).chain(ops).collect()
}

/// Turns every `["uuid", id]` into `["named-uuid", name]`.
fn rename(value: &mut Value, id: &str, name: &str) {
    if *value == uuid(id) {
        *value = json!(["named-uuid", name]);
        return;
    }
    match value {
        Value::Array(all) => all.iter_mut().for_each(|value| rename(value, id, name)),
        Value::Object(all) => all.values_mut().for_each(|value| rename(value, id, name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nix::errno::Errno;

    fn garbled(why: &str) -> OvsError {
        OvsError::Garbled { address: "x".into(), why: why.into() }
    }

    fn changed() -> OvsError {
        OvsError::Changed { what: "x".into(), errno: Errno::EEXIST }
    }

    fn two_steps() -> Transaction {
        let mut all = Transaction::default();
        all.expect("Port", &json!([]), &["name"], &json!([]), changed());
        all.select("Port", &json!([]), &[]);
        all
    }

    #[test]
    fn a_condition_that_does_not_hold_means_what_it_was_said_to_mean() {
        let timed_out = json!({"error": "timed out", "details": "\"where\" clause test failed"});
        let outcome = |result: Value| two_steps().outcome(result, garbled).map(|answers| answers.rows(1).len());
        assert_eq!(outcome(json!([timed_out, null])), Err(changed()));
        assert!(matches!(outcome(json!([{}, timed_out])), Err(OvsError::Refused { .. })), "it is no condition");
        assert_eq!(outcome(json!([{}, {"rows": [{}]}])), Ok(1));
    }

    #[test]
    fn an_error_of_the_whole_stands_behind_the_operations() {
        let result = json!([{}, {"rows": []}, {"error": "constraint violation", "details": "two ports of one name"}]);
        let error = two_steps().outcome(result, garbled).unwrap_err();
        assert_eq!(error.to_string(), "the database refused: constraint violation: two ports of one name");
    }

    #[test]
    fn answers_that_are_none_are_told() {
        for result in [json!(null), json!({}), json!([]), json!([{}]), json!([{}, null]), json!([{}, 3]), json!("x")] {
            assert!(matches!(two_steps().outcome(result.clone(), garbled), Err(OvsError::Garbled { .. })), "{result}");
        }
    }

    #[test]
    fn rows_can_be_made_without_choosing_their_uuids() {
        let mut all = Transaction::default();
        all.insert("Port", "a-b", Map::new());
        all.mutate("Bridge", &only("name", "==", &json!("br")), "ports", "insert", "a-b");
        let params = all.params_by_name("Open_vSwitch");
        assert_eq!(params[1], json!({"op": "insert", "table": "Port", "uuid-name": "row_a_b", "row": {}}));
        assert_eq!(params[2]["mutations"], json!([["ports", "insert", ["named-uuid", "row_a_b"]]]));
    }
}
