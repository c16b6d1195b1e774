//! cluster.toml: written, checked, read.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::Which;
use crate::cli::output::{complain, print_json, say_text};
use crate::model::cluster::{self, Cluster, DEFAULT_FILE, EXAMPLE, Host};

/// A larger file is no cluster's.
const LARGEST: u64 = 1 << 20;

/// The words of `cluster init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// Where to write it; there must be no such file [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The words of `cluster check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The file
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn init(args: &InitArgs) -> ExitCode {
    let Some(path) = &args.file else {
        say_text(EXAMPLE);
        return ExitCode::SUCCESS;
    };
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| file.write_all(EXAMPLE.as_bytes()));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("pipework: cluster init: {}: {error}", path.display()));
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                complain("pipework: hint: it is left as it is; name another file, or none to see the example");
            }
            ExitCode::FAILURE
        }
    }
}

pub(super) fn check(args: &CheckArgs) -> ExitCode {
    let read = read(&args.file);
    let advice = read.as_ref().map(Cluster::advice).unwrap_or_default();
    advice.iter().for_each(|advice| complain(&format!("pipework: warning: {advice}")));
    let wrong = read.err().unwrap_or_default();
    wrong.iter().for_each(|wrong| complain(&format!("pipework: cluster check: {wrong}")));
    if args.json {
        print_json(&serde_json::json!({"file": args.file, "ok": wrong.is_empty(), "wrong": wrong, "advice": advice}));
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The cluster of a file, or all that is wrong with it: `FILE:LINE: why`.
pub(super) fn read(path: &Path) -> Result<Cluster, Vec<String>> {
    let at = |text: String| vec![format!("{}: {text}", path.display())];
    if std::fs::metadata(path).is_ok_and(|found| found.len() > LARGEST) {
        return Err(at("it is too large for a cluster's file".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
    cluster::read(&text).map_err(|wrong| wrong.iter().map(|wrong| format!("{}:{wrong}", path.display())).collect())
}

/// The cluster, and this host in it. What is wrong is told.
pub(in crate::cli) fn place(verb: &str, which: &Which) -> Option<(Cluster, Host)> {
    let cluster = match read(&which.file) {
        Ok(cluster) => cluster,
        Err(wrong) => {
            wrong.iter().for_each(|wrong| complain(&format!("pipework: cluster {verb}: {wrong}")));
            if !which.file.exists() {
                complain("pipework: hint: `pipework cluster init` writes an example");
            }
            return None;
        }
    };
    let own = which.host.clone().unwrap_or_else(crate::frontend::node);
    let short = own.split('.').next().unwrap_or_default();
    match cluster.host(&own).or_else(|| cluster.host(short)).cloned() {
        Some(host) => Some((cluster, host)),
        None => {
            let names: Vec<&str> = cluster.hosts.iter().map(|host| host.name.as_str()).collect();
            complain(&format!("pipework: cluster {verb}: {own} is no host of {}", which.file.display()));
            complain(&format!("pipework: hint: say which this is: --host {}", names.join(" or --host ")));
            None
        }
    }
}
