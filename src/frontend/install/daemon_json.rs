//! Docker's daemon.json with one runtime more, or less. Everything else in it stays as it is written, in its order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

const RUNTIMES: &str = "runtimes";
const DEFAULT: &str = "default-runtime";
/// What the runtime is called.
const NAME: &str = "pipework";
const INDENT: &str = "    ";

/// An object whose values are left as text.
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut entries: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if entries.iter().any(|(other, _)| *other == key) {
                        return Err(serde::de::Error::custom(format!("{key:?} is in it twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Object {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("{error}: mend that first, nothing was changed");
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        // All of it, also what is left as it is.
        serde_json::from_str::<Value>(text).map_err(wrong)?;
        serde_json::from_str(text).map_err(wrong)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.get())
    }

    fn set(&mut self, key: &str, text: String) -> Result<(), String> {
        let value = RawValue::from_string(text).map_err(|error| error.to_string())?;
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| name != key);
    }

    /// With that many steps of indentation around it.
    fn print(&self, depth: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let around = INDENT.repeat(depth);
        let line = |(key, value): &(String, Box<RawValue>)| format!("{around}{INDENT}{}: {}", Value::from(key.as_str()), value.get());
        let lines: Vec<String> = self.0.iter().map(line).collect();
        format!("{{\n{}\n{around}}}", lines.join(",\n"))
    }
}

/// The text with the runtime in it; `None` when it is there as it should be.
pub(super) fn with_runtime(text: &str, entry: &Value) -> Result<Option<String>, String> {
    let mut file = Object::parse(text)?;
    let mut runtimes = Object::parse(file.get(RUNTIMES).unwrap_or_default()).map_err(|why| format!("{RUNTIMES}: {why}"))?;
    let is_same = |old: &str| serde_json::from_str::<Value>(old).is_ok_and(|old| old == *entry);
    if runtimes.get(NAME).is_some_and(is_same) {
        return Ok(None);
    }
    runtimes.set(NAME, entry.to_string())?;
    file.set(RUNTIMES, runtimes.print(1))?;
    Ok(Some(format!("{}\n", file.print(0))))
}

/// The text without it; `None` when it is not there.
pub(super) fn without_runtime(text: &str) -> Result<Option<String>, String> {
    let mut file = Object::parse(text)?;
    let mut runtimes = Object::parse(file.get(RUNTIMES).unwrap_or_default()).map_err(|why| format!("{RUNTIMES}: {why}"))?;
    if runtimes.get(NAME).is_none() {
        return Ok(None);
    }
    let default = file.get(DEFAULT).and_then(|text| serde_json::from_str::<String>(text).ok());
    if default.as_deref() == Some(NAME) {
        return Err(format!("{DEFAULT} is {NAME}: name another first, or no container starts any more"));
    }
    runtimes.remove(NAME);
    match runtimes.0.is_empty() {
        true => file.remove(RUNTIMES),
        false => file.set(RUNTIMES, runtimes.print(1))?,
    }
    Ok(Some(format!("{}\n", file.print(0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_else_is_in_it_keeps_its_order_and_its_words() {
        let old = r#"{
    "log-opts": { "max-size":   "10m" },
    "big": 12345678901234567890123,
    "runtimes": { "z": {"path": "/z"}, "a": {"path": "/a"} },
    "debug": true
}"#;
        let new = with_runtime(old, &json!({ "path": "/p" })).unwrap().unwrap();
        let wanted = r#"{
    "log-opts": { "max-size":   "10m" },
    "big": 12345678901234567890123,
    "runtimes": {
        "z": {"path": "/z"},
        "a": {"path": "/a"},
        "pipework": {"path":"/p"}
    },
    "debug": true
}
"#;
        assert_eq!(new, wanted);
        assert_eq!(with_runtime(&new, &json!({ "path": "/p" })).unwrap(), None);
        let changed = with_runtime(&new, &json!({ "path": "/q" })).unwrap().unwrap();
        assert!(changed.contains(r#""pipework": {"path":"/q"}"#));
        let without = without_runtime(&new).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&without).unwrap(), serde_json::from_str::<Value>(old).unwrap());
        assert_eq!(without_runtime(&without).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_empty_or_not_there_begins_with_the_runtime() {
        let wanted = "{\n    \"runtimes\": {\n        \"pipework\": {\"path\":\"/p\"}\n    }\n}\n";
        for old in ["", " \n", "{}"] {
            assert_eq!(with_runtime(old, &json!({ "path": "/p" })).unwrap().unwrap(), wanted);
        }
        assert_eq!(without_runtime(wanted).unwrap().unwrap(), "{}\n");
    }

    #[test]
    fn a_broken_file_is_refused() {
        for old in ["{", "[]", "7", r#"{"a":1,"a":2}"#, r#"{"runtimes":[]}"#, r#"{"a":1} x"#, r#"{"a":{"b":}}"#] {
            assert!(with_runtime(old, &json!({})).is_err(), "{old}");
            assert!(without_runtime(old).is_err(), "{old}");
        }
        let default = r#"{"default-runtime":"pipework","runtimes":{"pipework":{"path":"/p"}}}"#;
        assert!(without_runtime(default).unwrap_err().contains("default-runtime"));
    }
}
