//! `pipework batch`: many lines in one run, all checked before any is done.
#![allow(clippy::unwrap_used)]

#[path = "batch/end.rs"]
mod end;
#[path = "batch/faults.rs"]
mod faults;
mod lab;
#[path = "batch/order.rs"]
mod order;
