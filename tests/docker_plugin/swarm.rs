//! Two engines as a swarm.
