//! `pipework daemon`.

pub mod board;
