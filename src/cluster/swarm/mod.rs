//! Swarm's two generations, as far as the cluster layer speaks with them itself.

pub mod classic;
