//! The process beside a program that stays, where there is no systemd. Its lock on the pid file says that it is there, so a
//! number that became another's is never believed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Resident, ResidentError, VERSION, file_error};
use crate::kernel::fork;
use crate::kernel::signal::{Signals, let_all_through};

/// A program that ends at once is not started again at once.
const PAUSES: [Duration; 4] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];
/// One that has run for so long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(60);
/// So long after SIGTERM it gets SIGKILL.
const TERM_PATIENCE: Duration = Duration::from_secs(10);

/// So long a supervisor may take to begin.
const BEGINNING: Duration = Duration::from_secs(5);
/// So often the lock is asked for.
const LOCKING: u32 = 40;

/// Who has the lock on a pid file.
enum Holder {
    Nobody,
    /// A supervisor that has not yet written down what it is.
    Beginning,
    /// A supervisor, and its program.
    There(Pid, Option<Pid>),
}

fn holder(resident: &Resident) -> Holder {
    let Ok(file) = File::open(resident.file("pid")) else { return Holder::Nobody };
    let file = match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => return Holder::Nobody,
        Err((file, _)) => file,
    };
    let mut text = String::new();
    let _ = file.take(64).read_to_string(&mut text);
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok().map(Pid::from_raw));
    numbers.next().map_or(Holder::Beginning, |supervisor| Holder::There(supervisor, numbers.next()))
}

pub(super) fn program_pid(resident: &Resident) -> Option<i32> {
    match holder(resident) {
        Holder::There(_, program) => program.map(Pid::as_raw),
        Holder::Nobody | Holder::Beginning => None,
    }
}

pub(super) fn is_there(resident: &Resident) -> bool {
    !matches!(holder(resident), Holder::Nobody)
}

pub(super) fn is_gone(resident: &Resident) -> bool {
    !is_there(resident) && !resident.file("pid").exists()
}

/// Asks it to end. `false`: there is nobody.
pub(super) fn ask_to_end(resident: &Resident) -> bool {
    match holder(resident) {
        Holder::Nobody => false,
        Holder::Beginning => true,
        Holder::There(supervisor, _) => kill(supervisor, Signal::SIGTERM).is_ok(),
    }
}

/// The pid file goes, unless somebody has it again.
pub(super) fn tidy(resident: &Resident) {
    let path = resident.file("pid");
    let lock = File::open(&path).ok().and_then(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).ok());
    if lock.is_some_and(|lock| is_still_at(&lock, &path)) {
        let _ = std::fs::remove_file(path);
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (now.dev(), now.ino())))
}

pub(super) fn start(resident: &Resident) -> Result<(), ResidentError> {
    std::fs::create_dir_all(&resident.dir).map_err(file_error(&resident.dir))?;
    let path = resident.file("pid");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&path);
    let file = options.map_err(file_error(&path))?;
    let log = resident.file("log");
    let out = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(file_error(&log))?;
    let keep = [file.as_raw_fd(), out.as_raw_fd()];
    let whole = resident.clone();
    // The child takes the lock: this process would give it up for both, because they share the open file (flock(2)).
    let child = fork::child(&keep, || locked(file, &path).into_iter().for_each(|lock| supervise(&whole, lock, &out)));
    let child = child.ok_or_else(|| ResidentError::NoProcess(resident.name.clone()))?;
    // Until it has the lock, whoever looks would start another.
    let deadline = Instant::now() + BEGINNING;
    while !is_there(resident)
        && Instant::now() < deadline
        && !matches!(waitpid(child, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::Exited(..)))
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The lock on the pid file; `None` when another supervisor has it, or the file is gone: then another one is just being started.
/// Whoever only looks has the lock for a moment.
fn locked(mut file: File, path: &Path) -> Option<Flock<File>> {
    for _ in 0..LOCKING {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return is_still_at(&lock, path).then_some(lock),
            Err((back, _)) => file = back,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Until it is asked to end.
fn supervise(resident: &Resident, mut lock: Flock<File>, out: &File) {
    // Signals of the terminal are not for it.
    let _ = nix::unistd::setsid();
    let Ok(mut signals) = Signals::hold_with_children() else { return };
    let _ = note(&mut lock, None);
    let mut failures = 0;
    while signals.pending().is_none() {
        let began = Instant::now();
        if let Some(program) = spawn(resident, out) {
            let _ = note(&mut lock, Some(program));
            let mut is_over = has_ended(program);
            while !is_over && signals.pending().is_none() {
                await_signal(&signals, PollTimeout::NONE);
                is_over = has_ended(program);
            }
            if !is_over {
                end(program);
            }
        }
        let _ = note(&mut lock, None);
        failures = if began.elapsed() > STEADY { 0 } else { failures + 1 };
        pause(&mut signals, PAUSES[failures.min(PAUSES.len() - 1)]);
    }
}

/// By a process of its own that lets signals through before it becomes the program: a program begins with those held back that its
/// parent holds back (signal(7)). This one never lets them through, not even in a thread: it would end, and leave the program alone.
fn spawn(resident: &Resident, out: &File) -> Option<Pid> {
    let mut command = Command::new(&resident.program);
    command.args(&resident.args).env(VERSION, &resident.version).stdin(Stdio::null()).current_dir("/");
    command.stdout(out.try_clone().ok()?).stderr(out.try_clone().ok()?);
    let mut words = out.try_clone().ok()?;
    let keep: Vec<i32> = std::fs::read_dir("/proc/self/fd").ok()?.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok()).collect();
    // What is not for the program is closed when it begins (O_CLOEXEC).
    fork::child(&keep, || {
        let_all_through();
        let why = command.exec();
        let _ = writeln!(words, "pipework: {}: {why}", resident.program.display());
    })
}

fn has_ended(program: Pid) -> bool {
    !matches!(waitpid(program, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
}

fn await_signal(signals: &Signals, timeout: PollTimeout) {
    let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
}

fn pause(signals: &mut Signals, time: Duration) {
    let deadline = Instant::now() + time;
    while signals.pending().is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        await_signal(signals, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
    }
}

/// Asks it to end, and sees to it.
fn end(program: Pid) {
    let _ = kill(program, Signal::SIGTERM);
    let deadline = Instant::now() + TERM_PATIENCE;
    while !has_ended(program) {
        if Instant::now() > deadline {
            let _ = kill(program, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn note(lock: &mut Flock<File>, program: Option<Pid>) -> std::io::Result<()> {
    let numbers = format!("{}{}", std::process::id(), program.map(|pid| format!(" {pid}")).unwrap_or_default());
    lock.seek(SeekFrom::Start(0))?;
    // Always as long, in one go: whoever reads meanwhile finds either what was or what is.
    lock.write_all(format!("{numbers:31}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::UnitWords;
    use super::*;

    #[test]
    fn one_whose_supervisor_waits_with_its_next_start_is_not_gone_and_neither_is_a_pid_file_that_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let resident = Resident {
            name: "waits".into(),
            description: "Waits".into(),
            program: "/bin/false".into(),
            args: Vec::new(),
            version: "abc".into(),
            dir: dir.path().to_owned(),
            unit: UnitWords::default(),
        };
        assert!(is_gone(&resident));
        let file = OpenOptions::new().write(true).create_new(true).open(resident.file("pid")).unwrap();
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error).unwrap();
        note(&mut lock, None).unwrap();
        assert!(program_pid(&resident).is_none() && !is_gone(&resident));
        drop(lock);
        assert!(!is_gone(&resident));
        tidy(&resident);
        assert!(is_gone(&resident));
    }
}
