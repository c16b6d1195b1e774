//! `pipework daemon`.

pub mod ask;
pub mod board;
pub mod notify;
pub mod serve;
