//! Wi-Fi and InfiniBand, on a machine with an emulated radio and a port that passes for InfiniBand:
//!
//! `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=scripts/qemu-run cargo test --test hardware -- --test-threads=1`
//!
//! Such hardware appears in the first network namespace, and comes back there when a guest dies: the host of these tests is the
//! machine itself. They run only where scripts/qemu-run says that it is theirs alone.
#![allow(clippy::unwrap_used)]

#[path = "hardware/ipoib.rs"]
mod ipoib;
mod lab;
#[path = "hardware/original.rs"]
mod original;
#[path = "hardware/wifi.rs"]
mod wifi;

use std::process::Command;
use std::time::{Duration, Instant};

use lab::{no_root, skip};

/// Whether the test has to be skipped, since this machine is not its own.
#[must_use]
fn not_ours() -> bool {
    let ours = std::env::var("PIPEWORK_TEST_VM").as_deref() == Ok("1");
    no_root() || (!ours && skip("needs a machine of its own: scripts/qemu-run gives one"))
}

/// Waits until something is so. Everything takes its time in an emulated machine.
fn in_time(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a shell line on the machine, which has to succeed, and returns what it printed.
fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
