//! The command line itself: help, version, documents, usage. Needs neither root nor a network.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pipework")).args(words).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn help_shows_both_forms_with_examples_and_the_exit_status() {
    for words in [&["--help"][..], &["-h"], &["help"]] {
        let (code, out, err) = run(words);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        for part in
            ["<HOSTIF> [-i GUESTIF] [-l LOCALIF]", "--wait", "<COMMAND>", "attach", "--direct-phys", "Examples:", "U:web1", "Exit status:"]
        {
            assert!(out.contains(part), "{part:?} is not in {out}");
        }
    }
    let (code, out, _) = run(&["attach", "--help"]);
    assert!(code == Some(0) && out.contains("--dry-run"), "{out}");
    assert_eq!(run(&["--version"]).1, format!("pipework {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_is_short_or_wrong_shows_the_usage_and_has_the_originals_status() {
    for words in [&[][..], &["br0"], &["br0", "web"], &["br0", "web", "0/0", "", "too", "many"], &["--no-such-option", "br0", "web", "0/0"]]
    {
        let (code, out, err) = run(words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}");
        assert!(err.contains("Usage: pipework"), "{words:?}: {err}");
    }
}

#[test]
fn completions_and_manual_pages_come_from_the_same_definition() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = run(&["completions", shell]);
        assert!(code == Some(0) && out.contains("direct-phys"), "{shell}");
    }
    assert!(run(&["man"]).1.contains(".TH pipework 1"));
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", directory.path().to_str().unwrap()]).0, Some(0));
    for page in ["pipework.1", "pipework-attach.1", "pipework-wait.1"] {
        assert!(directory.path().join(page).exists(), "{page}");
    }
    assert_eq!(run(&["man", "/nonexistent/directory"]).0, Some(1));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let script =
        format!("{} completions bash | head -n 1; {} --help | head -n 1", env!("CARGO_BIN_EXE_pipework"), env!("CARGO_BIN_EXE_pipework"));
    let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {script}")]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}
