//! Docker's remote network driver and its IPAM: what the engine asks, what it is answered, and what that means as a request of
//! ours. Pure: JSON of a stranger's comes in, plain data or a sentence goes out.
//!
//! ```text
//! CreateNetwork   -o words              -> Network       kept for as long as the engine has it
//! RequestPool     --ipam-opt words      -> PoolId        says by itself where its addresses come from
//! CreateEndpoint  address, MAC address  -> Endpoint
//! Join            Network, Endpoint     -> AttachRequest, JoinAnswer
//! ```

mod answer;
mod call;
mod endpoint;
mod ipam;
mod network;
mod options;

pub use answer::{Answer, InterfaceName, JoinAnswer, Route};
pub use call::{Call, CallError, EndpointIds, Id, MOST_BYTES, NewEndpoint, NewNetwork, Subnet};
pub use endpoint::{Endpoint, LinkState};
pub use ipam::{AddressCall, Grant, Lent, NewPool, PoolId, Purpose, Source, SpaceNames, source};
pub use network::Network;
pub use options::{Gateway, NetworkOptions, OptionError};
