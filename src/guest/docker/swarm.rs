//! The engine's own Swarm mode: this host's part in it, and, on a manager, all nodes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bollard::Docker;
use bollard::models::{
    LocalNodeState, Node, NodeSpec, NodeSpecAvailabilityEnum, NodeSpecRoleEnum, SwarmInfo, SwarmInitRequest, SwarmJoinRequest,
};
use bollard::query_parameters::{
    DeleteNodeOptionsBuilder, LeaveSwarmOptionsBuilder, ListNodesOptions, UpdateNodeOptionsBuilder, UpdateSwarmOptionsBuilder,
};

use super::{block_on, connect, plain};
use crate::guest::GuestError;
use crate::guest::endpoint::{Endpoint, Environment};

/// This host's engine, as a part of a swarm.
pub struct SwarmEngine {
    endpoint: Endpoint,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it belongs to a swarm that it reaches.
    pub is_active: bool,
    /// What the engine calls it: inactive, pending, active, error, locked.
    pub state: String,
    /// Its number in the swarm.
    pub node: Option<String>,
    /// The swarm's own number; managers know it.
    pub swarm: Option<String>,
    /// Whether it manages.
    pub is_manager: bool,
    /// What is wrong.
    pub error: Option<String>,
    /// The engine's version.
    pub version: String,
}

/// A node of the swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmNode {
    /// Its number.
    pub id: String,
    /// Its host's name.
    pub name: String,
    /// `ready`, `down`, ...
    pub state: String,
    /// `active`, `pause`, `drain`
    pub availability: String,
    /// Whether it manages.
    pub is_manager: bool,
    /// Whether it leads the managers.
    pub is_leader: bool,
    /// Its address, as the managers see it.
    pub address: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What lets others join. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinTokens {
    /// As a manager.
    pub manager: String,
    /// As a worker.
    pub worker: String,
}

impl fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

impl SwarmEngine {
    /// The Docker engine that this program uses.
    ///
    /// # Errors
    /// When its address is none.
    pub fn usual() -> Result<Self, GuestError> {
        Ok(Self { endpoint: Environment::current().docker()? })
    }

    fn ask<T>(&self, what: &str, work: impl AsyncFnOnce(Docker) -> Result<T, bollard::errors::Error>) -> Result<T, GuestError> {
        let engine = |why: String| GuestError::Engine { engine: format!("docker at {}", self.endpoint.address), why };
        let client = connect(&self.endpoint).map_err(engine)?;
        block_on(work(client))?.map_err(|error| engine(format!("{what}: {}", plain(&error))))
    }

    /// How this engine stands.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn standing(&self) -> Result<Standing, GuestError> {
        let info = self.ask("info", async |client| client.info().await)?;
        let swarm: SwarmInfo = info.swarm.unwrap_or_default();
        let state = swarm.local_node_state.unwrap_or(LocalNodeState::EMPTY);
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Standing {
            is_active: state == LocalNodeState::ACTIVE,
            state: some(Some(state.to_string())).unwrap_or_else(|| "inactive".into()),
            node: some(swarm.node_id),
            swarm: some(swarm.cluster.and_then(|cluster| cluster.id)),
            is_manager: swarm.control_available.unwrap_or_default(),
            error: some(swarm.error),
            version: info.server_version.unwrap_or_default(),
        })
    }

    /// Begins a swarm, with this engine as its first manager.
    ///
    /// # Errors
    /// When it refuses: it is in a swarm already, for example.
    pub fn init(&self, listen: &str, advertise: &str, data_path_port: Option<u16>) -> Result<(), GuestError> {
        let request = SwarmInitRequest {
            listen_addr: Some(listen.to_owned()),
            advertise_addr: Some(advertise.to_owned()),
            data_path_port: data_path_port.map(u32::from),
            ..Default::default()
        };
        self.ask("swarm init", async |client| client.init_swarm(request).await).map(drop)
    }

    /// Joins the swarm of other managers.
    ///
    /// # Errors
    /// When it refuses, or they do.
    pub fn join(&self, listen: &str, advertise: &str, managers: &[String], token: &str) -> Result<(), GuestError> {
        let request = SwarmJoinRequest {
            listen_addr: Some(listen.to_owned()),
            advertise_addr: Some(advertise.to_owned()),
            remote_addrs: Some(managers.to_vec()),
            join_token: Some(token.to_owned()),
            ..Default::default()
        };
        self.ask("swarm join", async |client| client.join_swarm(request).await)
    }

    /// Leaves the swarm.
    ///
    /// # Errors
    /// When it refuses: a manager, unless forced.
    pub fn leave(&self, force: bool) -> Result<(), GuestError> {
        let options = LeaveSwarmOptionsBuilder::default().force(force).build();
        self.ask("swarm leave", async |client| client.leave_swarm(Some(options)).await)
    }

    /// What lets others join. Managers know it.
    ///
    /// # Errors
    /// When it refuses.
    pub fn tokens(&self) -> Result<JoinTokens, GuestError> {
        let swarm = self.ask("swarm", async |client| client.inspect_swarm().await)?;
        let tokens = swarm.join_tokens.unwrap_or_default();
        Ok(JoinTokens { manager: tokens.manager.unwrap_or_default(), worker: tokens.worker.unwrap_or_default() })
    }

    /// Makes new tokens: the old ones let nobody join any more.
    ///
    /// # Errors
    /// When it refuses.
    pub fn rotate_tokens(&self) -> Result<(), GuestError> {
        self.ask("swarm update", async |client| {
            let swarm = client.inspect_swarm().await?;
            let version = swarm.version.and_then(|version| version.index).unwrap_or_default();
            let options = UpdateSwarmOptionsBuilder::default()
                .version(i64::try_from(version).unwrap_or_default())
                .rotate_worker_token(true)
                .rotate_manager_token(true)
                .build();
            client.update_swarm(swarm.spec.unwrap_or_default(), options).await
        })
    }

    /// All nodes. Managers know them.
    ///
    /// # Errors
    /// When it refuses.
    pub fn nodes(&self) -> Result<Vec<SwarmNode>, GuestError> {
        let nodes = self.ask("nodes", async |client| client.list_nodes(None::<ListNodesOptions>).await)?;
        Ok(nodes.into_iter().map(SwarmNode::from).collect())
    }

    /// Gives a node labels; those that it has besides stay.
    ///
    /// # Errors
    /// When it refuses.
    pub fn label(&self, node: &str, labels: &BTreeMap<String, String>) -> Result<(), GuestError> {
        self.change(node, |spec| {
            let all = spec.labels.get_or_insert_with(HashMap::new);
            all.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        })
    }

    /// Says whether a node is given tasks: those that it has go elsewhere when it is not.
    ///
    /// # Errors
    /// When it refuses.
    pub fn drain(&self, node: &str, drained: bool) -> Result<(), GuestError> {
        let word = if drained { NodeSpecAvailabilityEnum::DRAIN } else { NodeSpecAvailabilityEnum::ACTIVE };
        self.change(node, |spec| spec.availability = Some(word))
    }

    /// Makes a manager a worker: it can leave then without taking the others' majority along.
    ///
    /// # Errors
    /// When it refuses.
    pub fn demote(&self, node: &str) -> Result<(), GuestError> {
        self.change(node, |spec| spec.role = Some(NodeSpecRoleEnum::WORKER))
    }

    /// Makes a worker a manager, or keeps one from being made a worker.
    ///
    /// # Errors
    /// When it refuses.
    pub fn promote(&self, node: &str) -> Result<(), GuestError> {
        self.change(node, |spec| spec.role = Some(NodeSpecRoleEnum::MANAGER))
    }

    /// Forgets a node that has left.
    ///
    /// # Errors
    /// When it refuses.
    pub fn forget(&self, node: &str) -> Result<(), GuestError> {
        let options = DeleteNodeOptionsBuilder::default().force(true).build();
        self.ask("node rm", async |client| client.delete_node(node, Some(options)).await)
    }

    fn change(&self, node: &str, change: impl Fn(&mut NodeSpec)) -> Result<(), GuestError> {
        self.ask("node update", async |client| {
            let is = client.inspect_node(node).await?;
            let mut spec = is.spec.unwrap_or_default();
            change(&mut spec);
            let version = is.version.and_then(|version| version.index).unwrap_or_default();
            let options = UpdateNodeOptionsBuilder::default().version(i64::try_from(version).unwrap_or_default()).build();
            client.update_node(node, spec, options).await
        })
    }
}

impl From<Node> for SwarmNode {
    fn from(node: Node) -> Self {
        let (spec, status) = (node.spec.unwrap_or_default(), node.status.unwrap_or_default());
        let manager = node.manager_status;
        let address = manager.as_ref().and_then(|manager| manager.addr.clone()).or(status.addr).unwrap_or_default();
        Self {
            id: node.id.unwrap_or_default(),
            name: node.description.and_then(|description| description.hostname).unwrap_or_default(),
            state: status.state.map(|state| state.to_string()).unwrap_or_default(),
            availability: spec.availability.map(|word| word.to_string()).unwrap_or_default(),
            is_manager: spec.role == Some(NodeSpecRoleEnum::MANAGER),
            is_leader: manager.and_then(|manager| manager.leader).unwrap_or_default(),
            address,
            labels: spec.labels.unwrap_or_default().into_iter().collect(),
        }
    }
}
