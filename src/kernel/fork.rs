//! The crate's only unsafe call: fork(2), which neither std nor nix can offer safely, because a child of a process with
//! several threads may find a lock taken by a thread that it does not have. So it is made with one thread only.
//!
//! Why fork at all: closing an AF_PACKET socket waits for an RCU grace period (about 16 ms, synchronize_net in
//! net/packet/af_packet.c), and so does leaving it to the end of the process. Twenty attaches fit into that time. And a
//! port of a bridge with STP forwards only after half a minute, an IPv6 address is usable after a second or two:
//! nobody should wait for either. A thread cannot outlive its process.
#![allow(unsafe_code)]

use std::time::Duration;

use nix::unistd::{ForkResult, Pid, close, dup2_stderr, dup2_stdin, dup2_stdout, fork};

/// How long a thread that has been joined may need to be gone, in milliseconds.
const LEAVING_MS: u32 = 50;

/// Runs `work` in a child process with no standard input and output and no open file but those in `keep`. `false`: it could
/// not be done, and nothing was.
pub(super) fn detached(keep: &[i32], work: impl FnOnce()) -> bool {
    child(keep, work).is_some()
}

/// As [`detached`], and tells the child's number, which is its own until it is waited for.
pub(crate) fn child(keep: &[i32], work: impl FnOnce()) -> Option<Pid> {
    if !is_alone() {
        return None;
    }
    let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") else { return None };
    // SAFETY: this process has one thread (just counted, and only this one could start another), so the child has
    // all that the parent had and no lock is held by a thread that is gone.
    match unsafe { fork() } {
        Err(_) => None,
        Ok(ForkResult::Parent { child }) => Some(child),
        Ok(ForkResult::Child) => {
            let _ = (dup2_stdin(&null), dup2_stdout(&null), dup2_stderr(&null));
            close_all_but(keep);
            // Nothing is to be kept from being unmounted.
            let _ = nix::unistd::chdir("/");
            work();
            std::process::exit(0)
        }
    }
}

/// Whether this is the process's only thread. One that has been joined may still be listed for a moment: the kernel wakes
/// whoever joins it before it takes it off the list (do_exit in kernel/exit.c).
fn is_alone() -> bool {
    let alone = || std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    for _ in 0..LEAVING_MS {
        if alone() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    alone()
}

/// Files of the caller, such as a lock or a pipe, must not stay open for longer than the command runs.
fn close_all_but(keep: &[i32]) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && !keep.contains(fd)) {
        let _ = close(fd);
    }
}
