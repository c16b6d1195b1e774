//! Who may use whom: read off the sources, as src/lib.rs states it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// From left to right: each may use only what stands to its right, and itself.
const ORDER: [&[&str]; 8] =
    [&["cli"], &["cluster"], &["frontend"], &["lifecycle"], &["guest", "state", "external"], &["kernel"], &["plan", "iproute"], &["model"]];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file's text without its comments: what they name is not used.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn each_layer_uses_only_what_stands_to_its_right() {
    let place = |module: &str| ORDER.iter().position(|layer| layer.contains(&module));
    for path in sources(&root()) {
        let relative = path.strip_prefix(root()).unwrap().to_owned();
        let module = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if module == "main" || module == "lib" {
            continue;
        }
        let own = place(&module).unwrap_or_else(|| panic!("src/{module} has no place in the order"));
        let text = code(&path);
        for (layer, modules) in ORDER.iter().enumerate() {
            for other in modules.iter().filter(|other| **other != module) {
                let uses = text.contains(&format!("crate::{other}")) || text.contains(&format!("pipework::{other}"));
                assert!(!uses || layer > own, "{} uses {other}", relative.display());
            }
        }
    }
}

#[test]
fn the_language_and_the_planning_know_nothing_of_the_system() {
    let foreign = [
        "tokio",
        "rtnetlink",
        "netlink_packet",
        "bollard",
        "clap",
        "rustix",
        "socket2",
        "std::fs",
        "std::process",
        "std::env",
        "std::os",
        "std::thread",
        "std::time",
    ];
    for layer in ["model", "plan", "iproute"] {
        for path in sources(&root().join(layer)) {
            let text = code(&path).replace("nix::errno::Errno", "");
            for name in foreign.iter().chain(&["nix::"]) {
                assert!(!text.contains(name), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn each_library_is_known_in_one_place() {
    for (name, places) in [
        ("bollard", &["guest/docker"][..]),
        ("clap", &["cli"]),
        // Two that are asked by HTTP on a socket file: by anybody, and by the Docker engine.
        ("hyper", &["frontend/daemon/serve", "frontend/network_driver/http.rs"]),
        ("hyper_util", &["frontend/daemon/serve", "frontend/network_driver/http.rs"]),
        ("http_body_util", &["frontend/daemon/serve", "frontend/network_driver/http.rs"]),
        ("rtnetlink", &["kernel"]),
        ("netlink_packet", &["kernel"]),
        ("ureq", &["external/consul"]),
        // A browser's password, beside Consul's values.
        ("base64", &["external/consul", "frontend/daemon/serve/token.rs"]),
        // A policy tells all its mistakes at once, which serde cannot: it reads the tree itself.
        ("toml", &["model/topology", "model/intent/policy/read.rs", "model/cluster", "model/pool/file.rs"]),
        ("serde_saphyr", &["model/topology"]),
        // The configuration of the CNI plugin has a schema of its own, in which a topology's attachment is a part.
        ("schemars", &["model/topology", "model/cni"]),
        ("setns(", &["kernel/netns.rs"]),
        ("unsafe {", &["kernel/fork.rs"]),
    ] {
        for path in sources(&root()) {
            let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            // Names of our own that end like the call.
            let text = code(&path).replace("move_into_netns(", "");
            let named = text.contains(&format!("{name}::")) || (name.ends_with(['(', '{']) && text.contains(name));
            assert!(!named || places.iter().any(|place| relative.starts_with(place)), "{relative} names {name}");
        }
    }
}

#[test]
fn no_module_is_a_drawer() {
    for path in sources(&root()) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(!["utils", "util", "helpers", "common", "manager", "misc"].contains(&stem.as_str()), "{}", path.display());
    }
}
