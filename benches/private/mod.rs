//! Runs a benchmark again in namespaces of its own.

/// Runs this program once more by `unshare OPTIONS`, after the shell lines of `setup`, and ends as it does. Returns in there.
pub fn again_in(options: &[&str], setup: &str) {
    const INSIDE: &str = "PIPEWORK_BENCH_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("unshare");
    // The shell stays: the first process of a PID namespace would not heed Ctrl-C.
    command.args(options).args(["--", "sh", "-ec", &format!("{setup}\n\"$0\" \"$@\" || exit $?\nexit 0")]).arg(program);
    let status = command.args(std::env::args_os().skip(1)).env(INSIDE, "1").status().unwrap();
    std::process::exit(status.code().unwrap_or(1));
}
