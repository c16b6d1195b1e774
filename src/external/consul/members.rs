//! Who belongs to the cluster: the local agent's view (`/v1/agent`), the catalogue, Raft, and the access control lists.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Consul, ConsulError, Secret, Verb};

/// A dead host is told after three seconds (`no route to host`), a silent one later.
const JOINING: Duration = Duration::from_secs(15);

/// A server takes its time to leave; with no others left that would let it go, it ends all the same.
const LEAVING: Duration = Duration::from_secs(6);

/// A member, as the local agent's gossip has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: String,
    /// Serf's number of its state.
    pub status: u8,
    /// What it says of itself.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Member {
    /// Whether it is there.
    pub fn is_alive(&self) -> bool {
        self.status == 1
    }

    /// Its state, as `consul members` calls it.
    pub fn state(&self) -> &'static str {
        match self.status {
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "none",
        }
    }

    /// Whether it keeps data.
    pub fn is_server(&self) -> bool {
        self.tags.get("role").is_some_and(|role| role == "consul")
    }
}

/// A node of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogNode {
    /// Its name.
    pub node: String,
    /// Its address.
    pub address: String,
}

/// A server, as Raft knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftServer {
    /// Its name.
    pub node: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it counts: autopilot lets a new one vote when it has been stable for 10 s.
    pub voter: bool,
}

/// What the local agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSelf {
    /// Its name.
    pub node: String,
    /// Its datacentre.
    pub datacenter: String,
    /// Whether it keeps data.
    pub is_server: bool,
    /// Its version.
    pub version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raft {
    servers: Vec<RaftServer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "AccessorID", default)]
    accessor_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Token {
    #[serde(rename = "SecretID")]
    secret_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewPolicy<'a> {
    name: &'a str,
    description: &'a str,
    rules: &'a str,
}

impl Consul {
    /// The leader's address; `None` while there is none. Needs no token, so it tells whether an agent answers at all.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn leader(&self) -> Result<Option<String>, ConsulError> {
        Ok(self.get::<String>("status/leader", &[])?.filter(|leader| !leader.is_empty()))
    }

    /// What the local agent is. Needs `agent:read`.
    ///
    /// # Errors
    /// When it refuses.
    pub fn agent_self(&self) -> Result<AgentSelf, ConsulError> {
        let answer: Value = self.get("agent/self", &[])?.unwrap_or_default();
        let text = |key: &str| answer.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(AgentSelf {
            node: text("/Config/NodeName"),
            datacenter: text("/Config/Datacenter"),
            is_server: answer.pointer("/Config/Server").and_then(Value::as_bool).unwrap_or_default(),
            version: text("/Config/Version"),
        })
    }

    /// All members. With a token that may not see them the list is empty or lacks some, and is no error: whoever asks looks for
    /// the agent's own name in it.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn members(&self) -> Result<Vec<Member>, ConsulError> {
        Ok(self.get::<Option<Vec<Member>>>("agent/members", &[])?.flatten().unwrap_or_default())
    }

    /// Has the local agent join another.
    ///
    /// # Errors
    /// When that one does not answer, or speaks with another key.
    pub fn join(&self, address: &str) -> Result<(), ConsulError> {
        let path = format!("agent/join/{address}");
        self.ask(Verb::Put, &path, &[], b"", JOINING)?.good(Verb::Put, &path).map(drop)
    }

    /// Has the local agent leave and end.
    ///
    /// # Errors
    /// When it refuses.
    pub fn leave(&self) -> Result<(), ConsulError> {
        self.ask(Verb::Put, "agent/leave", &[], b"", LEAVING)?.good(Verb::Put, "agent/leave").map(drop)
    }

    /// All nodes of the catalogue; see [`Self::members`] for an empty list.
    ///
    /// # Errors
    /// When there is no leader.
    pub fn catalog_nodes(&self) -> Result<Vec<CatalogNode>, ConsulError> {
        Ok(self.get::<Option<Vec<CatalogNode>>>("catalog/nodes", &[])?.flatten().unwrap_or_default())
    }

    /// The servers. Needs `operator:read`.
    ///
    /// # Errors
    /// When there is no leader, or it refuses.
    pub fn raft_servers(&self) -> Result<Vec<RaftServer>, ConsulError> {
        Ok(self.get::<Raft>("operator/raft/configuration", &[])?.map(|raft| raft.servers).unwrap_or_default())
    }

    /// Says that the local agent's host is, or is no more, under maintenance.
    ///
    /// # Errors
    /// When it refuses.
    pub fn maintenance(&self, on: bool, reason: &str) -> Result<(), ConsulError> {
        self.poke("agent/maintenance", &[("enable", if on { "true" } else { "false" }), ("reason", reason)])
    }

    /// Whether the local agent's host is under maintenance.
    ///
    /// # Errors
    /// When it refuses.
    pub fn is_in_maintenance(&self) -> Result<bool, ConsulError> {
        let checks: Value = self.get("agent/checks", &[])?.unwrap_or_default();
        Ok(checks.get("_node_maintenance").is_some())
    }

    /// Makes a policy so; one of that name is changed. Needs `acl:write`.
    ///
    /// # Errors
    /// When it refuses.
    pub fn acl_policy(&self, name: &str, description: &str, rules: &str) -> Result<(), ConsulError> {
        let known = self.get::<Vec<Listed>>("acl/policies", &[])?.unwrap_or_default();
        let path = known.iter().find(|policy| policy.name == name).map_or("acl/policy".to_owned(), |old| format!("acl/policy/{}", old.id));
        self.tell(&path, &[], &NewPolicy { name, description, rules })
    }

    /// The token of that description, which has that policy; it is made when there is none. Needs `acl:write`.
    ///
    /// # Errors
    /// When it refuses.
    pub fn acl_token(&self, description: &str, policy: &str, node: Option<(&str, &str)>) -> Result<Secret, ConsulError> {
        let known = self.get::<Vec<Listed>>("acl/tokens", &[])?.unwrap_or_default();
        let token: Option<Token> = match known.iter().find(|token| token.description == description) {
            Some(old) => self.get(&format!("acl/token/{}", old.accessor_id), &[])?,
            None => None,
        };
        let token = match token {
            Some(token) => token,
            None => {
                let identities: Vec<Value> =
                    node.iter().map(|(node, datacenter)| json!({"NodeName": node, "Datacenter": datacenter})).collect();
                let new = json!({"Description": description, "Policies": [{"Name": policy}], "NodeIdentities": identities});
                self.put("acl/token", &[], &new)?
            }
        };
        Secret::new(&token.secret_id)
    }

    /// Removes the token of that description.
    ///
    /// # Errors
    /// When it refuses.
    pub fn acl_token_remove(&self, description: &str) -> Result<(), ConsulError> {
        let known = self.get::<Vec<Listed>>("acl/tokens", &[])?.unwrap_or_default();
        for old in known.iter().filter(|token| token.description == description) {
            let path = format!("acl/token/{}", old.accessor_id);
            self.ask(Verb::Delete, &path, &[], b"", JOINING)?.good(Verb::Delete, &path)?;
        }
        Ok(())
    }

    /// Gives the local agent the token by which it registers itself.
    ///
    /// # Errors
    /// When it refuses.
    pub fn agent_token(&self, token: &Secret) -> Result<(), ConsulError> {
        self.tell("agent/token/agent", &[], &json!({"Token": token.reveal()}))
    }
}
